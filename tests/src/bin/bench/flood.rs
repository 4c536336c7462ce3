//! Many requests at once: signed here, sent side by side, and mined when the chain is told to.

use std::time::{Duration, Instant};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{Address, Bytes, TxKind, U256},
    providers::Provider,
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::SolCall,
};
use futures::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use oraculum_tests::{
    Res,
    abi::BenchConsumer,
    consumer::{Consumer, FEE},
    deployment::Deployment,
};
use serde_json::json;

const GWEI: u128 = 1_000_000_000;
/// Gas of a transaction that asks, at most.
const GAS: u64 = 250_000;
/// Gas of a block while requests are mined: as many as there are.
const WIDE: u64 = 10_000_000_000;

/// Transactions sent again at once: as many as a block may have left out.
const GAPS: usize = 4;

/// A transaction without the nonce of its sender.
#[derive(Debug, Clone)]
pub(crate) struct Unsigned {
    pub(crate) to: Address,
    pub(crate) input: Bytes,
    pub(crate) value: u128,
    pub(crate) gas_limit: u64,
    pub(crate) max_fee: u128,
    pub(crate) max_priority_fee: u128,
}

/// Signs transactions under successive nonces.
pub(crate) fn sign(all: &[Unsigned], key: &PrivateKeySigner, chain_id: u64, from: u64) -> Res<Vec<Vec<u8>>> {
    let sign = |(one, nonce): (&Unsigned, u64)| {
        let transaction = TxEip1559 {
            chain_id,
            nonce,
            gas_limit: one.gas_limit,
            max_fee_per_gas: one.max_fee,
            max_priority_fee_per_gas: one.max_priority_fee,
            to: TxKind::Call(one.to),
            value: U256::from(one.value),
            input: one.input.clone(),
            ..Default::default()
        };
        let signature = key.sign_hash_sync(&transaction.signature_hash())?;
        Ok(TxEnvelope::from(transaction.into_signed(signature)).encoded_2718())
    };
    all.iter().zip(from..).map(sign).collect()
}

/// Sends raw transactions side by side, in order.
pub(crate) async fn send(provider: &impl Provider, raw: &[Vec<u8>]) -> Res<()> {
    let sends = raw.iter().map(|raw| async move { provider.send_raw_transaction(raw).await.map(drop) });
    futures::stream::iter(sends).buffered(32).try_collect::<()>().await?;
    Ok(())
}

/// Sends raw transactions of one account, the first under the nonce `from`, until all are mined. Anvil drops a transaction
/// that it meets before the one under the nonce before, which happens where that one did not fit into the block any more.
pub(crate) async fn send_until_mined(
    provider: &impl Provider,
    account: Address,
    from: u64,
    raw: &[Vec<u8>],
    timeout: Duration,
) -> Res<()> {
    send(provider, raw).await?;
    let began = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mined = (provider.get_transaction_count(account).await? - from) as usize;
        if mined >= raw.len() {
            return Ok(());
        }
        if began.elapsed() > timeout {
            return Err(format!("{mined} of {} transactions are mined after {timeout:?}", raw.len()).into());
        }
        for raw in raw[mined..].iter().take(GAPS) {
            // It may be known, or mined by now.
            drop(provider.send_raw_transaction(raw).await);
        }
    }
}

/// Puts the transactions of `count` requests to one model into the pool.
pub(crate) async fn post(
    deployment: &Deployment,
    consumer: &Consumer,
    key: &PrivateKeySigner,
    count: usize,
) -> Res<()> {
    send(&deployment.provider, &asks(deployment, consumer, key, count).await?).await
}

/// The same at an even pace, for so many seconds.
pub(crate) async fn trickle(
    deployment: &Deployment,
    consumer: &Consumer,
    key: &PrivateKeySigner,
    rate: usize,
    seconds: usize,
) -> Res<()> {
    let requests = asks(deployment, consumer, key, rate * seconds).await?;
    let mut tick = tokio::time::interval(Duration::from_secs(1).div_f64(rate as f64));
    let mut sends = FuturesUnordered::new();
    for raw in requests {
        let sending = async {
            loop {
                tokio::select! {
                    _ = tick.tick() => return Ok(()),
                    Some(sent) = sends.next() => sent?,
                }
            }
        };
        let paced: Res<()> = sending.await;
        paced?;
        sends.push(async move { deployment.provider.send_raw_transaction(&raw).await.map(drop) });
    }
    sends.try_collect::<()>().await?;
    Ok(())
}

async fn asks(deployment: &Deployment, consumer: &Consumer, key: &PrivateKeySigner, count: usize) -> Res<Vec<Vec<u8>>> {
    let model = &consumer.models[0];
    let all: Vec<_> = (0..count)
        .map(|turn| {
            let input = model.cases[turn % model.cases.len()].input.clone();
            Unsigned {
                to: consumer.address(),
                input: BenchConsumer::askCall { model: model.id, input }.abi_encode().into(),
                value: FEE.into(),
                gas_limit: GAS,
                max_fee: 500 * GWEI,
                max_priority_fee: GWEI,
            }
        })
        .collect();
    let from = deployment.provider.get_transaction_count(key.address()).pending().await?;
    sign(&all, key, deployment.domain.chain_id, from)
}

/// Mines `count` requests in blocks of at most `portion`, one right after the other, and leaves automining off.
pub(crate) async fn mine(
    deployment: &Deployment,
    consumer: &Consumer,
    key: &PrivateKeySigner,
    count: usize,
    portion: usize,
) -> Res<()> {
    deployment.rpc("evm_setIntervalMining", json!([0])).await?;
    deployment.rpc("evm_setAutomine", json!([false])).await?;
    let limit =
        deployment.provider.get_block(alloy::eips::BlockId::latest()).await?.ok_or("no block")?.header.gas_limit;
    deployment.rpc("evm_setBlockGasLimit", json!([WIDE])).await?;
    let mut left = count;
    while left > 0 {
        let now = left.min(portion);
        post(deployment, consumer, key, now).await?;
        deployment.rpc("evm_mine", json!([])).await?;
        left -= now;
    }
    deployment.rpc("evm_setBlockGasLimit", json!([limit])).await?;
    Ok(())
}
