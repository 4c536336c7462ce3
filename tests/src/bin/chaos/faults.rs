//! An endpoint of which three calls in ten go wrong.

use oraculum_tests::Res;
use rand::{Rng, rngs::StdRng};

use super::fixture::{Fixture, Over, counted, ms};

const SHARE: f64 = 0.3;

pub(super) async fn run(mut rng: StdRng, short: bool) -> Res<String> {
    let requests = if short { 40 } else { 400 };
    let mut told = Vec::new();
    // The short form tries one of them.
    let all = [Over::Http, Over::WebSocket, Over::BesideAGoodOne];
    let chosen = if short { vec![all[rng.random_range(0..all.len())]] } else { all.to_vec() };
    for over in chosen {
        let pace = "poll_interval = 0.2\nrequest_timeout = 1\nconfirmations = 12";
        let mut fixture = Fixture::set(rng.random(), over, &[("chain", pace)]).await?;
        fixture.block_every(1).await?;
        fixture.proxy.fail(SHARE);
        fixture.node.start().await?;
        let mut left = requests;
        while left > 0 {
            let portion = rng.random_range(1..=left.min(8));
            fixture.consumer.post(portion).await?;
            left -= portion;
            tokio::time::sleep(ms(rng.random_range(0..1_500))).await;
        }
        let audited = fixture.end(requests, if short { 60 } else { 180 }).await?;
        fixture.one_thing_per_nonce().await.map_err(|error| fixture.told(&error.to_string()))?;
        told.push(format!("{over:?}: {} answered once with {}", audited.answered, counted(&fixture.proxy.counts())));
    }
    Ok(told.join("; "))
}
