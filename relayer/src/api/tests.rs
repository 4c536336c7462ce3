use alloy::primitives::Address;
use tokio::sync::watch;

use super::*;
use crate::{
    chain::{EndpointHealth, EndpointState, Header},
    domain::{AnswerRef, Attempt, ChainHead, Entry, Purpose, Skip, TrackedTransaction, Transition},
    journal::{Batch, SledJournal, View},
    metrics::Metrics,
    testing::{Bench, MODEL, block, input, task},
};

struct Rig {
    bench: Bench,
    board: NodeStatus<SledJournal>,
    life: watch::Sender<Option<PipelineHandles>>,
    tips: watch::Sender<Option<ChainHead>>,
    funded: watch::Sender<bool>,
}

fn endpoint(state: EndpointState) -> EndpointHealth {
    let (head, latency) = (Some(100), Some(Duration::from_millis(3)));
    let errors = std::collections::BTreeMap::from([("timeout", 2)]);
    EndpointHealth { endpoint: "http://localhost/…".into(), state, head, behind_by: 0, latency, calls: 9, errors }
}

fn tip(number: u64) -> ChainHead {
    let header =
        Header { block: block(number), parent: B256::ZERO, timestamp: 7_200, base_fee: 5, bloom: Default::default() };
    ChainHead { header, reorg_epoch: 0, final_block: Some(number - 3) }
}

/// A node that is ready at block 99.
fn rig() -> Rig {
    let bench = Bench::new();
    let (tips, tips_seen) = watch::channel(Some(tip(99)));
    let (funded, funded_seen) = watch::channel(true);
    let (life, life_seen) =
        watch::channel(Some(PipelineHandles { tips: tips_seen, funded: funded_seen, seats: Arc::new(|| 1) }));
    let board = NodeStatus {
        chain_id: 31_337,
        journal: bench.node.journal.clone(),
        metrics: Arc::new(Metrics::default()),
        endpoints: Box::new(|| vec![endpoint(EndpointState::Ready), endpoint(EndpointState::Resting)]),
        life: life_seen,
    };
    Rig { bench, board, life, tips, funded }
}

impl Rig {
    fn ask(&self, nonces: std::ops::Range<u64>) {
        let seen = nonces.map(|nonce| (task(nonce), input(nonce).into())).collect();
        self.bench.node.journal.commit(&Batch { seen, ..Batch::default() }).unwrap();
    }

    fn get(&self, path: &str) -> (&'static str, String) {
        let (status, _, body) = route(path, &self.board);
        (status, body)
    }

    fn page(&self, path: &str) -> (Vec<u64>, Option<String>) {
        let page: Value = serde_json::from_str(&self.get(path).1).unwrap();
        let blocks = page["jobs"].as_array().unwrap().iter().map(|job| job["block"].as_u64().unwrap());
        (blocks.collect(), page["next"].as_str().map(str::to_owned))
    }
}

#[test]
fn a_node_is_ready_unless_it_has_a_reason_not_to_be_and_then_it_tells_all() {
    let mut rig = rig();
    assert_eq!(rig.get("/live").0, "200 OK");
    assert_eq!(rig.get("/ready"), ("200 OK", "ready\n".into()));
    rig.funded.send_replace(false);
    rig.tips.send_replace(Some(tip(96)));
    let told = "the node is 4 blocks behind the chain\nno sending key can pay for gas\n";
    assert_eq!(rig.get("/ready"), ("503 Service Unavailable", told.into()));
    rig.tips.send_replace(None);
    assert!(rig.get("/ready").1.contains("caught up with"));
    rig.life.send_modify(|life| life.as_mut().unwrap().seats = Arc::new(|| 0));
    rig.tips.send_replace(Some(tip(99)));
    assert!(rig.get("/ready").1.contains("holds no seat"));
    rig.life.send_replace(None);
    rig.board.endpoints = Box::new(|| vec![endpoint(EndpointState::Resting)]);
    assert_eq!(rig.get("/ready").1, "no endpoint can be read from\nthe stages are being started\n");
    assert_eq!(rig.get("/live").0, "200 OK", "it is being mended");
}

