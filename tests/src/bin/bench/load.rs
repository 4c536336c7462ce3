//! From a request's block to the broadcast of its answer: idle, and at half the maximum throughput.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use alloy::primitives::B256;
use oraculum_tests::{Res, anvil::Anvil, faulty::Aim, market::account};
use serde_json::json;

use super::{
    flood,
    stage::{Stage, percentile, stamped},
    throughput,
};

/// Requests by which the maximum is found where it is not given.
const TRIAL: usize = 3_000;

/// `rate` requests a second are the load; 0 measures the maximum and takes its half.
pub(super) async fn run(rate: usize, seconds: usize) -> Res<()> {
    let rate = match rate {
        0 => (throughput::measure(TRIAL).await?.node / 2.0) as usize,
        rate => rate,
    };
    println!("\nrequest block → broadcast of the answer, 1 s blocks, {seconds} s each, ms\n");
    println!("| requests per second | p50 | p90 | p99 |\n|---:|---:|---:|---:|");
    let idle = measure(1, seconds).await?;
    let loaded = measure(rate, seconds).await?;
    println!("| ratio | {:.2} | {:.2} | {:.2} |", loaded[0] / idle[0], loaded[1] / idle[1], loaded[2] / idle[2]);
    Ok(())
}

/// The 50th, 90th and 99th percentile, in ms.
async fn measure(rate: usize, seconds: usize) -> Res<[f64; 3]> {
    let mut stage = Stage::set(Anvil::start().await?, true).await?;
    let warm = stage.asker.requests(&stage.market).await?.len();
    let mut heads = stamped(stage.anvil.ws_url()).await?;
    stage.market.rpc("evm_setAutomine", json!([false])).await?;
    stage.market.rpc("evm_setIntervalMining", json!([1])).await?;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..seconds {
        tick.tick().await;
        flood::post(&stage.market, &stage.asker, &account(0)?, rate).await?;
    }
    let settled = stage.asker.settle_all(&stage.market, warm + rate * seconds, 120).await;
    settled.map_err(|error| format!("{error}\n{}", stage.node.log()))?;
    stage.node.stop().await?;

    let mut seen: HashMap<u64, Instant> = HashMap::new();
    while let Ok((number, at)) = heads.try_recv() {
        seen.entry(number).or_insert(at);
    }
    let proxy = stage.proxy.as_ref().ok_or("nothing was recorded")?;
    let mut sent: HashMap<B256, Instant> = HashMap::new();
    for one in proxy.sent_by(stage.node.sender) {
        if let Aim::Answer(ids) = one.aim(stage.market.domain) {
            for id in ids {
                sent.entry(id).or_insert(one.at);
            }
        }
    }
    let requests = stage.asker.requests(&stage.market).await?;
    let mut took: Vec<f64> = requests
        .iter()
        .filter_map(|(id, block)| Some(sent.get(id)?.saturating_duration_since(*seen.get(block)?).as_secs_f64() * 1e3))
        .collect();
    if took.len() < rate * seconds {
        return Err(format!("only {} of {} requests have both times", took.len(), rate * seconds).into());
    }
    took.sort_by(f64::total_cmp);
    let found = [0.5, 0.9, 0.99].map(|share| percentile(&took, share));
    println!("| {rate} | {:.1} | {:.1} | {:.1} |", found[0], found[1], found[2]);
    Ok(found)
}
