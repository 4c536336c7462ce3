//! From a request's block to the broadcast of its answer: idle, and at half the maximum throughput.

use std::{collections::HashMap, time::Instant};

use alloy::primitives::B256;
use oraculum_tests::{Res, anvil::Anvil, deployment::account, rpc::faults::Aim};

use super::{
    fixture::{Fixture, percentile, stamped},
    flood, throughput,
};

/// Requests by which a maximum is found.
const TRIAL: usize = 3_000;
/// Requests a second of an idle node.
const IDLE: usize = 2;
/// Gas of a block: the requests are in it, too, and must not crowd out the answers.
const BLOCK_GAS: &str = "200000000";

/// Seconds between blocks. All requests of a block are known at once, and the last of them waits for the others: what a
/// load does to the latency is told by blocks that hold few of them, what it does to a slow chain by blocks that hold many.
const BLOCK_TIMES: [&str; 2] = ["0.1", "1"];

/// Each for so many seconds.
pub(super) async fn run(seconds: usize) -> Res<()> {
    let rate = (throughput::measure(TRIAL).await?.node / 2.0) as usize;
    println!("\nrequest block → broadcast of the answer, {seconds} s each, ms\n");
    println!("| blocks | requests a second | p50 | p90 | p99 |\n|---|---:|---:|---:|---:|");
    for block_time in BLOCK_TIMES {
        let idle = measure(block_time, IDLE, seconds).await?;
        let loaded = measure(block_time, rate, seconds).await?;
        let ratio: Vec<_> = loaded.iter().zip(idle).map(|(loaded, idle)| format!("{:.2}", loaded / idle)).collect();
        println!("| ratio | | {} |", ratio.join(" | "));
    }
    Ok(())
}

/// The 50th, 90th and 99th percentile, in ms.
async fn measure(block_time: &str, rate: usize, seconds: usize) -> Res<[f64; 3]> {
    let anvil = Anvil::with(&["--gas-limit", BLOCK_GAS, "--block-time", block_time]).await?;
    let mut fixture = Fixture::set(anvil, true).await?;
    let warm = fixture.consumer.requests(&fixture.deployment).await?.len();
    let mut heads = stamped(fixture.anvil.ws_url()).await?;
    flood::trickle(&fixture.deployment, &fixture.consumer, &account(0)?, rate, seconds).await?;
    let settled = fixture.consumer.settle_all(&fixture.deployment, warm + rate * seconds, 120).await;
    settled.map_err(|error| format!("{error}\n{}", fixture.node.log()))?;
    fixture.node.stop().await?;

    let mut seen: HashMap<u64, Instant> = HashMap::new();
    while let Ok((number, at)) = heads.try_recv() {
        seen.entry(number).or_insert(at);
    }
    let proxy = fixture.proxy.as_ref().ok_or("nothing was recorded")?;
    let mut sent: HashMap<B256, Instant> = HashMap::new();
    for one in proxy.sent_by(fixture.node.sender) {
        if let Aim::Answer(ids) = one.aim(fixture.deployment.domain) {
            for id in ids {
                sent.entry(id).or_insert(one.at);
            }
        }
    }
    let requests = fixture.consumer.requests(&fixture.deployment).await?;
    let mut took: Vec<f64> = requests
        .iter()
        .filter_map(|(id, block)| Some(sent.get(id)?.saturating_duration_since(*seen.get(block)?).as_secs_f64() * 1e3))
        .collect();
    if took.len() < rate * seconds {
        return Err(format!("only {} of {} requests have both times", took.len(), rate * seconds).into());
    }
    took.sort_by(f64::total_cmp);
    let found = [0.5, 0.9, 0.99].map(|share| percentile(&took, share));
    println!("| {block_time} s | {rate} | {:.1} | {:.1} | {:.1} |", found[0], found[1], found[2]);
    Ok(found)
}
