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
const PATIENCE: Duration = Duration::from_secs(60);

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
        stage.market.rpc("evm_setIntervalMining", json!([0])).await?;
        let until = Instant::now() + PATIENCE;
        while !stage.node.ended()? {
            within(until, point, &stage)?;
            // Sent at a low price, if it is the node's turn to answer; then the base fee leaves it behind.
            let before = stage.proxy.sent_by(stage.node.sender).len();
            stage.asker.post(1).await?;
            asked += 1;
            block_at(&stage, GWEI).await?;
            let turn = Instant::now() + ms(2_000);
            while Instant::now() < turn && stage.proxy.sent_by(stage.node.sender).len() == before {
                tokio::time::sleep(ms(50)).await;
            }
            let dear = if stage.proxy.sent_by(stage.node.sender).len() > before { 12 } else { 0 };
            for _ in 0..dear {
                if stage.node.ended()? {
                    break;
                }
                block_at(&stage, 20 * GWEI).await?;
                tokio::time::sleep(ms(700)).await;
            }
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

/// Mines a block at a base fee.
async fn block_at(stage: &Stage, fee: u128) -> Res<()> {
    stage.market.rpc("anvil_setNextBlockBaseFeePerGas", json!([format!("{fee:#x}")])).await?;
    stage.market.mine(1).await
}

fn within(until: Instant, what: &str, stage: &Stage) -> Res<()> {
    if Instant::now() < until { Ok(()) } else { Err(stage.told(&format!("{what} was never passed")).into()) }
}
