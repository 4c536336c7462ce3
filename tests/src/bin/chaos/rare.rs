//! Death where the other scenarios seldom come by: while a transaction is replaced, and while a request is passed over.

use std::time::Duration;

use oraculum_tests::{Res, audit, node::Node};
use rand::{Rng, rngs::StdRng};
use serde_json::json;
use tokio::time::Instant;

use super::stage::{Over, Stage, ms};

const GWEI: u128 = 1_000_000_000;
/// While a request is passed over.
pub(crate) const CLOSED: [&str; 2] = ["closed.before", "closed.after"];
/// While a transaction is replaced.
pub(crate) const REPLACED: [&str; 2] = ["replaced.before", "replaced.after"];
/// The longest that a point may not be passed.
const PATIENCE: Duration = Duration::from_secs(40);

pub(super) async fn run(mut rng: StdRng, _: bool) -> Res<String> {
    let extra = [("fees", "max_fee_per_gas = 500\nmin_priority_fee = 0.1")];
    let mut stage = Stage::set(rng.random(), Over::WebSocket, &extra).await?;
    // Where it may answer first, it finds that nothing pays enough, and leaves it to the other.
    let mut stingy = Node::new(&stage.market, &stage.proxy.ws_url(), 1, &extra)?;
    let config = stingy.home().join("oraculum.toml");
    std::fs::write(&config, std::fs::read_to_string(&config)?.replace("margin_percent = -100", "margin_percent = 0"))?;
    stage.market.seat(2, &stingy.signer, &stage.asker.ids()).await?;

    stage.block_every(1).await?;
    let mut asked = 0;
    for point in CLOSED {
        stingy.start_to_crash(point, rng.random_range(1..3)).await?;
        let until = Instant::now() + PATIENCE;
        while !stingy.ended()? {
            within(until, point, &stage)?;
            if stage.node.ended()? {
                stage.node.start().await?;
            }
            stage.asker.post(1).await?;
            asked += 1;
            tokio::time::sleep(ms(400)).await;
        }
    }
    stingy.start().await?;

    for point in REPLACED {
        stage.asker.settle_all(&stage.market, asked, 60).await.map_err(|error| stage.told(&error.to_string()))?;
        stage.node.kill().await?;
        stage.node.start_to_crash(point, 1).await?;
        // Sent at a low price; then the base fee leaves it behind.
        stage.market.rpc("evm_setIntervalMining", json!([0])).await?;
        stage.market.rpc("anvil_setNextBlockBaseFeePerGas", json!([format!("{GWEI:#x}")])).await?;
        stage.asker.post(2).await?;
        asked += 2;
        stage.market.mine(1).await?;
        let until = Instant::now() + PATIENCE;
        let before = stage.proxy.sent_by(stage.node.sender).len();
        while stage.proxy.sent_by(stage.node.sender).len() == before {
            within(until, "a broadcast", &stage)?;
            tokio::time::sleep(ms(50)).await;
            // Its turn may be after the other's.
            stage.market.rpc("anvil_setNextBlockBaseFeePerGas", json!([format!("{GWEI:#x}")])).await?;
            stage.market.mine(1).await?;
        }
        while !stage.node.ended()? {
            within(until, point, &stage)?;
            stage.market.rpc("anvil_setNextBlockBaseFeePerGas", json!([format!("{:#x}", 20 * GWEI)])).await?;
            stage.market.mine(1).await?;
            tokio::time::sleep(ms(1_000)).await;
        }
        stage.node.start().await?;
        stage.market.rpc("anvil_setNextBlockBaseFeePerGas", json!([format!("{GWEI:#x}")])).await?;
        stage.block_every(1).await?;
    }
    let audited = stage.end(asked, 60).await?;
    stingy.stop().await?;
    stage.one_thing_per_nonce().await.map_err(|error| stage.told(&error.to_string()))?;
    if !audit::mined_of(&stage.market, stingy.sender).await?.is_empty() {
        return Err("the node that nothing pays enough for sent a transaction".into());
    }
    Ok(format!("4 deaths at as many crash points over {} requests, all answered once", audited.answered))
}

fn within(until: Instant, what: &str, stage: &Stage) -> Res<()> {
    if Instant::now() < until { Ok(()) } else { Err(stage.told(&format!("{what} was never passed")).into()) }
}
