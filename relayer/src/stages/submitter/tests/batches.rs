use alloy::sol_types::SolCall;

use super::*;
use crate::{
    chain::At,
    coordinator::abi::InferenceCoordinator::{fulfillBatchCall, fulfillCall},
    domain::WaitReason,
    node::Eligibility,
};

impl Rig {
    /// Before an endpoint that tries calls in the next block.
    async fn looking_ahead() -> Self {
        let bench = Bench::new();
        bench.node.chain.look_ahead();
        let rig = Self::start(bench);
        tokio::time::sleep(Duration::from_millis(10)).await;
        rig
    }

    /// Requests in one block, seen and not yet answered.
    fn ask(&self, count: u64) -> Vec<Task> {
        let header = self.chain().mine(Vec::new());
        let tasks: Vec<Task> = (0..count)
            .map(|nonce| {
                let request = request(nonce, header.block.number);
                Task { id: id(&request), request, block: header.block }
            })
            .collect();
        let seen = tasks.iter().map(|task| (task.clone(), input(task.request.nonce).into())).collect();
        self.journal().commit(&Batch { seen, ..Batch::default() }).unwrap();
        self.tell(0);
        tasks
    }

    fn attested(&self, task: &Task) -> Attested {
        let executed = Seen { task: task.clone() }.executed(Outcome::Ok, Bytes::from_static(b"output"), 0);
        let signature = executed.statement().sign(DOMAIN, &self.bench.signer).unwrap();
        executed.attested(signature)
    }

    /// Signed answers that come at once.
    fn hand_all(&self, tasks: &[Task]) {
        for task in tasks {
            self.answers.try_send(self.attested(task)).unwrap();
        }
    }

    /// Has simulations refuse everything but the answers to some tasks.
    fn refuse_all_but(&self, good: &[Task], refusal: ChainError) {
        for task in good {
            let Eligibility::Now(assignment) = self.bench.node.eligibility(task, task.block.number + 1, 0) else {
                panic!()
            };
            self.chain().view(coordinator::fulfill(&self.attested(task), &assignment).to_vec(), Vec::new());
        }
        self.chain().refuse(Some(refusal));
    }
}

/// How many answers each transaction carries.
fn sizes(sent: &[TxEnvelope]) -> Vec<usize> {
    let size = |one: &TxEnvelope| match fulfillBatchCall::abi_decode(one.input()) {
        Ok(batch) => batch.fulfillments.len(),
        Err(_) => fulfillCall::abi_decode(one.input()).map(|_| 1).unwrap(),
    };
    sent.iter().map(size).collect()
}

#[tokio::test]
async fn answers_that_are_ready_together_go_out_in_one_transaction() {
    let rig = Rig::start(Bench::new());
    tokio::time::sleep(Duration::from_millis(10)).await;
    let tasks = rig.ask(10);
    rig.hand_all(&tasks);
    rig.until(|rig| tasks.iter().all(|task| rig.state(task) == "sent")).await;
    assert_eq!(sizes(&rig.chain().sent()), [10]);
    assert!(rig.chain().sent()[0].gas_limit() < 10 * 130_000, "{}", rig.chain().sent()[0].gas_limit());
}

#[tokio::test]
async fn a_batch_has_at_most_as_many_answers_as_the_policy_allows() {
    let rig = Rig::start(Bench::new());
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.bench.policy.send_modify(|policy| policy.max_batch = 4);
    let tasks = rig.ask(10);
    rig.hand_all(&tasks);
    rig.until(|rig| tasks.iter().all(|task| rig.state(task) == "sent")).await;
    let mut sizes = sizes(&rig.chain().sent());
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 4, 4]);
}

