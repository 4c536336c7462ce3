//! What a request, its answer and its claim cost: receipts of whole transactions on Anvil, in steady state (the fifth
//! request of one consumer and one signer, balances not zero, the consumer overwrites one word).
//!
//! Gas is exact, so these bars are asserted, unlike timings. `./scripts/bench gas` prints the table.

#![allow(clippy::print_stdout)] // the table is what `./scripts/bench gas` shows

use alloy::{
    primitives::{Address, U256},
    rpc::types::TransactionReceipt,
    sol_types::{SolCall, SolEvent},
};
use oraculum_tests::{
    Res,
    abi::{
        BenchConsumer::{self, BenchConsumerInstance},
        InferenceCoordinator::{Fulfilled, claimCall, fulfillBatchCall},
        RequestFloor,
    },
    anvil::Anvil,
    deployment::{Deployment, account},
};

/// 4 numbers in, as 4-byte elements: an iris in millimetres.
const FLOWER: [i32; 4] = [51, 35, 14, 2];
/// Fee of a request, in wei.
const FEE: u64 = 1_000_000_000_000;

/// 3 numbers out, as 4-byte elements with 6 decimals. The largest moves with `turn`, so that the stored word changes.
fn probabilities(turn: usize) -> Vec<u8> {
    let mut output = vec![1, 3, 6, 2, 0, 0, 0, 1, 0, 0, 0, 3];
    for class in 0..3 {
        output.extend(i32::to_be_bytes(if class == turn % 3 { 964_210 } else { 17_895 }));
    }
    output
}

/// 1,000 two-byte numbers, none of whose bytes is zero.
fn thousand_numbers() -> Vec<u8> {
    let mut input = vec![1, 2, 0, 2, 0, 0, 0, 1, 0, 0, 0x03, 0xe8];
    input.extend((0..1_000u16).flat_map(|i| [1 + (i % 255) as u8, 1 + (i / 4 % 255) as u8]));
    input
}

struct Figures {
    request: u64,
    answer: u64,
}

impl Figures {
    fn sum(&self) -> u64 {
        self.request + self.answer
    }
}

