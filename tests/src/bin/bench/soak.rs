//! Steady traffic for a long time: the node's memory and journal must not grow with it.

use std::time::Duration;

use oraculum_tests::{Res, anvil::Anvil, deployment::account};
use serde_json::json;
use tokio::time::Instant;

use super::{fixture::Fixture, flood, plot::Plot, process};

/// Requests a second: in a quarter of an hour as many as a journal keeps closed.
const RATE: usize = 120;
/// Samples that are drawn.
const SAMPLES: u32 = 240;

/// Runs for so many seconds; the plot goes to the file, if one is given.
pub(super) async fn run(seconds: usize, file: Option<&str>) -> Res<()> {
    let mut fixture = Fixture::set(Anvil::with(&["--prune-history", "100"]).await?, false).await?;
    let warm = fixture.consumer.requests(&fixture.deployment).await?.len();
    fixture.deployment.rpc("evm_setAutomine", json!([false])).await?;
    fixture.deployment.rpc("evm_setIntervalMining", json!([1])).await?;
    let every = Duration::from_secs(seconds as u64).div_f64(f64::from(SAMPLES)).max(Duration::from_secs(1));
    let (mut memory, mut disk) = (Vec::new(), Vec::new());
    let (began, mut sampled) = (Instant::now(), Instant::now());
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut asked = 0;
    while began.elapsed().as_secs() < seconds as u64 {
        tick.tick().await;
        flood::post(&fixture.deployment, &fixture.consumer, &account(0)?, RATE).await?;
        asked += RATE;
        if sampled.elapsed() >= every {
            sampled = Instant::now();
            let minutes = began.elapsed().as_secs_f64() / 60.0;
            memory.push((minutes, process::resident(&fixture.node)?));
            disk.push((minutes, process::disk(&fixture.node)?));
        }
    }
    let settled = fixture.consumer.settle_all(&fixture.deployment, warm + asked, 120).await;
    settled.map_err(|error| format!("{error}\n{}", fixture.node.log()))?;
    println!("{asked} requests in {:.0} min, {RATE} per second, all answered\n", seconds as f64 / 60.0);
    println!("peak memory {:.1} MB, CPU {:.1} s in all\n", process::peak(&fixture.node)?, process::cpu(&fixture.node)?);
    fixture.node.stop().await?;
    Plot { x: "minutes", lines: &[("memory, MB", &memory), ("journal on disk, MB", &disk)] }.report(file)
}
