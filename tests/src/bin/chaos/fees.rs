//! A base fee that rises by an eighth a block, past the cap, and falls again.

use alloy::{eips::BlockNumberOrTag, providers::Provider};
use rand::{Rng, rngs::StdRng};
use serde_json::json;

use super::stage::{Over, Stage, ms};
use oraculum_tests::{Res, audit};

const GWEI: u128 = 1_000_000_000;

pub(super) async fn run(mut rng: StdRng, short: bool) -> Res<String> {
    let steps = if short { 16 } else { 40 };
    // The cap is reached after three quarters of the rise.
    let cap = (0..steps * 3 / 4).fold(GWEI, |fee, _| raised(fee));
    let fees = format!("max_fee_per_gas = {:.9}\nmin_priority_fee = 0.1", cap as f64 / GWEI as f64);
    let mut stage = Stage::set(rng.random(), Over::WebSocket, &[("fees", &fees)]).await?;
    stage.market.rpc("evm_setAutomine", json!([false])).await?;
    stage.node.start().await?;

    let mut asked = 0;
    let mut fee = GWEI;
    let mut rising = true;
    let mut left = 2 * steps;
    while left > 0 {
        let count = rng.random_range(0..3);
        stage.asker.post(count).await?;
        asked += count;
        tokio::time::sleep(ms(300)).await;
        // Blocks come in bursts at times: what was priced for the one before is then too cheap.
        for _ in 0..rng.random_range(1..=6).min(left) {
            stage.market.rpc("anvil_setNextBlockBaseFeePerGas", json!([format!("{fee:#x}")])).await?;
            stage.market.rpc("evm_mine", json!([])).await?;
            let block = stage.market.provider.get_block(BlockNumberOrTag::Latest.into()).await?.ok_or("no block")?;
            if block.header.base_fee_per_gas.map(u128::from) != Some(fee) {
                return Err(format!("Anvil made a base fee of {:?} out of {fee}", block.header.base_fee_per_gas).into());
            }
            left -= 1;
            rising &= left > steps;
            fee = if rising { raised(fee) } else { (fee - fee / 8).max(GWEI) };
        }
    }
    stage.market.rpc("anvil_setNextBlockBaseFeePerGas", json!([format!("{GWEI:#x}")])).await?;
    stage.block_every(1).await?;
    let audited = stage.end(asked, 60).await?;
    stage.one_thing_per_nonce().await.map_err(|error| stage.told(&error.to_string()))?;
    let replaced = audit::fees(&stage.proxy.sent_by(stage.node.sender), cap)?;
    Ok(format!(
        "{steps} blocks up by 12.5% each and down again, {} requests answered once, {replaced} replacements, none above {:.2} gwei",
        audited.answered,
        cap as f64 / GWEI as f64
    ))
}

fn raised(fee: u128) -> u128 {
    fee + fee / 8
}