#[tokio::test]
async fn an_answer_that_comes_alone_is_sent_as_one_and_at_once() {
    let rig = Rig::start(Bench::new());
    rig.answer(0).await;
    let sent = rig.sent(1).await;
    assert!(fulfillCall::abi_decode(sent[0].input()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn with_a_batch_wait_answers_wait_for_others_and_no_longer() {
    let rig = Rig::start(Bench::new());
    rig.bench.policy.send_modify(|policy| policy.batch_wait = Duration::from_millis(400));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let tasks = rig.ask(2);
    rig.hand_all(&tasks[..1]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(rig.chain().sent().is_empty());
    rig.hand_all(&tasks[1..]);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(sizes(&rig.chain().sent()), [2]);
}

#[tokio::test]
async fn a_bad_item_is_found_before_it_costs_a_batch() {
    let rig = Rig::start(Bench::new());
    tokio::time::sleep(Duration::from_millis(10)).await;
    let tasks = rig.ask(4);
    let good = [tasks[0].clone(), tasks[2].clone(), tasks[3].clone()];
    rig.refuse_all_but(&good, ChainError::Reverted(Bytes::from_static(&[1, 2, 3, 4])));
    rig.hand_all(&tasks);
    rig.until(|rig| good.iter().all(|task| rig.state(task) == "sent")).await;
    assert_eq!(sizes(&rig.chain().sent()), [3]);
    assert_eq!(rig.state(&tasks[1]), "failed");
}

#[tokio::test]
async fn an_endpoint_without_the_probe_tells_good_from_bad_by_halves() {
    let rig = Rig::start(Bench::new());
    tokio::time::sleep(Duration::from_millis(10)).await;
    let tasks = rig.ask(5);
    rig.chain().refuse_probes();
    rig.refuse_all_but(&tasks[..4], ChainError::Reverted(Bytes::from_static(&[1, 2, 3, 4])));
    rig.hand_all(&tasks);
    rig.until(|rig| tasks[..4].iter().all(|task| rig.state(task) == "sent")).await;
    rig.until(|rig| rig.state(&tasks[4]) == "failed").await;
    assert_eq!(sizes(&rig.chain().sent()), [1, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pay_now_is_given_back_and_what_never_would_is_skipped_with_the_reason() {
    let rig = Rig::start(Bench::new());
    // A request pays 1,000 wei; gas is some 115,000 units at 1,100 wei now, and at 100 on a quiet chain.
    rig.bench.policy.send_modify(|policy| policy.terms.margin_percent = 0);
    let never = rig.answer(0).await;
    rig.until(|rig| rig.state(&never) == "skipped").await;
    let Some(Job::Closed(closed)) = rig.journal().job(never.id).unwrap() else { panic!() };
    let crate::domain::CloseReason::Skipped { reason: crate::domain::Skip::Unprofitable { pays, asks } } = closed.end
    else {
        panic!()
    };
    assert_eq!((pays, asks), (1_000, (115_000 + 40 * 6) * 100));

    rig.bench.policy.send_modify(|policy| policy.terms.margin_percent = -100);
    rig.bench.policy.send_modify(|policy| policy.terms.min_pay = 0);
    rig.bench.policy.send_modify(|policy| {
        // Worth it at the least priority fee of 0, not at the present price.
        policy.fees.min_priority_fee = 0;
        policy.terms.margin_percent = 50;
    });
    let above_fee_cap = rig.answer(1).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(rig.state(&above_fee_cap), "seen");
    let wait = rig.bench.node.conditions.wait(above_fee_cap.id);
    assert_eq!(wait.map(|wait| wait.reason), Some(WaitReason::CheaperGas));
    assert!(rig.chain().sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_gas_is_dearer_than_the_cap_nothing_is_tried_and_then_all_is_sent() {
    let rig = Rig::start(Bench::new());
    rig.chain().set_base_fee(2_000_000);
    rig.chain().mine(Vec::new());
    rig.tell(0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = rig.chain().called_at().len();
    let tasks = [rig.answer(0).await, rig.answer(1).await];
    rig.claims.send(vec![claim(&tasks[0], 0)]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.chain().called_at().len(), before);
    let wait = |rig: &Rig| rig.bench.node.conditions.wait(tasks[0].id);
    let next = rig.chain().head().await.unwrap().block.number + 1;
    assert_eq!(wait(&rig).map(|wait| (wait.reason, wait.next_look)), Some((WaitReason::FeeCap, next)));
    rig.chain().set_base_fee(1_000);
    rig.chain().mine(Vec::new());
    rig.tell(0);
    rig.until(|rig| tasks.iter().all(|task| rig.state(task) == "sent")).await;
    assert_eq!(wait(&rig), None);
    let claimed = coordinator::claim(&[claim(&tasks[0], 0)]);
    rig.until(|rig| rig.chain().sent().iter().any(|transaction| *transaction.input() == claimed)).await;
}

#[tokio::test]
async fn answers_are_tried_on_the_pool_unless_it_is_full_of_ours_and_nobody_else_may_answer() {
    let rig = Rig::start(Bench::new());
    rig.alone();
    let states = |rig: &Rig| rig.chain().called_at();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let before = states(&rig).len();
    let tasks = rig.ask(6);
    rig.hand_all(&tasks);
    rig.until(|rig| tasks.iter().all(|task| rig.state(task) == "sent")).await;
    assert!(
        states(&rig)[before..].iter().all(|at| *at == (At::Pending, None)),
        "their block is the latest: its hash is unknown"
    );
    // An older request, while six are in flight.
    let header = rig.chain().mine(Vec::new());
    let request = request(6, header.block.number);
    let task = Task { id: id(&request), request, block: header.block };
    let seen = vec![(task.clone(), input(6).into())];
    rig.journal().commit(&Batch { seen, ..Batch::default() }).unwrap();
    rig.chain().mine(Vec::new());
    rig.tell(0);
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.hand_all(std::slice::from_ref(&task));
    rig.until(|rig| rig.state(&task) == "sent").await;
    assert_eq!(states(&rig).last(), Some(&(At::Latest, None)));
}

#[tokio::test]
async fn answers_that_nobody_else_may_give_are_tried_in_the_next_block_where_the_endpoint_can() {
    let rig = Rig::looking_ahead().await;
    let before = rig.chain().called_at().len();
    let tasks = rig.ask(6);
    rig.hand_all(&tasks);
    rig.until(|rig| tasks.iter().all(|task| rig.state(task) == "sent")).await;
    let next = tasks[0].block.number + 1;
    assert!(rig.chain().called_at()[before..].iter().all(|at| *at == (At::Latest, Some(next))));
}

#[tokio::test]
async fn what_is_refused_in_the_next_block_is_tried_on_the_pool_before_that_is_believed() {
    let rig = Rig::looking_ahead().await;
    let tasks = rig.ask(2);
    let before = rig.chain().called_at().len();
    rig.refuse_all_but(&[], ChainError::Reverted(Bytes::from_static(&[1, 2, 3, 4])));
    rig.hand_all(&tasks);
    rig.until(|rig| tasks.iter().all(|task| rig.state(task) == "failed")).await;
    let states = rig.chain().called_at()[before..].to_vec();
    let [ahead, pool] = [(At::Latest, Some(tasks[0].block.number + 1)), (At::Pending, None)];
    assert_eq!((states.first(), states.last()), (Some(&ahead), Some(&pool)));
    assert!(rig.chain().sent().is_empty());
}

#[tokio::test]
async fn an_endpoint_that_has_no_calls_in_the_next_block_is_not_asked_for_them_again() {
    let rig = Rig::looking_ahead().await;
    rig.chain().refuse(Some(ChainError::Other { code: -32602, message: "too many arguments".into() }));
    rig.alone();
    let task = rig.answer(0).await;
    rig.until(|rig| rig.chain().called_at().last().is_some_and(|at| *at == (At::Pending, None))).await;
    rig.chain().refuse(None);
    rig.tell(0);
    rig.until(|rig| rig.state(&task) == "sent").await;
    assert_eq!(rig.chain().called_at().last(), Some(&(At::Pending, None)));
}
