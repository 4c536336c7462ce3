use alloy::{
    consensus::{Transaction, TxEnvelope},
    primitives::U256,
};

use super::*;
use crate::{
    coordinator,
    domain::{Resolution, Seen, Task},
    journal::SledJournal,
    protocol::Outcome,
    testing::{Bench, DOMAIN, chain::FakeChain, id, input, request},
};

mod batches;
mod simulations;

/// A submitter whose answers and heads are given by hand.
struct Rig {
    bench: Bench,
    answers: mpsc::Sender<Attested>,
    claims: mpsc::Sender<Vec<Claim>>,
    heads: watch::Sender<Option<ChainHead>>,
    funded: watch::Receiver<bool>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), StageError>>,
}

impl Rig {
    fn start(bench: Bench) -> Self {
        let (answers, answers_in) = mpsc::channel(100);
        let (claims, claims_in) = mpsc::channel(4);
        let (heads, heads_in) = watch::channel(None);
        let (funded, funded_in) = watch::channel(true);
        let ports = SubmitPorts { answers: answers_in, claims: claims_in, heads: heads_in, funded };
        let submitter = Submitter::new(bench.node.clone(), vec![Arc::new(bench.signer.clone())], ports).unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(submitter.run(stop.clone()));
        let rig = Self { bench, answers, claims, heads, funded: funded_in, stop, running };
        rig.tell(0);
        rig
    }

    /// Lets no answers share a transaction.
    fn alone(&self) {
        self.bench.policy.send_modify(|policy| policy.max_batch = 1);
    }

    fn chain(&self) -> &FakeChain {
        &self.bench.node.chain
    }

    fn journal(&self) -> &SledJournal {
        &self.bench.node.journal
    }

    /// Tells the submitter the head.
    fn tell(&self, reorg_epoch: u64) {
        let header = futures::executor::block_on(self.chain().head()).unwrap();
        self.heads.send_replace(Some(ChainHead {
            header,
            reorg_epoch,
            final_block: header.block.number.checked_sub(2),
        }));
    }

    /// Journals a request in a new block, and hands its signed answer to the submitter.
    async fn answer(&self, nonce: u64) -> Task {
        let header = self.chain().mine(Vec::new());
        let request = request(nonce, header.block.number);
        let task = Task { id: id(&request), request, block: header.block };
        let seen = vec![(task.clone(), input(nonce).into())];
        self.journal().commit(&Batch { seen, ..Batch::default() }).unwrap();
        self.tell(0);
        self.hand(&task).await;
        task
    }

    async fn hand(&self, task: &Task) {
        let executed = Seen { task: task.clone() }.executed(Outcome::Ok, Bytes::from_static(b"output"), 0);
        let signature = executed.statement().sign(DOMAIN, &self.bench.signer).unwrap();
        self.answers.send(executed.attested(signature)).await.unwrap();
    }

    /// Waits, in the test's paused time, until something holds.
    async fn until(&self, what: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if what(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never came to pass; sent: {:?}", self.chain().sent());
    }

    async fn sent(&self, count: usize) -> Vec<TxEnvelope> {
        self.until(|rig| rig.chain().sent().len() >= count).await;
        self.chain().sent()
    }

    fn state(&self, task: &Task) -> &'static str {
        self.journal().job(task.id).unwrap().map_or("none", |job| job.name())
    }

    async fn restart(self) -> Self {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        Self::start(self.bench)
    }
}

