use alloy::primitives::{Address, Bytes, U256};
use axum::body::{self, Body};
use hyper::service::Service;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
};

use super::*;
use crate::{
    api::{
        JournalReader, ReaderError,
        types::{JobState, PageCursor, Readiness},
    },
    chain::{EndpointHealth, EndpointState, Header},
    conditions::Obstacle,
    domain::{AnswerRef, Attempt, ChainHead, Entry, Purpose, Skip, TrackedTransaction, Transition},
    domain::{Wait, WaitReason},
    journal::Batch,
    metrics::Metrics,
    testing::{Bench, MODEL, block, input, task},
};

struct Fixture {
    bench: Bench,
    endpoints: watch::Sender<Vec<EndpointHealth>>,
    pipeline: watch::Sender<Option<PipelineHandles>>,
    heads: watch::Sender<Option<ChainHead>>,
    funded: watch::Sender<bool>,
    metrics: Arc<Metrics>,
    router: Router,
}

fn endpoint(state: EndpointState) -> EndpointHealth {
    let (head, latency) = (Some(100), Some(Duration::from_millis(3)));
    let errors = std::collections::BTreeMap::from([("timeout", 2)]);
    EndpointHealth {
        endpoint: "http://localhost/…".into(),
        state,
        head,
        behind_by: 0,
        latency,
        calls: 9,
        connections: 3,
        errors,
    }
}

fn head(number: u64) -> ChainHead {
    let header =
        Header { block: block(number), parent: B256::ZERO, timestamp: 7_200, base_fee: 5, bloom: Default::default() };
    ChainHead { header, reorg_epoch: 0, final_block: Some(number - 3) }
}

impl Fixture {
    /// A node that is ready at block 99.
    fn new() -> Self {
        let bench = Bench::new();
        let (heads, heads_seen) = watch::channel(Some(head(99)));
        let (funded, funded_seen) = watch::channel(true);
        let conditions = bench.node.conditions.clone();
        let handles = PipelineHandles { heads: heads_seen, funded: funded_seen, conditions, seats: Arc::new(|| 1) };
        let (pipeline, pipeline_seen) = watch::channel(Some(handles));
        let ready = vec![endpoint(EndpointState::Ready), endpoint(EndpointState::Resting)];
        let (endpoints, endpoints_seen) = watch::channel(ready);
        let metrics = Arc::<Metrics>::default();
        let status = NodeStatus {
            chain_id: 31_337,
            journal: bench.node.journal.clone(),
            metrics: metrics.clone(),
            endpoints: Box::new(move || endpoints_seen.borrow().clone()),
            pipeline: pipeline_seen,
        };
        Self { bench, endpoints, pipeline, heads, funded, metrics, router: router(Arc::new(status)) }
    }

    fn ask(&self, nonces: std::ops::Range<u64>) {
        let seen = nonces.map(|nonce| (task(nonce), input(nonce).into())).collect();
        self.bench.node.journal.commit(&Batch { seen, ..Batch::default() }).unwrap();
    }

    async fn send(&self, request: axum::http::request::Builder) -> (u16, String) {
        let request = request.body(Body::empty()).unwrap();
        let response = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.send(Request::get(path)).await
    }

    async fn page(&self, path: &str) -> (Vec<u64>, Option<PageCursor>) {
        let page: JobsPage = serde_json::from_str(&self.get(path).await.1).unwrap();
        (page.jobs.iter().map(|job| job.block).collect(), page.next)
    }
}

#[tokio::test]
async fn a_node_is_ready_unless_it_has_a_reason_not_to_be_and_then_it_tells_all() {
    let node = Fixture::new();
    assert_eq!(node.get("/live").await.0, 200);
    assert_eq!(node.get("/ready").await, (200, "ready\n".into()));
    node.funded.send_replace(false);
    node.heads.send_replace(Some(head(96)));
    let told = "the node is 4 blocks behind the chain\nno sending key can pay for gas\n";
    assert_eq!(node.get("/ready").await, (503, told.into()));
    node.heads.send_replace(None);
    assert!(node.get("/ready").await.1.contains("caught up with"));
    node.pipeline.send_modify(|handles| handles.as_mut().unwrap().seats = Arc::new(|| 0));
    node.heads.send_replace(Some(head(99)));
    assert!(node.get("/ready").await.1.contains("holds no seat"));
    node.pipeline.send_replace(None);
    node.endpoints.send_replace(vec![endpoint(EndpointState::Resting)]);
    assert_eq!(node.get("/ready").await.1, "no endpoint can be read from\nthe stages are being started\n");
    assert_eq!(node.get("/live").await.0, 200, "it is being mended");
}

