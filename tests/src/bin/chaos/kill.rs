//! SIGKILL at random, amid requests that keep coming.

use rand::{Rng, rngs::StdRng};

use super::stage::{Over, Stage, ms};
use oraculum_tests::Res;

pub(super) async fn run(mut rng: StdRng, short: bool) -> Res<String> {
    let (kills, requests) = if short { (10, 100) } else { (200, 2_000) };
    let mut stage = Stage::set(rng.random(), Over::WebSocket, &[("chain", "confirmations = 4")]).await?;
    stage.block_every(1).await?;
    let portion = requests / kills / 2;
    for _ in 0..kills {
        stage.node.start().await?;
        stage.asker.post(portion).await?;
        // A start takes some hundred milliseconds: some kills come before, some amid the answers, some after.
        tokio::time::sleep(ms(rng.random_range(50..2_500))).await;
        stage.asker.post(portion).await?;
        tokio::time::sleep(ms(rng.random_range(0..300))).await;
        stage.node.kill().await?;
    }
    stage.node.start().await?;
    let audited = stage.end(requests, 120).await?;
    stage.one_thing_per_nonce().await.map_err(|error| stage.told(&error.to_string()))?;
    Ok(format!(
        "{kills} kills over {} requests, all answered once in {} transactions",
        audited.answered, audited.transactions
    ))
}