/// Five rounds of a request and its answer; the fifth counts.
async fn steady<F, G>(deployment: &Deployment, mut ask: F) -> Res<Figures>
where
    F: FnMut() -> G,
    G: Future<Output = Res<TransactionReceipt>>,
{
    let mut figures = Figures { request: 0, answer: 0 };
    for turn in 0..5 {
        let asked = ask().await?;
        let answered = deployment.fulfill(&asked, &probabilities(turn)).await?;
        figures = Figures { request: asked.gas_used, answer: answered.gas_used };
    }
    Ok(figures)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_its_answer_stay_below_their_gas_bars() -> Res<()> {
    let anvil = Anvil::start().await?;
    let deployment = Deployment::open(&anvil.local.ws_url()).await?;
    let provider = deployment.provider.clone();
    let coordinator = *deployment.coordinator.address();
    let payer: Address = account(0)?.address();
    let bench = BenchConsumer::deploy(provider.clone(), coordinator, deployment.model).await?;
    deployment.coordinator.deposit(payer).value(U256::from(1_000 * FEE)).send().await?.get_receipt().await?;
    let cap = alloy::primitives::aliases::U96::from(10 * FEE);
    deployment.coordinator.allow(*bench.address(), cap).send().await?.get_receipt().await?;

    let first = {
        let fresh = BenchConsumer::deploy(provider.clone(), coordinator, deployment.model).await?;
        let data = BenchConsumer::classifyCall { sizes: FLOWER }.abi_encode();
        deployment.send(*fresh.address(), data.into(), FEE).await?.gas_used
    };
    let attached = steady(&deployment, || {
        let data = BenchConsumer::classifyCall { sizes: FLOWER }.abi_encode();
        deployment.send(*bench.address(), data.into(), FEE)
    })
    .await?;
    let prepaid = steady(&deployment, || {
        let fee = alloy::primitives::aliases::U96::from(FEE);
        let data = BenchConsumer::classifyPrepaidCall { sizes: FLOWER, payer, fee }.abi_encode();
        deployment.send(*bench.address(), data.into(), 0)
    })
    .await?;
    let wide = {
        let data = BenchConsumer::askCall { model: deployment.model, input: thousand_numbers().into() }.abi_encode();
        deployment.send(*bench.address(), data.into(), FEE).await?.gas_used
    };
    let (batch, claim) = batch_and_claim(&deployment, &bench).await?;
    let floor = floor(&deployment).await?;

    println!("| whole-transaction gas, steady state | request | answer | sum |");
    println!("|---|---:|---:|---:|");
    for (name, f) in [("ETH attached", &attached), ("prepaid account", &prepaid), ("floor", &floor)] {
        println!("| {name} | {} | {} | {} |", f.request, f.answer, f.sum());
    }
    println!("\na consumer's first request: {first}");
    println!("answer, per item of a batch of 32: {batch}");
    println!("claim, per item of 32: {claim}");
    println!("request with 1,000 two-byte numbers: {wide}");

    assert!(attached.sum() <= 124_500, "ETH attached: {}", attached.sum());
    assert!(prepaid.sum() <= 126_000, "prepaid: {}", prepaid.sum());
    assert!(first <= 71_500, "first: {first}");
    assert!(batch <= 25_600, "batch: {batch}");
    assert!(claim <= 13_300, "claim: {claim}");
    assert!(wide <= 124_000, "wide: {wide}");
    Ok(())
}

/// Gas per item of a batch of 32 answers, and of a claim of the same 32.
async fn batch_and_claim(
    deployment: &Deployment,
    bench: &BenchConsumerInstance<alloy::providers::DynProvider>,
) -> Res<(u64, u64)> {
    let coordinator = *deployment.coordinator.address();
    let mut asked = Vec::new();
    let mut fulfillments = Vec::new();
    for turn in 0..32 {
        let data = BenchConsumer::classifyCall { sizes: FLOWER }.abi_encode();
        let receipt = deployment.send(*bench.address(), data.into(), FEE).await?;
        fulfillments.push(deployment.answer(&receipt, &probabilities(turn))?);
        asked.push(receipt);
    }
    let answered = deployment.send(coordinator, fulfillBatchCall { fulfillments }.abi_encode().into(), 0).await?;
    let fulfilled = answered.logs().iter().filter(|log| log.topic0() == Some(&Fulfilled::SIGNATURE_HASH)).count();
    assert_eq!((fulfilled, answered.logs().len()), (32, 32), "every item is answered, none is skipped");
    deployment.mine(33).await?;
    let results = asked
        .iter()
        .enumerate()
        .map(|(turn, asked)| Deployment::result(asked, &answered, &probabilities(turn)))
        .collect::<Res<Vec<_>>>()?;
    let claimed = deployment.send(coordinator, claimCall { results }.abi_encode().into(), 0).await?;
    Ok((answered.gas_used.div_ceil(32), claimed.gas_used.div_ceil(32)))
}

/// A contract that only emits the event, and a transaction that only calls the callback.
async fn floor(deployment: &Deployment) -> Res<Figures> {
    let account: Address = account(0)?.address();
    let emitter = RequestFloor::deploy(deployment.provider.clone()).await?;
    let callee = BenchConsumer::deploy(deployment.provider.clone(), account, deployment.model).await?;
    let data = RequestFloor::classifyCall { sizes: FLOWER }.abi_encode();
    let request = deployment.send(*emitter.address(), data.into(), FEE).await?.gas_used;
    let mut answer = 0;
    for turn in 0..2 {
        let data = BenchConsumer::onInferenceCall {
            requestId: alloy::primitives::keccak256("request"),
            outcome: 0,
            output: probabilities(turn).into(),
        };
        answer = deployment.send(*callee.address(), data.abi_encode().into(), 0).await?.gas_used;
    }
    Ok(Figures { request, answer })
}
