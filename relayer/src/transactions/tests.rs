//! The manager on a scripted chain, in simulated time. The names of the first tests are the rows of the table of what goes
//! wrong with transactions.

use alloy::{
    consensus::{Transaction, TxEnvelope},
    primitives::Bytes,
    signers::local::PrivateKeySigner,
};
use futures::FutureExt;

use super::{
    tracked::{content, has_attempt},
    *,
};
use crate::{
    chain::At,
    domain::{AnswerRef, Purpose, Resolution, Task, TrackedTransaction, Transition},
    journal::SledJournal,
    protocol::Outcome,
    testing::{Bench, DOMAIN, Log, chain::FakeChain, id, input, request},
};

mod fees;
mod limits;
mod receipts;
mod signing;
mod table;

struct Rig {
    bench: Bench,
    keys: Vec<Arc<dyn Signer>>,
    transactions: Transactions<FakeChain, SledJournal>,
    reorg_epoch: u64,
    requests: u64,
}

/// Whether a transaction is what a nonce is for by now.
fn says(tracked: &TrackedTransaction, transaction: &TxEnvelope) -> bool {
    tracked.attempts.last().and_then(content).is_some_and(|(_, data)| data == *transaction.input())
}

impl Rig {
    async fn new() -> Self {
        Self::with(Bench::new(), 1).await
    }

    async fn with(bench: Bench, keys: usize) -> Self {
        bench.node.chain.keep_a_pool();
        let keys = (0..keys).map(|_| Arc::new(PrivateKeySigner::random()) as Arc<dyn Signer>).collect();
        Self::on(bench, keys).await
    }

    async fn on(bench: Bench, keys: Vec<Arc<dyn Signer>>) -> Self {
        let mut transactions = Transactions::new(bench.node.clone(), keys.clone()).unwrap();
        transactions.recover().await.unwrap();
        let mut rig = Self { bench, keys, transactions, reorg_epoch: 0, requests: 0 };
        rig.head().await;
        rig
    }

    /// The process dies, and another one starts.
    async fn restart(self) -> Self {
        let mut rig = Self::on(self.bench, self.keys).await;
        rig.requests = self.requests;
        rig
    }

    fn chain(&self) -> &FakeChain {
        &self.bench.node.chain
    }

    fn journal(&self) -> &SledJournal {
        &self.bench.node.journal
    }

    /// What is tracked in the journal.
    fn tracked(&self) -> Vec<TrackedTransaction> {
        self.journal().transactions().unwrap()
    }

    /// The queue of the only key.
    fn queue(&mut self) -> &mut NonceQueue {
        self.transactions.queues.iter_mut().next().unwrap()
    }

    /// Replaces a transaction of the only key by the same with a higher fee.
    fn raise(&mut self, nonce: u64) -> SendOutcome {
        let id = self.queue().id(nonce);
        let outcome = self.transactions.replace(id, None).unwrap();
        self.run_background();
        outcome
    }

    /// The chain says that so many nonces are used, and knows none of our transactions.
    fn lose_nonces(&self, used: u64) {
        self.chain().drop_pool();
        self.chain().set_nonces(used, used);
    }

    fn in_flight(&self) -> usize {
        self.transactions.queues.iter().map(NonceQueue::in_flight).sum()
    }

    /// All that background calls brought, and what that led to.
    fn run_background(&mut self) {
        while let Some(stepped) = self.transactions.step().now_or_never() {
            stepped.unwrap();
        }
    }

    /// The node takes in the head.
    async fn head(&mut self) {
        let header = self.chain().head().await.unwrap();
        let final_block = header.block.number.checked_sub(2);
        self.transactions.on_head(ChainHead { header, reorg_epoch: self.reorg_epoch, final_block }).unwrap();
        self.run_background();
    }

    async fn seconds(&mut self, count: u64) {
        for _ in 0..count {
            tokio::time::advance(Duration::from_secs(1)).await;
            self.transactions.on_tick().unwrap();
            self.run_background();
        }
    }

    /// A block with at most `most` transactions, whose answers the node takes in, and `seconds` until the next one.
    async fn block(&mut self, most: usize, seconds: u64) -> Vec<TxEnvelope> {
        let mined = self.chain().produce(most);
        self.take_in(&mined).await;
        self.head().await;
        self.seconds(seconds).await;
        mined
    }

