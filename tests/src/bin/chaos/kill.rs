//! SIGKILL at random and death at the crash points that every life passes, amid requests that keep coming.

use std::collections::BTreeSet;

use oraculum_tests::Res;
use rand::{Rng, rngs::StdRng};
use tokio::time::Instant;

use super::fixture::{Fixture, Over, ms};

/// What is passed in every life; the rest is passed where the chain goes back (`reorgs`) or in `rare`.
pub(crate) const USUAL: [&str; 13] = [
    "sent.after",
    "broadcast.before",
    "mined.before",
    "taken.after",
    "sent.before",
    "broadcast.after",
    "mined.after",
    "taken.before",
    // A life of the short form is too short for these.
    "pruned.before",
    "pruned.after",
    "final.before",
    "final.after",
    "reserved.after",
];

pub(super) async fn run(mut rng: StdRng, short: bool) -> Res<String> {
    let (kills, requests) = if short { (12, 120) } else { (200, 2_000) };
    let mut fixture = Fixture::set(rng.random(), Over::WebSocket, &[("chain", "confirmations = 4")]).await?;
    fixture.block_every(1).await?;
    let points = if short { &USUAL[..8] } else { &USUAL[..] };
    let mut deaths_tried = 0;
    let mut died = BTreeSet::new();
    let mut deaths = 0;
    for kill in 0..kills {
        // Two lives of three end at a crash point, if it is passed in time; each point has its turn.
        let point = (kill % 3 > 0).then(|| points[deaths_tried % points.len()]);
        deaths_tried += usize::from(point.is_some());
        match point {
            Some(point) => fixture.node.start_to_crash(point, rng.random_range(1..4)).await?,
            None => fixture.node.start().await?,
        }
        let mut posted = 0;
        let portion = requests / kills / 2;
        // A start takes some hundred milliseconds: some kills come before, some amid the answers, some after.
        let until = Instant::now() + ms(if point.is_some() { 3_000 } else { rng.random_range(50..2_500) });
        while Instant::now() < until && !fixture.node.ended()? {
            if posted < 2 {
                fixture.consumer.post(portion).await?;
                posted += 1;
            }
            tokio::time::sleep(ms(100)).await;
        }
        if let Some(point) = point.filter(|_| fixture.node.ended().unwrap_or(false)) {
            died.insert(point);
            deaths += 1;
        }
        fixture.node.kill().await?;
        for _ in posted..2 {
            fixture.consumer.post(portion).await?;
        }
    }
    fixture.node.start_up().await.map_err(|error| fixture.told(&error.to_string()))?;
    let audited = fixture.end(requests / kills * kills, 120).await?;
    fixture.one_thing_per_nonce().await.map_err(|error| fixture.told(&error.to_string()))?;
    if fixture.node.log().contains("the journal does not know") {
        return Err(fixture.told("a transaction was broadcast before the journal had it").into());
    }
    Ok(format!(
        "{} SIGKILLs and {deaths} deaths at {} of {} usual crash points over {} requests, all answered once in {} transactions",
        kills - deaths,
        died.len(),
        points.len(),
        audited.answered,
        audited.transactions
    ))
}