#[tokio::test]
async fn every_stage_has_metrics_with_chain_and_model() {
    let node = Fixture::new();
    node.ask(90..94);
    let sender = Address::repeat_byte(2);
    let attempt =
        |max_fee| Attempt { hash: B256::ZERO, raw: vec![1].into(), gas: 1, max_fee, max_priority_fee: 1, at: 92 };
    let tracked = TrackedTransaction {
        sender,
        nonce: 0,
        purpose: Purpose::Answer { items: vec![AnswerRef { id: task(90).id, block: task(90).block.hash }] },
        attempts: vec![attempt(10), attempt(12)],
        mined: None,
    };
    let sent = Transition::Sent { block: task(90).block.hash, sender, nonce: 0, hash: B256::ZERO };
    let entry = Entry { hour: 1, model: MODEL, spent: 70, earned: 100, answers: 1 };
    let moves = vec![(task(90).id, sent), (task(91).id, Transition::Skipped(Skip::NoSeat))];
    let batch = Batch { moves, transactions: vec![tracked], booked: vec![entry], ..Batch::default() };
    node.bench.node.journal.commit(&batch).unwrap();
    node.metrics.ran(MODEL, "cpu", Duration::from_millis(2), Duration::from_millis(1));
    node.metrics.did_not_run(MODEL, "timeout");
    node.metrics.serves(MODEL, "cuda:0+cpu", true);
    node.metrics.rewound(3);
    node.metrics.has(sender, U256::from(5));
    node.metrics.attested.add();
    let text = node.get("/metrics").await.1;
    let chain = "chain=\"31337\"";
    for line in [
        format!("oraculum_jobs{{{chain},state=\"seen\"}} 2.0"),
        format!("oraculum_queue_jobs{{{chain},model=\"{MODEL}\"}} 2.0"),
        format!("oraculum_job_events_total{{{chain},model=\"{MODEL}\",event=\"skipped\",reason=\"no_seat\"}} 1"),
        format!("oraculum_job_events_total{{{chain},model=\"{MODEL}\",event=\"seen\",reason=\"\"}} 4"),
        format!("oraculum_oldest_job_blocks{{{chain},state=\"seen\"}} 7.0"),
        format!("oraculum_run_seconds_count{{{chain},model=\"{MODEL}\",provider=\"cpu\"}} 1"),
        format!("oraculum_run_errors_total{{{chain},model=\"{MODEL}\",error=\"timeout\"}} 1"),
        format!("oraculum_model_elsewhere{{{chain},model=\"{MODEL}\",provider=\"cuda:0+cpu\"}} 1"),
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
    // A metric whose name ends in a unit declares it.
    let mut units = 0;
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        // `oraculum_blocks` counts blocks; it measures nothing in them.
        let measured = name.strip_prefix("oraculum_").unwrap_or(name);
        for unit in ["seconds", "blocks", "wei"].into_iter().filter(|unit| measured.ends_with(&format!("_{unit}"))) {
            assert!(text.contains(&format!("# UNIT {name} {unit}\n")), "{name} has no unit in\n{text}");
            units += 1;
        }
    }
    assert_eq!(units, 10);
}

#[tokio::test]
async fn jobs_come_in_pages_newest_first_by_state_and_model() {
    let node = Fixture::new();
    node.ask(0..250);
    let moves = (0..250).step_by(2).map(|nonce| (task(nonce).id, Transition::Skipped(Skip::NoSeat))).collect();
    node.bench.node.journal.commit(&Batch { moves, ..Batch::default() }).unwrap();
    let (first, next) = node.page("/jobs").await;
    assert_eq!((first.len(), first[0], first[99]), (100, 249, 150));
    let (second, next) = node.page(&format!("/jobs?after={}", next.unwrap())).await;
    assert_eq!((second[0], second[99]), (149, 50));
    let (third, next) = node.page(&format!("/jobs?limit=1000&after={}", next.unwrap())).await;
    assert_eq!((third.len(), next), (50, None));
    let (skipped, _) = node.page("/jobs?state=skipped&limit=3").await;
    assert_eq!(skipped, [248, 246, 244]);
    let body: Value = serde_json::from_str(&node.get("/jobs?state=skipped&limit=1").await.1).unwrap();
    assert_eq!(body["jobs"][0]["reason"], "no seat of ours may answer it");
    assert_eq!(node.page(&format!("/jobs?model={MODEL}&limit=1000")).await.0.len(), 250);
    assert!(node.page(&format!("/jobs?model={}", B256::ZERO)).await.0.is_empty());
    assert_eq!(node.get("/jobs?state=lost").await.0, 400);
    assert_eq!(node.get("/jobs?order=up").await.0, 400);
    assert_eq!(node.get(&format!("/jobs/{}", B256::ZERO)).await.0, 404);
}

