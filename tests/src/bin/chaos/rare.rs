//! Death where the other scenarios seldom come by: while a transaction is replaced, and while a request is passed over.

use std::time::Duration;

use oraculum_tests::{Res, invariants, node::Node};
use rand::{Rng, rngs::StdRng};
use serde_json::json;
use tokio::time::Instant;

use super::fixture::{Fixture, Over, ms};

const GWEI: u128 = 1_000_000_000;
/// While a request is passed over.
pub(crate) const CLOSED: [&str; 2] = ["closed.before", "closed.after"];
/// While a transaction is replaced.
pub(crate) const REPLACED: [&str; 2] = ["replaced.before", "replaced.after"];
/// The longest that a point may not be passed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(mut rng: StdRng, _: bool) -> Res<String> {
    let extra = [("fees", "max_fee_per_gas = 500\nmin_priority_fee = 0.1")];
    let mut fixture = Fixture::set(rng.random(), Over::WebSocket, &extra).await?;
    // Where it may answer first, it finds that nothing pays enough, and leaves it to the other.
    let mut stingy = Node::new(&fixture.deployment, &fixture.proxy.local.ws_url(), 1, &extra)?;
    let config = stingy.home().join("oraculum.toml");
    std::fs::write(&config, std::fs::read_to_string(&config)?.replace("margin_percent = -100", "margin_percent = 0"))?;
    fixture.deployment.seat(2, &stingy.signer, &fixture.consumer.ids()).await?;

    fixture.block_every(1).await?;
    let mut asked = 0;
    for point in CLOSED {
        stingy.start_to_crash(point, rng.random_range(1..3)).await?;
        let until = Instant::now() + PATIENCE;
        while !stingy.ended()? {
            within(until, point, &fixture)?;
            if fixture.node.ended()? {
                fixture.node.start().await?;
            }
            fixture.consumer.post(1).await?;
            asked += 1;
            tokio::time::sleep(ms(400)).await;
        }
    }
    stingy.start().await?;

    for point in REPLACED {
        fixture
            .consumer
            .settle_all(&fixture.deployment, asked, 60)
            .await
            .map_err(|error| fixture.told(&error.to_string()))?;
        fixture.node.kill().await?;
        fixture.node.start_to_crash(point, 1).await?;
        fixture.deployment.rpc("evm_setIntervalMining", json!([0])).await?;
        let until = Instant::now() + PATIENCE;
        while !fixture.node.ended()? {
            within(until, point, &fixture)?;
            // Sent at a low price, if it is the node's turn to answer; then the base fee leaves it behind.
            let before = fixture.proxy.sent_by(fixture.node.sender).len();
            fixture.consumer.post(1).await?;
            asked += 1;
            block_at(&fixture, GWEI).await?;
            let turn = Instant::now() + ms(2_000);
            while Instant::now() < turn && fixture.proxy.sent_by(fixture.node.sender).len() == before {
                tokio::time::sleep(ms(50)).await;
            }
            let above_fee_cap = if fixture.proxy.sent_by(fixture.node.sender).len() > before { 12 } else { 0 };
            for _ in 0..above_fee_cap {
                if fixture.node.ended()? {
                    break;
                }
                block_at(&fixture, 20 * GWEI).await?;
                tokio::time::sleep(ms(700)).await;
            }
        }
        fixture.node.start().await?;
        fixture.deployment.rpc("anvil_setNextBlockBaseFeePerGas", json!([format!("{GWEI:#x}")])).await?;
        fixture.block_every(1).await?;
    }
    let audited = fixture.end(asked, 60).await?;
    stingy.stop().await?;
    fixture.one_thing_per_nonce().await.map_err(|error| fixture.told(&error.to_string()))?;
    if !invariants::mined_of(&fixture.deployment, stingy.sender).await?.is_empty() {
        return Err("the node that nothing pays enough for sent a transaction".into());
    }
    Ok(format!("4 deaths at as many crash points over {} requests, all answered once", audited.answered))
}

/// Mines a block at a base fee.
async fn block_at(fixture: &Fixture, fee: u128) -> Res<()> {
    fixture.deployment.rpc("anvil_setNextBlockBaseFeePerGas", json!([format!("{fee:#x}")])).await?;
    fixture.deployment.mine(1).await
}

fn within(until: Instant, what: &str, fixture: &Fixture) -> Res<()> {
    if Instant::now() < until { Ok(()) } else { Err(fixture.told(&format!("{what} was never passed")).into()) }
}
