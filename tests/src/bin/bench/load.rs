//! From a request's block to the broadcast of its answer at half the maximum throughput, beside a program that sends a
//! precomputed transaction for each log of the block.

use std::{collections::HashMap, process::Stdio, time::Instant};

use alloy::primitives::{Address, B256};
use oraculum_tests::{
    Res,
    abi::BenchConsumer,
    anvil::Anvil,
    deployment::account,
    rpc::faults::{Aim, FaultProxy},
};
use tokio::process::Command;

use super::{
    fixture::{FLOOR, Fixture, percentile, stamped},
    flood, throughput,
};

/// Requests by which a maximum is found.
const TRIAL: usize = 3_000;
/// Gas of a block: the requests are in it, too, and must not crowd out the answers.
const BLOCK_GAS: &str = "200000000";

/// Seconds between blocks. All requests of a block are known at once, and the last of them waits for the others: blocks that
/// come often hold few of them, and slow ones hold many.
const BLOCK_TIMES: [&str; 2] = ["0.1", "1"];

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Node,
    Floor,
}

/// The requests of one load.
#[derive(Debug, Clone, Copy)]
struct Load {
    block_time: &'static str,
    /// Requests a second.
    rate: usize,
    seconds: usize,
}

impl Load {
    fn requests(self) -> usize {
        self.rate * self.seconds
    }
}

/// Each side for so many seconds.
pub(super) async fn run(seconds: usize) -> Res<()> {
    let rate = (throughput::measure(TRIAL).await?.node / 2.0) as usize;
    println!("\nrequest block → broadcast of the answer, {rate} requests a second, {seconds} s each, ms\n");
    println!("| blocks | | p50 | p90 | p99 |\n|---|---|---:|---:|---:|");
    for block_time in BLOCK_TIMES {
        let load = Load { block_time, rate, seconds };
        let floor = measure(load, Side::Floor).await?;
        let node = measure(load, Side::Node).await?;
        let ratio: Vec<_> = node.iter().zip(floor).map(|(node, floor)| format!("{:.2}", node / floor)).collect();
        println!("| {block_time} s | ratio | {} |", ratio.join(" | "));
    }
    Ok(())
}

/// The 50th, 90th and 99th percentile, in ms.
async fn measure(load: Load, side: Side) -> Res<[f64; 3]> {
    let Load { block_time, rate, seconds } = load;
    let anvil = Anvil::with(&["--gas-limit", BLOCK_GAS, "--block-time", block_time]).await?;
    let mut fixture = Fixture::set(anvil, true).await?;
    let warm = fixture.consumer.requests(&fixture.deployment).await?;
    let mut floor = None;
    if side == Side::Floor {
        fixture.node.stop().await?;
        floor = Some(start_floor(&fixture, load.requests()).await?);
    }
    let mut heads = stamped(fixture.anvil.local.ws_url()).await?;
    flood::trickle(&fixture.deployment, &fixture.consumer, &account(0)?, rate, seconds).await?;
    match side {
        Side::Node => {
            let answered = fixture.consumer.settle_all(&fixture.deployment, warm.len() + load.requests(), 120).await;
            answered.map_err(|error| format!("{error}\n{}", fixture.node.log()))?;
            fixture.node.stop().await?;
        }
        Side::Floor => sent_all(&fixture, load.requests()).await?,
    }
    drop(floor);

    let mut seen: HashMap<u64, Instant> = HashMap::new();
    while let Ok((number, at)) = heads.try_recv() {
        seen.entry(number).or_insert(at);
    }
    let mut requests = fixture.consumer.requests(&fixture.deployment).await?;
    requests.retain(|id, _| !warm.contains_key(id));
    let sent = match side {
        Side::Node => answered_at(&fixture, &requests)?,
        Side::Floor => floored_at(&fixture, &requests)?,
    };
    let since =
        |(block, at): (u64, Instant)| Some(at.saturating_duration_since(*seen.get(&block)?).as_secs_f64() * 1e3);
    let mut took: Vec<f64> = sent.into_iter().filter_map(since).collect();
    if took.len() < load.requests() {
        return Err(format!("only {} of {} requests have both times", took.len(), load.requests()).into());
    }
    took.sort_by(f64::total_cmp);
    let found = [0.5, 0.9, 0.99].map(|share| percentile(&took, share));
    let name = if side == Side::Node { "oraculum" } else { "floor: logs → precomputed transactions" };
    println!("| {block_time} s | {name} | {:.1} | {:.1} | {:.1} |", found[0], found[1], found[2]);
    Ok(found)
}

fn proxy(fixture: &Fixture) -> Res<&FaultProxy> {
    Ok(fixture.proxy.as_ref().ok_or("nothing was recorded")?)
}

/// Starts the floor's program, which sends through the proxy, with so many transactions signed beforehand.
async fn start_floor(fixture: &Fixture, count: usize) -> Res<tokio::process::Child> {
    let (provider, model) = (fixture.deployment.provider.clone(), fixture.consumer.models[0].id);
    let callee = BenchConsumer::deploy(provider, account(FLOOR)?.address(), model).await?;
    let emitter: Address = *fixture.deployment.coordinator.address();
    let (logs, sends) = (fixture.anvil.local.ws_url(), proxy(fixture)?.local.ws_url());
    let arguments =
        ["floor".to_owned(), logs, sends, emitter.to_string(), callee.address().to_string(), count.to_string()];
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    // It says so when everything is signed and it is subscribed.
    let mut ready = [0; 1];
    let out = child.stdout.as_mut().ok_or("the floor's program has no output")?;
    tokio::io::AsyncReadExt::read_exact(out, &mut ready).await?;
    Ok(child)
}

/// Waits until the floor's program has sent them all.
async fn sent_all(fixture: &Fixture, count: usize) -> Res<()> {
    let account = account(FLOOR)?.address();
    for _ in 0..1_200 {
        if proxy(fixture)?.sent_by(account).len() >= count {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Err(format!("the floor sent {} of {count} transactions", proxy(fixture)?.sent_by(account).len()).into())
}

/// Each request's block, and when the node first broadcast its answer.
fn answered_at(fixture: &Fixture, requests: &HashMap<B256, u64>) -> Res<Vec<(u64, Instant)>> {
    let mut sent: HashMap<B256, Instant> = HashMap::new();
    for one in proxy(fixture)?.sent_by(fixture.node.sender) {
        if let Aim::Answer(ids) = one.aim(fixture.deployment.domain) {
            for id in ids {
                sent.entry(id).or_insert(one.at);
            }
        }
    }
    Ok(requests.iter().filter_map(|(id, block)| Some((*block, *sent.get(id)?))).collect())
}

/// Each request's block, and when the floor's program sent the transaction for its log: it sends in the order of the logs.
fn floored_at(fixture: &Fixture, requests: &HashMap<B256, u64>) -> Res<Vec<(u64, Instant)>> {
    let mut blocks: Vec<u64> = requests.values().copied().collect();
    blocks.sort_unstable();
    let sent = proxy(fixture)?.sent_by(account(FLOOR)?.address());
    Ok(blocks.into_iter().zip(sent.into_iter().map(|one| one.at)).collect())
}