#[tokio::test]
async fn a_job_is_told_with_its_transaction_and_its_pay() {
    let node = Fixture::new();
    node.ask(7..8);
    let (id, sender) = (task(7).id, Address::repeat_byte(2));
    let attempt = Attempt { hash: MODEL, raw: vec![1].into(), gas: 30_000, max_fee: 1, max_priority_fee: 1, at: 92 };
    let tracked = TrackedTransaction {
        sender,
        nonce: 4,
        purpose: Purpose::Answer { items: vec![AnswerRef { id, block: task(7).block.hash }] },
        attempts: vec![attempt],
        mined: None,
    };
    let sent = Transition::Sent { block: task(7).block.hash, sender, nonce: 4, hash: MODEL };
    let batch = Batch { moves: vec![(id, sent)], transactions: vec![tracked], ..Batch::default() };
    node.bench.node.journal.commit(&batch).unwrap();
    let (code, body) = node.get(&format!("/jobs/{id}")).await;
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, &told["state"], &told["job"]["state"]), (200, &"sent".into(), &"sent".into()));
    let ours = json!({ "sender": sender, "nonce": 4, "gas": 30_000, "hashes": [MODEL], "mined": null });
    assert_eq!((&told["transaction"], told.get("claim")), (&ours, None));
    let read: JobDetails = serde_json::from_str(&body).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), told, "both sides have the same types");
}