#[tokio::test]
async fn answers_are_journalled_signed_and_sent_with_nonces_in_a_row() {
    let rig = Rig::start(Bench::new());
    rig.alone();
    let tasks = [rig.answer(0).await, rig.answer(1).await, rig.answer(2).await];
    let mut sent = rig.sent(3).await;
    sent.sort_by_key(Transaction::nonce);
    let tracked = rig.journal().transactions().unwrap();
    for (nonce, transaction) in sent.iter().enumerate() {
        assert_eq!(transaction.nonce(), nonce as u64);
        assert_eq!(transaction.to(), Some(DOMAIN.coordinator));
        assert_eq!(tracked[nonce].attempts[0].hash, *transaction.tx_hash());
        assert_eq!(transaction.max_fee_per_gas(), 2 * 1_000 + 100);
    }
    assert!(tasks.iter().all(|task| rig.state(task) == "sent"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_signed_for_a_seat_that_answers_no_more_is_given_up() {
    let rig = Rig::start(Bench::new());
    rig.alone();
    let header = rig.chain().mine(Vec::new());
    let request = request(0, header.block.number);
    let task = Task { id: id(&request), request, block: header.block };
    let seen = vec![(task.clone(), input(0).into())];
    rig.journal().commit(&Batch { seen, ..Batch::default() }).unwrap();
    rig.tell(0);
    // The key's seat is 0, and the answer is signed for another.
    let executed = Seen { task: task.clone() }.executed(Outcome::Ok, Bytes::from_static(b"output"), 1);
    let signature = executed.statement().sign(DOMAIN, &rig.bench.signer).unwrap();
    let answer = executed.attested(signature);
    let in_hand = answer.lease.watch();
    rig.answers.send(answer).await.unwrap();
    rig.until(|_| in_hand.strong_count() == 0).await;
    assert!(rig.chain().sent().is_empty());
    assert_eq!(rig.state(&task), "seen", "the executor has it signed for the seat that may answer");
}

#[tokio::test]
async fn what_the_simulation_refuses_is_not_sent() {
    let rig = Rig::start(Bench::new());
    let selector = alloy::primitives::keccak256("NotOpen(bytes32)")[..4].to_vec();
    let refusal = [selector, vec![0; 32]].concat();
    rig.chain().refuse(Some(ChainError::Reverted(refusal.into())));
    let task = rig.answer(0).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(rig.chain().sent().is_empty());
    assert_eq!(rig.state(&task), "seen", "it stays open until the chain says who answered");
    rig.chain().refuse(None);
    rig.tell(0);
    rig.sent(1).await;
}

#[tokio::test]
async fn an_error_of_ours_fails_the_job_and_sends_nothing() {
    let rig = Rig::start(Bench::new());
    rig.chain().refuse(Some(ChainError::Reverted(Bytes::from_static(&[1, 2, 3, 4]))));
    let task = rig.answer(0).await;
    rig.until(|rig| rig.state(&task) == "failed").await;
    assert!(rig.chain().sent().is_empty());
}

#[tokio::test]
async fn a_restart_sends_the_same_bytes_again_and_nothing_else() {
    let rig = Rig::start(Bench::new());
    let task = rig.answer(0).await;
    rig.sent(1).await;
    let rig = rig.restart().await;
    rig.sent(2).await;
    // The pipeline offers the job again only if the journal says that it is open, and it does not.
    rig.hand(&task).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.chain().distinct().len(), 1);
}

#[tokio::test]
async fn a_mined_transaction_is_final_at_the_depth() {
    let rig = Rig::start(Bench::new());
    rig.answer(0).await;
    let sent = rig.sent(1).await;
    rig.chain().mine_transaction(&sent[0], true);
    rig.tell(0);
    rig.until(|rig| rig.journal().transactions().unwrap().iter().any(|tracked| tracked.mined.is_some())).await;
    rig.chain().mine(Vec::new());
    rig.chain().mine(Vec::new());
    rig.tell(0);
    rig.until(|rig| rig.journal().transactions().unwrap().is_empty()).await;
}

#[tokio::test]
async fn a_reverted_answer_fails_unless_the_request_is_settled() {
    let rig = Rig::start(Bench::new());
    rig.alone();
    let (failed, settled) = (rig.answer(0).await, rig.answer(1).await);
    let sent = rig.sent(2).await;
    let ending =
        Resolution::Fulfilled { outcome: Outcome::Ok, output_commitment: B256::ZERO, seats: Bytes::new(), ours: false };
    let step = Transition::Included { at: settled.block, transaction: None, ending };
    rig.journal().commit(&Batch { moves: vec![(settled.id, step)], ..Batch::default() }).unwrap();
    for transaction in &sent {
        rig.chain().mine_transaction(transaction, false);
    }
    for _ in 0..2 {
        rig.chain().mine(Vec::new());
    }
    rig.tell(0);
    rig.until(|rig| rig.state(&failed) == "failed").await;
    assert_eq!(rig.state(&settled), "included");
    assert_eq!(rig.bench.node.metrics.reverted.get(), 2);
}

#[tokio::test]
async fn unknown_pending_transactions_of_the_key_are_waited_for() {
    let bench = Bench::new();
    bench.node.chain.set_nonces(3, 5);
    let rig = Rig::start(bench);
    rig.answer(0).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(rig.chain().sent().is_empty());
    rig.chain().set_nonces(5, 5);
    rig.tell(0);
    assert_eq!(rig.sent(1).await[0].nonce(), 5);
}

#[tokio::test]
async fn an_account_that_cannot_pay_stops_work_and_goes_on_when_funded() {
    let bench = Bench::new();
    bench.node.chain.set_balance(U256::from(1));
    let rig = Rig::start(bench);
    let task = rig.answer(0).await;
    rig.until(|rig| !*rig.funded.borrow()).await;
    assert!(rig.chain().sent().is_empty());
    assert_eq!(rig.state(&task), "seen");
    rig.chain().set_balance(U256::from(10u64).pow(U256::from(18)));
    rig.tell(0);
    rig.sent(1).await;
    assert!(*rig.funded.borrow());
}

#[tokio::test]
async fn a_new_answer_after_a_reorganisation_takes_the_old_ones_nonce() {
    let rig = Rig::start(Bench::new());
    let old = rig.answer(0).await;
    rig.sent(1).await;
    rig.chain().reorg(1);
    let header = rig.chain().mine(Vec::new());
    let new = Task { block: header.block, ..old.clone() };
    let batch = Batch { vanished: vec![old.id], ..Batch::default() };
    rig.journal().commit(&batch).unwrap();
    let batch = Batch { seen: vec![(new.clone(), input(0).into())], ..Batch::default() };
    rig.journal().commit(&batch).unwrap();
    rig.tell(1);
    rig.hand(&new).await;
    let sent = rig.sent(2).await;
    assert_eq!(sent[1].nonce(), sent[0].nonce());
    assert_ne!(sent[1].input(), sent[0].input());
    assert!(sent[1].max_fee_per_gas() * 10 >= sent[0].max_fee_per_gas() * 11);
    assert_eq!(rig.state(&new), "sent");
}

#[tokio::test]
async fn an_answer_that_was_mined_in_a_lost_block_is_sent_again_as_it_was() {
    let rig = Rig::start(Bench::new());
    let task = rig.answer(0).await;
    rig.sent(1).await;
    rig.journal().commit(&Batch { moves: vec![(task.id, Transition::Reopened)], ..Batch::default() }).unwrap();
    rig.hand(&task).await;
    rig.sent(2).await;
    assert_eq!(rig.chain().distinct().len(), 1);
    rig.until(|rig| rig.state(&task) == "sent").await;
}

#[tokio::test(start_paused = true)]
async fn what_a_pool_holds_dearer_is_raised_step_by_step_within_the_cap() {
    let rig = Rig::start(Bench::new());
    rig.chain().refuse_broadcasts(Some(ChainError::Underpriced));
    rig.answer(0).await;
    rig.until(|rig| rig.journal().transactions().unwrap().first().is_some_and(|tracked| tracked.attempts.len() > 3))
        .await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    rig.chain().refuse_broadcasts(None);
    rig.sent(1).await;
    let tracked = rig.journal().transactions().unwrap().remove(0);
    for pair in tracked.attempts.windows(2) {
        assert!(
            pair[1].max_fee * 10 >= pair[0].max_fee * 11
                && pair[1].max_priority_fee * 10 >= pair[0].max_priority_fee * 11
        );
    }
    assert!(tracked.attempts.iter().all(|attempt| attempt.max_fee <= 909_090));
    assert_eq!(rig.chain().sent()[0].to(), Some(DOMAIN.coordinator), "made anew from the bytes in the journal");
}

fn claim(task: &Task, nonce: u64) -> Claim {
    Claim {
        id: B256::with_last_byte(nonce as u8),
        request: task.request.clone(),
        outcome: Outcome::Ok,
        output_commitment: B256::ZERO,
        seats: Bytes::from_static(&[0; 4]),
        fulfilled_at: nonce,
        vests_at: 0,
        paid_at: None,
    }
}

#[tokio::test]
async fn what_a_pending_transaction_claims_is_not_claimed_again() {
    let rig = Rig::start(Bench::new());
    let task = rig.answer(0).await;
    rig.sent(1).await;
    let claim = |nonce| claim(&task, nonce);
    rig.claims.send(vec![claim(1), claim(2)]).await.unwrap();
    rig.until(|rig| rig.chain().sent().len() == 2).await;
    rig.claims.send(vec![claim(2), claim(1)]).await.unwrap();
    rig.claims.send(vec![claim(2), claim(3)]).await.unwrap();
    rig.until(|rig| rig.chain().sent().len() == 3).await;
    assert_eq!(rig.chain().sent()[2].input(), &coordinator::claim(&[claim(3)]));
}

#[tokio::test]
async fn a_claim_that_cannot_be_paid_holds_back_no_other() {
    let rig = Rig::start(Bench::new());
    let task = rig.answer(0).await;
    rig.sent(1).await;
    let claim = |nonce| claim(&task, nonce);
    // The scripted chain refuses whatever is simulated, but the second half alone.
    let alone = coordinator::claim(&[claim(2)]);
    rig.chain().view(alone.to_vec(), Vec::new());
    rig.chain().refuse(Some(ChainError::Reverted(Bytes::new())));
    rig.claims.send(vec![claim(1), claim(2)]).await.unwrap();
    rig.until(|rig| rig.chain().sent().len() == 2).await;
    assert_eq!(rig.chain().sent()[1].input(), &alone);
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_nonce_a_foreign_transaction_took_is_run_again() {
    let rig = Rig::start(Bench::new());
    let task = rig.answer(0).await;
    rig.sent(1).await;
    rig.chain().set_nonces(1, 1);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(rig.state(&task), "seen");
    assert!(rig.journal().input(task.id).unwrap().is_some());
    let left = rig.journal().transactions().unwrap();
    assert_eq!((left.len(), left[0].mined), (1, None), "its receipt is looked for until the nonce is final");
}

#[tokio::test(start_paused = true)]
async fn a_stuck_transaction_is_sent_again_then_replaced_with_a_higher_fee() {
    let rig = Rig::start(Bench::new());
    rig.answer(0).await;
    rig.sent(1).await;
    for _ in 0..4 {
        rig.chain().mine(Vec::new());
    }
    rig.tell(0);
    rig.until(|rig| rig.chain().distinct().len() == 2).await;
    let sent = rig.chain().sent();
    let last = &sent[sent.len() - 1];
    assert_eq!((last.nonce(), last.input()), (sent[0].nonce(), sent[0].input()));
    assert!(last.max_fee_per_gas() * 10 >= sent[0].max_fee_per_gas() * 11);
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_request_is_gone_is_replaced_by_a_self_transfer() {
    let rig = Rig::start(Bench::new());
    let task = rig.answer(0).await;
    rig.sent(1).await;
    rig.journal().commit(&Batch { vanished: vec![task.id], ..Batch::default() }).unwrap();
    rig.until(|rig| rig.chain().distinct().len() == 2).await;
    let sent = rig.chain().sent();
    let last = &sent[sent.len() - 1];
    assert_eq!((last.nonce(), last.to(), last.input().len()), (0, Some(rig.bench.signer.address()), 0));
}

#[tokio::test(start_paused = true)]
async fn the_nonce_of_an_answer_without_a_request_serves_the_next_answer() {
    let rig = Rig::start(Bench::new());
    let gone = rig.answer(0).await;
    rig.sent(1).await;
    rig.journal().commit(&Batch { vanished: vec![gone.id], ..Batch::default() }).unwrap();
    rig.chain().mine(Vec::new());
    rig.tell(0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let task = rig.answer(1).await;
    let sent = rig.sent(2).await;
    assert_eq!(sent[1].nonce(), 0);
    assert_eq!(rig.state(&task), "sent");
    assert_eq!(rig.journal().transactions().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_nonce_that_a_reorganisation_frees_after_it_was_final_is_filled() {
    let bench = Bench::new();
    bench.node.chain.set_nonces(3, 3);
    let rig = Rig::start(bench);
    rig.tell(0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.chain().set_nonces(2, 2);
    rig.tell(1);
    let sent = rig.sent(1).await;
    assert_eq!((sent[0].nonce(), sent[0].to()), (2, Some(rig.bench.signer.address())));
}
