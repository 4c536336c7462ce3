use std::time::Duration;

use alloy::primitives::U256;
use serde_json::{Value, json};

use super::*;
use crate::{
    chain::{AlloyChain, Endpoints, PoolSettings},
    coordinator::Event,
    domain::SignedAnswer,
    testing::{
        self,
        endpoint::{Said, TestEndpoint, client_settings},
    },
};

/// What is written of a stretch of history, with the chain's head far above it: the ids of the jobs, and of the claims.
async fn written(head: u64) -> (Vec<B256>, Vec<B256>, [B256; 3]) {
    let mut rig = Rig::new();
    rig.advance().await;
    let [owed, paid, open] = [rig.ask(0), rig.ask(1), rig.ask(2)];
    rig.mine(vec![fulfilled(&owed, 0), fulfilled(&paid, 0)]);
    rig.mine(vec![claimed(&paid)]);
    let logs = rig.chain().logs(rig.bench.node.domain.coordinator, LogScope::Range(1, rig.height())).await.unwrap();
    let logs: Vec<_> = logs.iter().filter_map(decode_log).collect();
    assert!(matches!(logs.last().unwrap().event, Event::Claimed(_)));
    let mut batch = Batch::default();
    let heights = Heights { head, cursor: 100, final_block: Some(head - 3), depth: 8 };
    intake::take(&rig.bench.node, &HashMap::new(), &logs, heights, &mut batch).unwrap();
    let jobs = batch.seen.iter().map(|(task, _)| task.id).collect();
    assert!(batch.moves.iter().all(|(moved, _)| batch.seen.iter().any(|(task, _)| task.id == *moved)));
    rig.bench.node.journal.commit(&batch).unwrap();
    (jobs, rig.claims().iter().map(|claim| claim.id).collect(), [id(&owed), id(&paid), id(&open)])
}

#[tokio::test]
async fn of_what_began_and_ended_long_ago_only_pay_that_is_owed_is_written() {
    let (jobs, claims, [owed, _, open]) = written(60_000).await;
    assert_eq!((jobs, claims), (vec![open], vec![owed]));
}

#[tokio::test]
async fn what_ended_lately_is_written_for_the_list_of_jobs() {
    let (jobs, claims, [owed, paid, open]) = written(40_000).await;
    assert_eq!((jobs, claims), (vec![owed, paid, open], vec![owed]));
}

/// A node that catches up may have given thousands of them.
#[tokio::test]
async fn answers_that_are_long_past_are_told_in_one_line() {
    let log = testing::Log::start();
    written(40_000).await;
    assert_eq!(log.with("answered; the fee").len(), 0);
    let told = log.with("answers of this node are in the chain's history");
    assert!(matches!(&told[..], [line] if line.contains("answers=2 ")), "{told:?}");

    written(8).await;
    assert_eq!(log.with("answered; the fee").len(), 2);
    assert_eq!(log.with("answers of this node are in the chain's history").len(), 1);
}

/// Words with which endpoints refuse a query over too many blocks.
fn refusals() -> Vec<Said> {
    let error = |code: i64, words: &str| Said::Error(code, words.into());
    vec![
        error(-32_008, "Response is too big"),
        error(-32_602, "requested too many blocks from 0 to 399, maximum is set to 100"),
        error(-32_000, "Maximum allowed number of requested blocks is 100"),
        error(-32_000, "ranges over 100 blocks are not supported on freetier"),
        error(-32_701, "please limit the query to at most 100 blocks"),
        error(-32_603, "Internal error"),
        error(-32_602, "invalid params"),
        Said::Body(413, b"<html>Request Entity Too Large</html>".to_vec()),
        Said::Body(503, Vec::new()),
        Said::Close(1009, "message too big".into()),
        // More than a frame of a WebSocket may have.
        Said::Body(200, vec![b' '; 17 << 20]),
    ]
}

