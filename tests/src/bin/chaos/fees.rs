//! A crowd that fills the blocks, so that the base fee rises by an eighth with each, past the cap; then it goes, and the
//! base fee falls again. Half of the crowd tips next to nothing, the other half more than the node's cap.

use alloy::{
    eips::BlockNumberOrTag,
    network::TransactionBuilder,
    primitives::{Bytes, U256},
    providers::Provider,
    rpc::types::TransactionRequest,
};
use oraculum_tests::{
    Res,
    anvil::Anvil,
    deployment::{Deployment, account},
    invariants,
};
use rand::{Rng, rngs::StdRng};
use serde_json::json;

use super::fixture::{Fixture, Over, ms};

const GWEI: u128 = 1_000_000_000;
/// What a block holds: one transaction can fill it (EIP-7825).
const BLOCK_GAS: u64 = 1 << 24;
/// What the crowd leaves in every so many blocks.
const ROOM: u64 = 6_000_000;
const ROOM_EVERY: u64 = 10;
/// The account of the crowd.
const CROWD: usize = 7;
/// Init code that runs until its gas is used up: `JUMPDEST PUSH1 0 JUMP`.
const BURN: [u8; 4] = [0x5b, 0x60, 0x00, 0x56];

pub(super) async fn run(mut rng: StdRng, short: bool) -> Res<String> {
    // From one block with room to the next it takes longer than the node waits before it replaces, and the base fee more
    // than doubles: what is sent in the first is too cheap for the second.
    let (blocks, pace) = if short { (28, 900) } else { (40, 1_000) };
    // The cap is reached shortly before the end of the rise.
    let cap = (0..blocks * 5 / 7).fold(GWEI, |fee, _| fee + fee / 8);
    let fees = format!("max_fee_per_gas = {:.9}\nmin_priority_fee = 0.1", cap as f64 / GWEI as f64);
    // Many small transactions, so that some are in the pool at every stage.
    let extra = [("fees", fees.as_str()), ("policy", "max_batch = 2")];
    // The crowd is in the pool first, and so comes first, whatever it and the node pay.
    let anvil = Anvil::with(&["--order", "fifo"]).await?;
    let mut fixture = Fixture::set_on(anvil, rng.random(), Over::WebSocket, &extra).await?;
    fixture.deployment.rpc("evm_setAutomine", json!([false])).await?;
    fixture.deployment.rpc("evm_setBlockGasLimit", json!([BLOCK_GAS])).await?;
    fixture.deployment.rpc("anvil_setNextBlockBaseFeePerGas", json!([format!("{GWEI:#x}")])).await?;
    fixture.node.start_up().await?;
    crowd(&fixture.deployment, blocks).await?;

    let mut asked = 0;
    let mut highest = 0;
    for _ in 0..2 * blocks {
        if asked < blocks as usize * 2 {
            let count = rng.random_range(0..4);
            fixture.consumer.post(count).await?;
            asked += count;
        }
        tokio::time::sleep(ms(pace)).await;
        fixture.deployment.rpc("evm_mine", json!([])).await?;
        let block = fixture.deployment.provider.get_block(BlockNumberOrTag::Latest.into()).await?.ok_or("no block")?;
        highest = highest.max(block.header.base_fee_per_gas.unwrap_or_default().into());
    }
    if highest <= cap {
        return Err(format!("the base fee rose to {highest} only, not past the cap of {cap}").into());
    }
    fixture.block_every(1).await?;
    let audited = fixture.end(asked, 60).await?;
    let checked = async {
        fixture.one_thing_per_nonce().await?;
        invariants::fees(&fixture.proxy.sent_by(fixture.node.sender), cap)
    };
    let replaced = checked.await.map_err(|error| fixture.told(&error.to_string()))?;
    if replaced == 0 {
        return Err(fixture.told("nothing was ever replaced: the fees were not tried").into());
    }
    for told in ["gas costs more than", "gas is cheap enough again"] {
        if !fixture.node.log().contains(told) {
            return Err(fixture.told(&format!("the operator was not told that {told}")).into());
        }
    }
    let gwei = |fee: u128| fee as f64 / GWEI as f64;
    Ok(format!(
        "{blocks} full blocks and as many empty ones, base fee up to {:.1} gwei: {} requests answered once, {replaced} \
         replacements, none above the cap of {:.1} gwei",
        gwei(highest),
        audited.answered,
        gwei(cap)
    ))
}

/// Fills the next blocks, but for some room in some.
async fn crowd(deployment: &Deployment, blocks: u64) -> Res<()> {
    for block in 1..=blocks {
        let room = if block % ROOM_EVERY == 0 { ROOM } else { 0 };
        let filler = TransactionRequest::default()
            .from(account(CROWD)?.address())
            .with_deploy_code(Bytes::from_static(&BURN))
            .value(U256::ZERO)
            .gas_limit(BLOCK_GAS - room)
            .max_fee_per_gas(600 * GWEI)
            .max_priority_fee_per_gas(if block < blocks / 2 { GWEI / 10 } else { 100 * GWEI });
        drop(deployment.provider.send_transaction(filler).await?);
    }
    Ok(())
}
