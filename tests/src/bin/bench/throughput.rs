//! Many waiting requests on 1 s blocks, beside a program that only sends the same fulfillments, precomputed.

use std::time::Duration;

use alloy::{
    consensus::Transaction,
    eips::BlockId,
    network::TransactionResponse,
    primitives::{Address, U256},
    providers::Provider,
};
use oraculum_tests::{
    Res,
    anvil::Anvil,
    deployment::{Deployment, account},
    rpc::faults::{Aim, aim},
};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    fixture::{FLOOR, Fixture},
    flood::{self, Unsigned},
    process,
};

/// Gas of a block, which is what bounds the floor. Mainnet's limit of 2025.
const BLOCK_GAS: &str = "30000000";
/// Requests in a block while they are made.
const PORTION: usize = 500;

/// How many answers came in how many blocks, the empty ones from the start on counted too.
struct Pace {
    answers: usize,
    blocks: u64,
    gas: u64,
}

impl Pace {
    fn per_second(&self) -> f64 {
        // Blocks are a second apart.
        self.answers as f64 / self.blocks as f64
    }
}

/// Answered requests a second, the node's and the floor's.
pub(crate) struct Figures {
    pub(crate) node: f64,
    pub(crate) floor: f64,
}

pub(super) async fn run(requests: usize) -> Res<()> {
    let figures = measure(requests).await?;
    println!("ratio to the floor: {:.2}", figures.node / figures.floor);
    Ok(())
}

pub(super) async fn measure(requests: usize) -> Res<Figures> {
    let mut fixture = Fixture::set(Anvil::with(&["--gas-limit", BLOCK_GAS]).await?, false).await?;
    let (deployment, provider) = (&fixture.deployment, fixture.deployment.provider.clone());
    let idle = process::peak(&fixture.node)?;
    // The node sleeps while its work is laid out, and wakes to all of it.
    signal(&fixture, "STOP").await?;
    flood::mine(deployment, &fixture.consumer, &account(0)?, requests, PORTION).await?;
    let start = provider.get_block_number().await?;
    let snapshot = deployment.rpc("evm_snapshot", json!([])).await?;
    let cpu = process::cpu(&fixture.node)?;
    deployment.rpc("evm_setIntervalMining", json!([1])).await?;
    signal(&fixture, "CONT").await?;
    let settled = fixture.consumer.settle_all(deployment, requests, 280).await;
    settled.map_err(|error| format!("{error}\n{}", fixture.node.log()))?;
    let (cpu, peak) = (process::cpu(&fixture.node)? - cpu, process::peak(&fixture.node)?);
    fixture.node.stop().await?;
    deployment.rpc("evm_setIntervalMining", json!([0])).await?;
    let (pace, sent) = read(deployment, start, fixture.node.sender).await?;
    println!("{requests} waiting requests, 1 s blocks of {BLOCK_GAS} gas:\n");
    println!("| | answered per second | blocks | answers per block | transactions | gas per answer |");
    println!("|---|---:|---:|---:|---:|---:|");
    row("oraculum", &pace, sent.len());

    if deployment.rpc("evm_revert", json!([snapshot])).await? != Value::Bool(true) {
        return Err("Anvil did not go back to the snapshot".into());
    }
    // Going back restores the limit of the block that was wide for the requests.
    deployment.rpc("evm_setBlockGasLimit", json!([BLOCK_GAS.parse::<u64>()?])).await?;
    let key = account(FLOOR)?;
    let from = provider.get_transaction_count(key.address()).await?;
    let raw = flood::sign(&sent, &key, deployment.domain.chain_id, from)?;
    deployment.rpc("evm_setIntervalMining", json!([1])).await?;
    flood::send_until_mined(&provider, key.address(), from, &raw, Duration::from_secs(280)).await?;
    fixture.consumer.settle_all(deployment, requests, 280).await?;
    let (floor, _) = read(deployment, start, key.address()).await?;
    row("floor: the same fulfillments, precomputed", &floor, raw.len());
    println!(
        "\nthe relayer's CPU: {cpu:.2} s, {:.2} ms per answer; peak memory {peak:.0} MB, {:.0} MB above that with its \
         models loaded and idle",
        cpu * 1e3 / pace.answers as f64,
        peak - idle
    );
    Ok(Figures { node: pace.per_second(), floor: floor.per_second() })
}

fn row(name: &str, pace: &Pace, transactions: usize) {
    println!(
        "| {name} | {:.1} | {} | {:.0} | {transactions} | {} |",
        pace.per_second(),
        pace.blocks,
        pace.answers as f64 / pace.blocks as f64,
        pace.gas / pace.answers.max(1) as u64
    );
}

async fn signal(fixture: &Fixture, name: &str) -> Res<()> {
    let pid = fixture.node.pid().ok_or("the node is not running")?;
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().await?;
    if status.success() { Ok(()) } else { Err(format!("cannot send SIG{name}").into()) }
}

/// The pace of a sender's answers above a height, and their transactions in order.
async fn read(deployment: &Deployment, above: u64, sender: Address) -> Res<(Pace, Vec<Unsigned>)> {
    let mut pace = Pace { answers: 0, blocks: 0, gas: 0 };
    let mut sent = Vec::new();
    for number in above + 1..=deployment.provider.get_block_number().await? {
        let block = deployment.provider.get_block(BlockId::from(number)).full().await?.ok_or("no such block")?;
        for transaction in block.transactions.txns().filter(|one| one.from() == sender) {
            let Aim::Answer(ids) = aim(transaction.input(), deployment.domain) else { continue };
            let receipt =
                deployment.provider.get_transaction_receipt(transaction.tx_hash()).await?.ok_or("no receipt")?;
            if !receipt.status() {
                return Err(format!("{} reverted", transaction.tx_hash()).into());
            }
            pace.answers += ids.len();
            pace.gas += receipt.gas_used;
            pace.blocks = number - above;
            sent.push(Unsigned {
                to: *deployment.coordinator.address(),
                input: transaction.input().clone(),
                value: 0,
                gas_limit: transaction.gas_limit(),
                // Full blocks raise the base fee; the floor must not run out of it.
                max_fee: 100 * Transaction::max_fee_per_gas(transaction),
                max_priority_fee: transaction.max_priority_fee_per_gas().unwrap_or_default(),
            });
        }
    }
    Ok((pace, sent))
}

/// Memory of a node that cannot pay for gas, while more and more requests wait for it.
pub(super) async fn memory(requests: usize) -> Res<()> {
    let fixture = Fixture::set(Anvil::with(&["--gas-limit", BLOCK_GAS]).await?, false).await?;
    let idle = process::resident(&fixture.node)?;
    fixture.deployment.rpc("anvil_setBalance", json!([fixture.node.sender, U256::ZERO])).await?;
    println!("a node that cannot answer, and requests that wait for it:\n");
    println!("| waiting | memory now, MB | peak, MB | journal, MB |\n|---:|---:|---:|---:|");
    let mut waiting = 0;
    loop {
        let (now, peak) = (process::resident(&fixture.node)?, process::peak(&fixture.node)?);
        println!("| {waiting} | {now:.0} | {peak:.0} | {:.1} |", process::disk(&fixture.node)?);
        if waiting >= requests {
            break;
        }
        let portion = (requests / 10).max(1).min(requests - waiting);
        flood::mine(&fixture.deployment, &fixture.consumer, &account(0)?, portion, PORTION).await?;
        waiting += portion;
    }
    println!("\nabove the models: {:.0} MB", process::peak(&fixture.node)? - idle);
    Ok(())
}