/// F3: an endpoint refused log queries over 100 blocks in words that nobody had foreseen, and the node never caught up.
///
/// F2: a reply above the limit of a WebSocket's frame was fetched 261 times before fewer blocks were asked for.
#[tokio::test]
async fn pages_shrink_until_they_pass_in_whatever_words_the_endpoint_refuses_them() {
    let number = |value: &Value| u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let told = |refusal: &Said| match refusal {
        Said::Body(status, body) => format!("{status} with {} bytes", body.len()),
        words => format!("{words:?}"),
    };
    for (refusal, scheme) in refusals().into_iter().flat_map(|one| [(one.clone(), "http"), (one, "ws")]) {
        // A status is HTTP's.
        if scheme == "ws" && matches!(refusal, Said::Body(400.., _)) {
            continue;
        }
        let (said, refused) = (refusal.clone(), told(&refusal));
        let endpoint = TestEndpoint::start(move |method, params| match method {
            "eth_chainId" => Said::Result(json!("0x1")),
            "eth_getLogs" => {
                let (from, to) = (number(&params[0]["fromBlock"]), number(&params[0]["toBlock"]));
                if to - from >= 100 { said.clone() } else { Said::Result(json!([])) }
            }
            "eth_getBlockByNumber" => {
                let height = if params[0] == "latest" { 500 } else { number(&params[0]) };
                let (hash, parent) = (B256::from(U256::from(height + 1)), B256::from(U256::from(height)));
                Said::Result(json!({
                    "number": format!("{height:#x}"), "hash": hash, "parentHash": parent, "timestamp": "0x1",
                }))
            }
            _ => Said::Error(-32_601, "method not found".into()),
        })
        .await;
        let chain = Arc::new(AlloyChain::new(endpoint.url(scheme), client_settings()));
        let settings = PoolSettings { chain_id: 1, quorum: 1, timeout: Duration::from_secs(10) };
        let pool = Arc::new(Endpoints::new(vec![("it".into(), chain)], settings));
        let Bench { node, .. } = Bench::new();
        let (journal, policy, metrics) = (node.journal.clone(), node.policy.clone(), node.metrics.clone());
        let node = Arc::new(Node::new(pool.clone(), journal, node.domain, node.signer, policy, metrics));
        let (mut history, mut next, began) = (History::new(2_000), 1, std::time::Instant::now());
        while next < 400 {
            assert!(began.elapsed() < Duration::from_secs(20), "{refused} {scheme}: block {next}");
            match history.read(&node, next, 400).await {
                Ok(Some(page)) => next = page.end.number + 1,
                Ok(None) => {}
                Err(error) => panic!("{refused} {scheme}: {error}"),
            }
        }
        assert!(pool.health()[0].errors.contains_key("range_too_large"), "{refused} {scheme}");
        let mut asked = endpoint.calls("eth_getLogs");
        let count = asked.len();
        asked.dedup();
        assert_eq!(asked.len(), count, "{refused} {scheme}: no query is repeated");
        // A connection that broke is one fault of the endpoint; a refusal is none.
        let faults = pool.health()[0].errors.keys().filter(|label| **label != "range_too_large").count();
        assert!(
            faults == 0 || matches!(refusal, Said::Close(..) | Said::Body(200, _)),
            "{refused} {scheme}: {:?}",
            pool.health()
        );
    }
}

#[tokio::test]
async fn after_a_loss_of_power_nothing_is_signed_for_blocks_of_before_the_start() {
    // The scripted chain's clock counts its blocks.
    let mut rig = Rig::on(Bench::new(), WatchSettings { started_at: 6, ..settings() });
    let journal = rig.bench.node.journal.clone();
    journal.expect_signed(true, true).unwrap();
    let sign = |request: &Request, height: u64| {
        let block = BlockRef { number: height, hash: B256::ZERO };
        let answer = SignedAnswer { request: id(request), block, digest: B256::ZERO, deadline: height + 300 };
        journal.record_signed(&answer)
    };
    let old = rig.ask(0);
    rig.advance().await;
    let late = rig.ask(1);
    rig.advance().await;
    let heights = [old.request_block, late.request_block];
    assert!(heights.iter().all(|height| *height < 6));
    for (request, height) in [&old, &late].into_iter().zip(heights) {
        assert!(sign(request, height).is_err(), "the endpoint lags");
    }
    while rig.height() < 6 {
        rig.mine(Vec::new());
    }
    rig.advance().await;
    assert!(sign(&late, heights[1]).is_err());
    let new = rig.ask(2);
    rig.advance().await;
    sign(&new, new.request_block).unwrap();
}
