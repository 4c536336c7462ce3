//! Request block to answer block, beside a program that does the least.

use std::{process::Stdio, time::Duration};

use alloy::{
    consensus::{SignableTransaction, Transaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{Address, Bytes, TxKind, U256, keccak256},
    providers::{Provider, ProviderBuilder, RootProvider},
    rpc::types::Filter,
    signers::SignerSync,
    sol_types::SolCall,
};
use oraculum_tests::{
    Res,
    abi::{BenchConsumer, InferenceCoordinator::claimCall, RequestFloor},
    anvil::Anvil,
    consumer::FEE,
    deployment::account,
};
use tokio::process::{Child, Command};

use super::fixture::{FLOOR, Fixture, Heads, next_head, percentile, stamped};

/// The least that an answer takes: a program that turns a log heard at one endpoint into a raw transaction sent to another,
/// and does nothing else. `signed` transactions are made before the first log; what comes after them is signed when its
/// log comes.
pub(super) async fn floor([logs, sends]: [&str; 2], emitter: Address, callee: Address, signed: usize) -> Res<()> {
    let heard: RootProvider = ProviderBuilder::default().connect(logs).await?;
    let provider: RootProvider = ProviderBuilder::default().connect(sends).await?;
    let signer = account(FLOOR)?;
    let chain_id = provider.get_chain_id().await?;
    let first = provider.get_transaction_count(signer.address()).await?;
    let raw = |nonce: u64| -> Res<Vec<u8>> {
        let mut output = vec![1, 3, 6, 2, 0, 0, 0, 1, 0, 0, 0, 3];
        output.extend((0..3).flat_map(|class| i32::to_be_bytes(if class == nonce % 3 { 964_210 } else { 17_895 })));
        let call = BenchConsumer::onInferenceCall {
            requestId: keccak256(nonce.to_be_bytes()),
            outcome: 0,
            output: output.into(),
        };
        let transaction = TxEip1559 {
            chain_id,
            nonce,
            gas_limit: 100_000,
            max_fee_per_gas: 100_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            to: TxKind::Call(callee),
            value: U256::ZERO,
            input: call.abi_encode().into(),
            ..Default::default()
        };
        let signature = signer.sign_hash_sync(&transaction.signature_hash())?;
        Ok(TxEnvelope::from(transaction.into_signed(signature)).encoded_2718())
    };
    let ready: Vec<_> = (first..first + signed as u64).map(raw).collect::<Res<_>>()?;
    // A block brings its logs all at once.
    let mut logs = heard.subscribe_logs(&Filter::new().address(emitter)).channel_size(1 << 16).await?;
    println!("ready");
    for nonce in first.. {
        drop(logs.recv().await?);
        let ready = ready.get((nonce - first) as usize).cloned();
        drop(provider.send_raw_transaction(&ready.map_or_else(|| raw(nonce), Ok)?).await?);
    }
    Ok(())
}

/// Whether the only transaction of a block goes to an address, and is no claim.
async fn goes_to(provider: &impl Provider, block: u64, to: Address) -> Res<bool> {
    let block = provider.get_block(block.into()).full().await?.ok_or("no such block")?;
    let found = block.transactions.txns().next().ok_or("an empty block")?;
    Ok(found.to() == Some(to) && found.input().get(..4) != Some(&claimCall::SELECTOR[..]))
}

/// Waits until no block comes any more; returns the last one's number.
async fn quiet(heads: &mut Heads, mut height: u64) -> Res<u64> {
    while let Ok(head) = tokio::time::timeout(Duration::from_millis(300), heads.recv()).await {
        height = height.max(head.ok_or("the subscription ended")?.0);
    }
    Ok(height)
}

/// Request block to answer block on automining Anvil, one request at a time, ours and the floor's by turns.
pub(super) async fn run(requests: usize) -> Res<()> {
    let fixture = Fixture::set(Anvil::start().await?, false).await?;
    let provider = fixture.deployment.provider.clone();
    let (coordinator, model) = (*fixture.deployment.coordinator.address(), fixture.consumer.models[0].id);
    let consumer = BenchConsumer::deploy(provider.clone(), coordinator, model).await?;
    let emitter = RequestFloor::deploy(provider.clone()).await?;
    let callee = BenchConsumer::deploy(provider.clone(), account(FLOOR)?.address(), model).await?;
    let url = fixture.anvil.local.ws_url();
    let _floor: Child = Command::new(std::env::current_exe()?)
        .args(["floor", &url, &url, &emitter.address().to_string(), &callee.address().to_string(), "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let sizes = [51, 35, 14, 2];
    let ask: Bytes = BenchConsumer::classifyCall { sizes }.abi_encode().into();
    let sides = [*consumer.address(), *emitter.address()];
    let mut samples = [Vec::new(), Vec::new()];
    let ends = [*fixture.deployment.coordinator.address(), *callee.address()];
    let mut heads = stamped(fixture.anvil.local.ws_url()).await?;
    let mut height = provider.get_block_number().await?;
    let mut passed_over = 0;
    for turn in 0..requests + 20 {
        for (side, to) in sides.into_iter().enumerate() {
            let transaction = alloy::rpc::types::TransactionRequest::default()
                .to(to)
                .input(ask.clone().into())
                .value(U256::from(FEE))
                .gas_limit(1_000_000)
                .max_fee_per_gas(50_000_000_000)
                .max_priority_fee_per_gas(1_000_000_000);
            drop(provider.send_transaction(transaction).await?);
            let (asked, from) = next_head(&mut heads, height).await?;
            let (answered, until) = next_head(&mut heads, asked).await?;
            height = answered;
            // The node claims its pay in blocks of their own, between these.
            let whole = goes_to(&provider, asked, to).await? && goes_to(&provider, answered, ends[side]).await?;
            if !whole {
                passed_over += 1;
                height = quiet(&mut heads, height).await?;
            }
            // The first rounds warm up both sides.
            if whole && turn >= 20 {
                samples[side].push((until - from).as_secs_f64() * 1e3);
            }
        }
    }
    quiet(&mut heads, height).await?;
    eprintln!("{passed_over} turns passed over, in which the node claimed its pay");
    let answers = fixture.consumer.answers(&fixture.deployment).await?.len();
    if answers != requests + 40 {
        return Err(format!("{answers} answers to {} requests", requests + 40).into());
    }
    let wasted = fixture.node.wasted(&fixture.deployment).await?;
    if !wasted.is_empty() {
        return Err(format!("wasted transactions: {wasted:?}").into());
    }
    for side in &mut samples {
        side.sort_by(f64::total_cmp);
    }
    println!("request block → answer block, automining Anvil, {requests} requests one at a time, ms\n");
    println!("| | p50 | p90 | p99 |\n|---|---:|---:|---:|");
    for (name, side) in [("oraculum", &samples[0]), ("floor: log → raw transaction", &samples[1])] {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| percentile(side, share));
        println!("| {name} | {p50:.2} | {p90:.2} | {p99:.2} |");
    }
    let ratio = |share| percentile(&samples[0], share) / percentile(&samples[1], share);
    println!("| ratio | {:.2} | {:.2} | {:.2} |", ratio(0.5), ratio(0.9), ratio(0.99));
    Ok(())
}