#[tokio::test]
async fn errors_are_json_with_a_status() {
    let node = Fixture::new();
    let unknown = format!("/jobs/{}", B256::ZERO);
    for (path, code, words) in [
        ("/nothing", 404, "not found"),
        ("/jobs/7", 404, "not found"),
        (unknown.as_str(), 404, "the journal knows no request 0x00"),
        ("/jobs?order=up", 400, "order"),
        ("/jobs?after=7", 400, "`7` is not the `next` of a page"),
    ] {
        let (found, body) = node.get(path).await;
        let ErrorBody { error } = serde_json::from_str(&body).unwrap();
        assert!(found == code && error.contains(words), "{path}: {found} {error}");
    }
    assert_eq!(node.send(Request::post("/jobs")).await, (405, r#"{"error":"only GET is served"}"#.into()));
    let long = node.send(Request::get("/live").header("x-long", "x".repeat(MAX_HEAD))).await;
    assert!(long.0 == 431 && long.1.contains("more than 4096 bytes"), "{long:?}");
}

#[tokio::test]
async fn the_metrics_read_no_signed_bytes() {
    let node = Fixture::new();
    node.ask(90..91);
    let sender = Address::repeat_byte(2);
    // Where there are no signed bytes, reading them is an error.
    let attempt = Attempt { hash: B256::ZERO, raw: Bytes::new(), gas: 1, max_fee: 10, max_priority_fee: 1, at: 92 };
    let purpose = Purpose::Answer { items: vec![AnswerRef { id: task(90).id, block: task(90).block.hash }] };
    let tracked = TrackedTransaction { sender, nonce: 0, purpose, attempts: vec![attempt], mined: None };
    node.bench.node.journal.commit(&Batch { transactions: vec![tracked], ..Batch::default() }).unwrap();
    assert!(node.bench.node.journal.transactions().is_err());
    let (code, text) = node.get("/metrics").await;
    assert!(code == 200 && text.contains("oraculum_transactions{"), "{text}");
    assert_eq!(node.get(&format!("/jobs/{}", task(90).id)).await.0, 200);
}

#[tokio::test]
async fn readiness_is_json_to_whoever_accepts_that() {
    let node = Fixture::new();
    node.funded.send_replace(false);
    let (code, body) = node.send(Request::get("/ready").header(header::ACCEPT, "application/json")).await;
    let readiness: Readiness = serde_json::from_str(&body).unwrap();
    assert_eq!((code, readiness.ready, readiness.reasons), (503, false, vec!["no sending key can pay for gas".into()]));
}

#[tokio::test]
async fn a_command_reads_a_running_node_by_the_file_in_its_folder_and_a_stopped_ones_journal() {
    let node = Fixture::new();
    node.ask(0..3);
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    std::fs::write(folder.path().join(ADDRESS_FILE), listener.local_addr().unwrap().to_string()).unwrap();
    let task_of_service = tokio::spawn(accept(listener, node.router.clone()));
    let reader = JournalReader::open(folder.path()).await.unwrap();
    assert!(matches!(reader, JournalReader::Running(_)));
    let page = reader.jobs(&JobsQuery { limit: 2, ..JobsQuery::default() }).await.unwrap();
    assert_eq!((page.jobs.len(), page.jobs[0].block), (2, 2));
    let next = JobsQuery { after: page.next, model: Some(MODEL), state: Some(JobState::Seen), limit: 2 };
    assert_eq!(reader.jobs(&next).await.unwrap().jobs[0].block, 0);
    assert_eq!(reader.job(task(1).id).await.unwrap().unwrap().summary.id, task(1).id);
    assert!(reader.job(B256::ZERO).await.unwrap().is_none());
    assert!(reader.ledger().await.unwrap().is_empty());
    let JournalReader::Running(running) = reader else { return };
    assert!(running.readiness().await.unwrap().ready);

    // It was killed, and left the file behind.
    task_of_service.abort();
    let _ = task_of_service.await;
    let stopped = JournalReader::open(folder.path()).await;
    assert!(matches!(stopped, Err(ReaderError::Journal(JournalError::Missing(_)))), "{stopped:?}");
}

#[tokio::test]
async fn the_service_writes_its_address_and_takes_it_back() {
    let Fixture { bench, metrics, .. } = Fixture::new();
    let status = NodeStatus {
        chain_id: 1,
        journal: bench.node.journal.clone(),
        metrics,
        endpoints: Box::new(Vec::new),
        pipeline: watch::channel(None).1,
    };
    let folder = tempfile::tempdir().unwrap();
    let service = serve("0.0.0.0:0".parse().unwrap(), folder.path(), status).await.unwrap();
    let address = std::fs::read_to_string(folder.path().join(ADDRESS_FILE)).unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    // The connection ends by itself.
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("live\n"), "{reply}");
    drop(service);
    assert!(!folder.path().join(ADDRESS_FILE).exists());
}

#[tokio::test]
async fn an_exchange_that_takes_too_long_ends() {
    let node = Fixture::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = tokio::spawn(accept(listener, node.router.clone()));
    // All exchanges are taken by clients that say nothing; another one waits until they are sent away.
    let mut silent = Vec::new();
    for _ in 0..MAX_EXCHANGES {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.ends_with("live\n"), "{reply}");
    service.abort();
}

/// F13: requests waited for hours, and nothing said what for.
#[tokio::test]
async fn a_request_that_waits_is_shown_with_its_reason_its_price_and_the_next_look() {
    let node = Fixture::new();
    node.ask(1..3);
    let (id, other) = (task(1).id, task(2).id);
    let conditions = &node.bench.node.conditions;
    conditions.waits(id, Wait { reason: WaitReason::CheaperGas, price: Some((7, 1 << 70)), next_look: 100 });
    conditions.waits(other, Wait { reason: WaitReason::Turn, price: None, next_look: 104 });
    let job: serde_json::Value = serde_json::from_str(&node.get(&format!("/jobs/{id}")).await.1).unwrap();
    let reason = "its pay does not cover the answer at the present price of gas";
    let price = serde_json::json!({ "paysWei": "7", "asksWei": "1180591620717411303424" });
    assert_eq!(job["waiting"], serde_json::json!({ "reason": reason, "price": price, "nextLook": 100 }));
    let page: JobsPage = serde_json::from_str(&node.get("/jobs").await.1).unwrap();
    let waits: Vec<_> = page.jobs.iter().map(|job| job.waiting.as_ref().unwrap().next_look).collect();
    assert_eq!(waits, [104, 100]);
    assert!(node.get("/metrics").await.1.contains(r#"oraculum_waiting_jobs{chain="31337",reason="turn"} 1.0"#));
    conditions.goes_on(id);
    let job: serde_json::Value = serde_json::from_str(&node.get(&format!("/jobs/{id}")).await.1).unwrap();
    assert_eq!(job.get("waiting"), None);
}

#[tokio::test]
async fn what_keeps_the_node_from_answering_is_a_reason_against_its_being_ready() {
    let node = Fixture::new();
    node.bench.node.conditions.hinder(Obstacle::Broadcast, "busy");
    assert_eq!(node.get("/ready").await, (503, "no endpoint takes a transaction: busy\n".into()));
    node.bench.node.conditions.clear(Obstacle::Broadcast);
    assert_eq!(node.get("/ready").await.0, 200);
}
