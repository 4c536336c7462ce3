//! SIGKILL at random and death at every crash point, amid requests that keep coming.

use std::collections::BTreeSet;

use oraculum::crash::POINTS;
use oraculum_tests::Res;
use rand::{Rng, rngs::StdRng};
use tokio::time::Instant;

use super::stage::{Over, Stage, ms};

/// What is passed in every life; the short form has no time for the rest.
const USUAL: [&str; 8] = [
    "sent.after",
    "broadcast.before",
    "mined.before",
    "taken.after",
    "sent.before",
    "broadcast.after",
    "mined.after",
    "taken.before",
];

pub(super) async fn run(mut rng: StdRng, short: bool) -> Res<String> {
    let (kills, requests) = if short { (12, 120) } else { (200, 2_000) };
    let mut stage = Stage::set(rng.random(), Over::WebSocket, &[("chain", "confirmations = 4")]).await?;
    stage.block_every(1).await?;
    let points: &[&str] = if short { &USUAL } else { POINTS };
    let mut deaths_tried = 0;
    let mut died = BTreeSet::new();
    let mut deaths = 0;
    for kill in 0..kills {
        // Two lives of three end at a crash point, if it is passed in time; each point has its turn.
        let point = (kill % 3 > 0).then(|| points[deaths_tried % points.len()]);
        deaths_tried += usize::from(point.is_some());
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
    stage.node.start_up().await.map_err(|error| stage.told(&error.to_string()))?;
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