    /// What the watcher makes of mined answers.
    async fn take_in(&self, mined: &[TxEnvelope]) {
        let at = self.chain().head().await.unwrap().block;
        let tracked = self.tracked();
        for transaction in mined {
            let hash = *transaction.tx_hash();
            let of = tracked.iter().find(|one| has_attempt(one, hash));
            let Some(Purpose::Answer { items }) = of.filter(|one| says(one, transaction)).map(|one| &one.purpose)
            else {
                continue;
            };
            let moves = items.iter().map(|item| (item.id, settled(at, Some(hash), true)));
            self.journal().commit(&Batch { moves: moves.collect(), ..Batch::default() }).unwrap();
        }
    }

    /// A request in a new block, and what answers it.
    async fn ask(&mut self) -> AnswerRef {
        let nonce = self.requests;
        self.requests += 1;
        let header = self.chain().mine(Vec::new());
        let request = request(nonce, header.block.number);
        let item = AnswerRef { id: id(&request), block: header.block.hash };
        let task = Task { id: item.id, request, block: header.block };
        let seen = vec![(task, input(nonce).into())];
        self.journal().commit(&Batch { seen, ..Batch::default() }).unwrap();
        self.head().await;
        item
    }

    fn candidate(items: &[AnswerRef]) -> TxCandidate {
        let data = items.iter().flat_map(|item| item.id.0).collect::<Vec<u8>>();
        TxCandidate {
            purpose: Purpose::Answer { items: items.to_vec() },
            to: DOMAIN.coordinator,
            data: data.into(),
            gas: 100_000,
        }
    }

    fn send(&mut self, items: &[AnswerRef]) -> SendOutcome {
        let sending = self.transactions.send(Self::candidate(items)).unwrap();
        self.run_background();
        sending
    }

    async fn answer(&mut self) -> AnswerRef {
        let item = self.ask().await;
        assert_eq!(self.send(&[item]), SendOutcome::Sent);
        item
    }

    fn state(&self, item: &AnswerRef) -> &'static str {
        self.journal().job(item.id).unwrap().map_or("none", |job| job.name())
    }

    fn last_sent(&self) -> TxEnvelope {
        self.chain().sent().pop().unwrap()
    }
}

fn settled(at: crate::chain::BlockRef, transaction: Option<B256>, ours: bool) -> Transition {
    let ending =
        Resolution::Fulfilled { outcome: Outcome::Ok, output_commitment: B256::ZERO, seats: Bytes::new(), ours };
    Transition::Included { at, transaction, ending }
}

fn nonces(transactions: &[TxEnvelope]) -> Vec<u64> {
    transactions.iter().map(Transaction::nonce).collect()
}

/// Both fees at least a tenth higher.
fn is_a_raise(old: &TxEnvelope, new: &TxEnvelope) -> bool {
    let priority_fee = |one: &TxEnvelope| one.max_priority_fee_per_gas().unwrap();
    new.max_fee_per_gas() * 10 >= old.max_fee_per_gas() * 11 && priority_fee(new) * 10 >= priority_fee(old) * 11
}

/// F11: an account that could not be read at the start was a warning every second, and the node counted as ready.
#[tokio::test(start_paused = true)]
async fn an_account_that_cannot_be_read_is_a_reason_against_being_ready_and_one_line() {
    let (log, bench) = (Log::start(), Bench::new());
    bench.node.chain.refuse_pending(true);
    let keys = vec![Arc::new(PrivateKeySigner::random()) as Arc<dyn Signer>];
    let mut transactions = Transactions::new(bench.node.clone(), keys).unwrap();
    let recovering = tokio::time::timeout(Duration::from_secs(600), transactions.recover()).await;
    assert!(recovering.is_err());
    let (told, obstacles) = (log.with("cannot be read"), bench.node.conditions.obstacles());
    assert_eq!((told.len(), obstacles.len()), (1, 1), "{told:?} {obstacles:?}");
    assert!(obstacles[0].contains("unknown tag"), "{obstacles:?}");
    bench.node.chain.refuse_pending(false);
    transactions.recover().await.unwrap();
    assert!(bench.node.conditions.obstacles().is_empty());
}