#[test]
fn every_stage_has_metrics_with_chain_and_model() {
    let rig = rig();
    rig.ask(90..94);
    let sender = Address::repeat_byte(2);
    let attempt = |max_fee| Attempt { hash: B256::ZERO, raw: vec![1].into(), gas: 1, max_fee, tip: 1, at: 92 };
    let slot = TrackedTransaction {
        sender,
        nonce: 0,
        purpose: Purpose::Answer { items: vec![AnswerRef { id: task(90).id, block: task(90).block.hash }] },
        attempts: vec![attempt(10), attempt(12)],
        mined: None,
    };
    let sent = Transition::Sent { block: task(90).block.hash, sender, nonce: 0, hash: B256::ZERO };
    let entry = Entry { hour: 1, model: MODEL, spent: 70, earned: 100, answers: 1 };
    let moves = vec![(task(90).id, sent), (task(91).id, Transition::Skipped(Skip::NoSeat))];
    let batch = Batch { moves, transactions: vec![slot], booked: vec![entry], ..Batch::default() };
    rig.bench.node.journal.commit(&batch).unwrap();
    rig.board.metrics.ran(MODEL, "cpu", Duration::from_millis(2), Duration::from_millis(1));
    rig.board.metrics.did_not_run(MODEL, "timeout");
    rig.board.metrics.rewound(3);
    rig.board.metrics.attested.add();
    let text = rig.get("/metrics").1;
    let chain = "chain=\"31337\"";
    for line in [
        format!("oraculum_jobs{{{chain},state=\"seen\"}} 2.0"),
        format!("oraculum_queue_jobs{{{chain},model=\"{MODEL}\"}} 2.0"),
        format!("oraculum_job_events_total{{{chain},model=\"{MODEL}\",event=\"skipped\",reason=\"no_seat\"}} 1"),
        format!("oraculum_job_events_total{{{chain},model=\"{MODEL}\",event=\"seen\",reason=\"\"}} 4"),
        format!("oraculum_oldest_job_blocks{{{chain},state=\"seen\"}} 7.0"),
        format!("oraculum_run_seconds_count{{{chain},model=\"{MODEL}\",provider=\"cpu\"}} 1"),
        format!("oraculum_run_errors_total{{{chain},model=\"{MODEL}\",error=\"timeout\"}} 1"),
        format!("oraculum_reorg_blocks_sum{{{chain}}} 3.0"),
        format!("oraculum_attested_total{{{chain}}} 1"),
        format!("oraculum_height{{{chain},block=\"final\"}} 96.0"),
        format!("oraculum_ready{{{chain}}} 1"),
        format!("oraculum_transactions{{{chain},sender=\"{sender}\",state=\"pending\"}} 1.0"),
        format!("oraculum_attempts{{{chain},sender=\"{sender}\"}} 2.0"),
        format!("oraculum_fee_cap_wei{{{chain},sender=\"{sender}\"}} 12.0"),
        format!("oraculum_oldest_transaction_blocks{{{chain},sender=\"{sender}\"}} 7.0"),
        format!("oraculum_spent_wei_24h{{{chain},model=\"{MODEL}\"}} 70.0"),
        format!("oraculum_earned_wei_24h{{{chain},model=\"{MODEL}\"}} 100.0"),
        format!("oraculum_endpoint_ready{{{chain},endpoint=\"http://localhost/…\",index=\"1\",state=\"resting\"}} 0.0"),
        format!(
            "oraculum_endpoint_errors_total{{{chain},endpoint=\"http://localhost/…\",index=\"0\",error=\"timeout\"}} 2"
        ),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn jobs_come_in_pages_newest_first_by_state_and_model() {
    let rig = rig();
    rig.ask(0..250);
    let moves = (0..250).step_by(2).map(|nonce| (task(nonce).id, Transition::Skipped(Skip::NoSeat))).collect();
    rig.bench.node.journal.commit(&Batch { moves, ..Batch::default() }).unwrap();
    let (first, next) = rig.page("/jobs");
    assert_eq!((first.len(), first[0], first[99]), (100, 249, 150));
    let (second, next) = rig.page(&format!("/jobs?after={}", next.unwrap()));
    assert_eq!((second[0], second[99]), (149, 50));
    let (third, next) = rig.page(&format!("/jobs?limit=1000&after={}", next.unwrap()));
    assert_eq!((third.len(), next), (50, None));
    let (skipped, _) = rig.page("/jobs?state=skipped&limit=3");
    assert_eq!(skipped, [248, 246, 244]);
    let body: Value = serde_json::from_str(&rig.get("/jobs?state=skipped&limit=1").1).unwrap();
    assert_eq!(body["jobs"][0]["reason"], "no seat of ours may answer it");
    assert_eq!(rig.page(&format!("/jobs?model={MODEL}&limit=1000")).0.len(), 250);
    assert!(rig.page(&format!("/jobs?model={}", B256::ZERO)).0.is_empty());
    assert_eq!(rig.get("/jobs?state=lost").0, "400 Bad Request");
    assert_eq!(rig.get("/jobs?order=up").0, "400 Bad Request");
    assert_eq!(rig.get(&format!("/jobs/{}", B256::ZERO)).0, "404 Not Found");
}

#[test]
fn a_filter_survives_its_query() {
    let after = jobs::position(&format!("7-{MODEL}"));
    let filter = Filter { state: Some(View::Failed), model: Some(MODEL), after, limit: 7 };
    assert!(filter.after.is_some());
    assert_eq!(Filter::from_query(&filter.to_query()), Ok(filter));
}

#[tokio::test]
async fn a_command_reads_a_running_node_by_the_file_in_its_folder() {
    let rig = rig();
    rig.ask(0..3);
    let folder = tempfile::tempdir().unwrap();
    let address = "0.0.0.0:0".parse().unwrap();
    let status = serve(address, folder.path(), rig.board).await.unwrap();
    let (code, page) = ask(folder.path(), "/jobs?limit=2").await.unwrap().unwrap();
    assert_eq!((code, page["jobs"].as_array().unwrap().len()), (200, 2));
    drop(status);
    assert!(ask(folder.path(), "/jobs").await.unwrap().is_none());
}
