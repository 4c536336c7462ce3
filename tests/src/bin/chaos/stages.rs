//! A stage that panics takes the others with it, and all are built anew in the same process; where that does not help, the
//! process ends with an exit code of its own.

use std::time::Duration;

use oraculum_tests::{Res, node::Node};
use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use tokio::time::Instant;

use super::{
    fixture::{Fixture, Over, ms},
    kill::USUAL,
};

/// The longest that a point may not be passed, and that a node may go on failing.
const PATIENCE: Duration = Duration::from_secs(120);
/// The exit code of a node whose stages keep failing.
const STAGES_KEEP_FAILING: i32 = 9;

pub(super) async fn run(mut rng: StdRng, short: bool) -> Res<String> {
    let mut fixture = Fixture::set(rng.random(), Over::WebSocket, &[("chain", "confirmations = 4")]).await?;
    let mut hopeless = Node::new(&fixture.deployment, &fixture.proxy.local.ws_url(), 1, &[])?;
    fixture.block_every(1).await?;
    hopeless.start_to_panic("taken.before", 1).await?;
    let begun = Instant::now();

    let mut points = USUAL;
    points.shuffle(&mut rng);
    let points = &points[..if short { 4 } else { points.len() }];
    let (mut asked, mut panics) = (0, 0);
    for point in points {
        let before = built_anew(&fixture.node);
        fixture.node.start_to_panic(point, rng.random_range(2..5)).await?;
        let until = Instant::now() + PATIENCE;
        // What is built anew has to come as far as the point again.
        while built_anew(&fixture.node) < before + 2 {
            if fixture.node.ended()? || Instant::now() > until {
                return Err(fixture.told(&format!("{point}: it ended, or never came by")).into());
            }
            fixture.consumer.post(1).await?;
            asked += 1;
            tokio::time::sleep(ms(250)).await;
        }
        // Some requests come while there are no stages, and some are answered by the next ones, or bring them down again.
        fixture.consumer.post(2).await?;
        asked += 2;
        tokio::time::sleep(ms(rng.random_range(0..5_000))).await;
        panics += built_anew(&fixture.node) - before;
        let code = fixture.node.stop().await?;
        if code != Some(0) {
            return Err(fixture.told(&format!("{point}: told to end, the node ended with {code:?}")).into());
        }
    }
    fixture.node.start_up().await.map_err(|error| fixture.told(&error.to_string()))?;
    let audited = fixture.end(asked, 60).await?;
    fixture.one_thing_per_nonce().await.map_err(|error| fixture.told(&error.to_string()))?;

    let code = hopeless.ends_within(PATIENCE.saturating_sub(begun.elapsed())).await?;
    if code != Some(STAGES_KEEP_FAILING) {
        return Err(format!("a node whose stages keep failing ended with {code:?}\n{}", hopeless.log()).into());
    }
    Ok(format!(
        "built anew after {panics} panics at {} crash points over {} requests, all answered once; given up after {} in a row",
        points.len(),
        audited.answered,
        built_anew(&hopeless)
    ))
}

/// How often all stages of a node were built anew.
fn built_anew(node: &Node) -> usize {
    node.log().matches("building all anew").count()
}
