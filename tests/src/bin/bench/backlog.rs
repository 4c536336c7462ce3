//! Catching up with a long history, beside a bare loop that asks for the same pages of logs.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::{
    primitives::{B256, LogData, U64, aliases::U96, keccak256},
    providers::{Provider, ProviderBuilder, RootProvider},
    rpc::types::Filter,
    sol_types::SolEvent,
};
use oraculum::protocol::{
    Outcome, OutputFormat,
    answer::Announced,
    request::{Ask, Filled, InputKind, Level},
};
use oraculum_tests::{
    Res,
    abi::InferenceCoordinator::{Claimed, Fulfilled, Requested},
    anvil::Anvil,
    consumer::{Consumer, FEE},
    deployment::{Deployment, parameters},
    node::Node,
    rpc::server::RpcServer,
};
use serde_json::{Value, json};

use super::log_server::LogServer;

/// Blocks from a request to its answer.
const ANSWERED_AFTER: u64 = 2;

/// Answers that are claimed together.
const CLAIMED_TOGETHER: u64 = 32;

/// What became of the pay for the answers, all of which are the node's.
#[derive(Debug, Clone, Copy)]
enum Pay {
    /// Claimed as it vested, as a node does.
    Claimed,
    /// Never claimed: every answer is to be written down as pay to claim.
    Owed,
}

pub(super) async fn run(blocks: usize, events: usize) -> Res<()> {
    println!("catching up with {blocks} blocks:\n");
    println!("| history | | seconds | events per second |\n|---|---|---:|---:|");
    measure(blocks as u64, events as u64, Pay::Claimed).await?;
    measure(blocks as u64, events as u64, Pay::Owed).await
}

async fn measure(blocks: u64, events: u64, pay: Pay) -> Res<()> {
    let anvil = Anvil::start().await?;
    let deployment = Deployment::deploy(&anvil.local.ws_url()).await?;
    let consumer = Consumer::new(&deployment, &["iris"]).await?;
    let http = ProviderBuilder::default().connect_http(anvil.local.http_url().parse()?);
    let server = Arc::new(LogServer::new(blocks, history(&deployment, &consumer, blocks, events, pay)?, http));
    let endpoint = RpcServer::serve(server.clone()).await?;
    let mut node = Node::new(&deployment, &endpoint.local.http_url(), 0, &[("chain", "poll_interval = 0.2")])?;
    deployment.seat(1, &node.signer, &consumer.ids()).await?;

    node.start().await?;
    let began = Instant::now();
    while !node.log().contains("caught up with the chain") {
        if began.elapsed() > Duration::from_secs(300) || node.ended()? {
            return Err(format!("the node did not catch up\n{}", node.log()).into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pages = server.take_pages();
    node.stop().await?;
    let (first, ended) = pages.first.zip(pages.ended).ok_or("no pages were asked for")?;
    let took = (ended - first).as_secs_f64();

    let bare: RootProvider = ProviderBuilder::default().connect_http(endpoint.local.http_url().parse()?);
    let began = Instant::now();
    let mut found = 0;
    for (from, to) in &pages.ranges {
        let filter = Filter::new().address(*deployment.coordinator.address()).from_block(*from).to_block(*to);
        found += bare.get_logs(&filter).await?.len();
    }
    let floor = began.elapsed().as_secs_f64();
    let told = match pay {
        Pay::Claimed => "requests, answers, claims",
        Pay::Owed => "requests, answers, nothing claimed",
    };
    println!("| {found} events: {told} | oraculum | {took:.2} | {:.0} |", found as f64 / took);
    let pages = pages.ranges.len();
    println!("| | floor: `eth_getLogs` over the same {pages} pages | {floor:.2} | {:.0} |", found as f64 / floor);
    println!("| | ratio | {:.2} | |", took / floor);
    Ok(())
}

/// Requests at even distances over all blocks but the newest, each answered by the node's seat.
fn history(
    deployment: &Deployment,
    consumer: &Consumer,
    blocks: u64,
    events: u64,
    pay: Pay,
) -> Res<BTreeMap<u64, Vec<Value>>> {
    let model = &consumer.models[0];
    let (chain_id, coordinator) = (deployment.domain.chain_id, deployment.domain.coordinator);
    let output = model.cases[0].input.clone();
    let mut logs: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    let mut put = |number: u64, data: LogData| {
        let of_block = logs.entry(number).or_default();
        let index = of_block.len() as u64;
        of_block.push(json!({
            "address": coordinator,
            "topics": data.topics(),
            "data": data.data,
            "blockNumber": U64::from(number),
            "blockHash": LogServer::hash(number),
            "transactionHash": keccak256([number.to_be_bytes(), index.to_be_bytes()].concat()),
            "transactionIndex": U64::from(index),
            "logIndex": U64::from(index),
            "removed": false,
        }));
    };
    let requests = match pay {
        Pay::Claimed => events / 3,
        Pay::Owed => events / 2,
    };
    let mut unclaimed = Vec::new();
    // The newest blocks are asked for one by one, by their hashes: they are left empty.
    let span = blocks.saturating_sub(1_000).max(1);
    for nonce in 0..requests {
        let number = 1 + nonce * (span - ANSWERED_AFTER - 1) / requests.max(1);
        let input = &model.cases[nonce as usize % model.cases.len()].input;
        let ask = Ask {
            model_id: model.id,
            refund_to: consumer.address(),
            token: alloy::primitives::Address::ZERO,
            fee: U96::from(FEE),
            submit_fee: U96::ZERO,
            value_at_risk: U96::ZERO,
            callback_gas_limit: 100_000,
            deadline_blocks: 300,
            output: OutputFormat { width: 4, decimals: 6, mask: 0 },
            quorum: 1,
            level: Level::Fast,
            input_kind: InputKind::Inline,
        };
        let filled = Filled { consumer: consumer.address(), nonce, seat_count: 1, version: 1, request_block: number };
        let request = ask.into_request(input, filled);
        let id: B256 = request.id(chain_id, coordinator);
        let [_, _, origin, escrow, payment, terms] = request.to_words();
        let requested = Requested {
            requestId: id,
            consumer: consumer.address(),
            modelId: model.id,
            origin,
            escrow,
            payment,
            terms,
            input: input.clone(),
        };
        put(number, requested.encode_log_data());
        let answer = Announced { outcome: Outcome::Ok, seats: vec![0; 4].into(), output: output.clone() }.encode();
        let fulfilled = Fulfilled { requestId: id, answer };
        put(number + ANSWERED_AFTER, fulfilled.encode_log_data());
        unclaimed.push(id);
        let vested = number + ANSWERED_AFTER + u64::from(parameters()?.vesting) + 1;
        if matches!(pay, Pay::Claimed) && unclaimed.len() as u64 == CLAIMED_TOGETHER && vested < span {
            put(vested, Claimed { requestIds: std::mem::take(&mut unclaimed) }.encode_log_data());
        }
    }
    Ok(logs)
}
