//! SIGKILL at random and death at every crash point, amid requests that keep coming.

use std::collections::BTreeSet;

use oraculum::crash::POINTS;
use oraculum_tests::Res;
use rand::{Rng, rngs::StdRng};
use tokio::time::Instant;

use super::stage::{Over, Stage, ms};

pub(super) async fn run(mut rng: StdRng, short: bool) -> Res<String> {
    let (kills, requests) = if short { (12, 120) } else { (200, 2_000) };
    let mut stage = Stage::set(rng.random(), Over::WebSocket, &[("chain", "confirmations = 4")]).await?;
    stage.block_every(1).await?;
    let mut died = BTreeSet::new();
    let mut deaths = 0;
    for kill in 0..kills {
        // Every other life ends at a crash point, if it is passed in time; each point has its turn.
        let turn = kill / 2 + rng.random_range(0..if short { POINTS.len() } else { 1 });
        let point = (kill % 2 == 1).then(|| POINTS[turn % POINTS.len()]);
        match point {
            Some(point) => stage.node.start_to_crash(point, rng.random_range(1..4)).await?,
            None => stage.node.start().await?,
        }
        let mut posted = 0;
        let portion = requests / kills / 2;
        // A start takes some hundred milliseconds: some kills come before, some amid the answers, some after.
        let until = Instant::now() + ms(if point.is_some() { 3_000 } else { rng.random_range(50..2_500) });
        while Instant::now() < until && !stage.node.ended()? {
            if posted < 2 {
                stage.asker.post(portion).await?;
                posted += 1;
            }
            tokio::time::sleep(ms(100)).await;
        }
        if let Some(point) = point.filter(|_| stage.node.ended().unwrap_or(false)) {
            died.insert(point);
            deaths += 1;
        }
        stage.node.kill().await?;
        for _ in posted..2 {
            stage.asker.post(portion).await?;
        }
    }
    stage.node.start().await?;
    let audited = stage.end(requests / kills * kills, 120).await?;
    stage.one_thing_per_nonce().await.map_err(|error| stage.told(&error.to_string()))?;
    Ok(format!(
        "{} SIGKILLs and {deaths} deaths at {} of {} crash points over {} requests, all answered once in {} transactions",
        kills - deaths,
        died.len(),
        POINTS.len(),
        audited.answered,
        audited.transactions
    ))
}
