use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    rpc::types::Log,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    chain::{At, BlockFees, Call, LogScope, Receipt, Tag},
    testing::chain::FakeChain,
};

/// An endpoint of a scripted chain that can fail, lag and lie.
#[derive(Debug)]
struct Window {
    chain: Arc<FakeChain>,
    id: AtomicU64,
    failure: Mutex<Option<ChainError>>,
    /// How many of the newest blocks it has not seen.
    lag: AtomicU64,
    calls: AtomicUsize,
    slow: Mutex<Duration>,
    heads: watch::Sender<()>,
}

impl Window {
    async fn gate(&self) -> Result<u64, ChainError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let slow = *self.slow.lock().unwrap();
        sleep(slow).await;
        self.failure.lock().unwrap().clone().map_or(Ok(self.lag.load(Ordering::Relaxed)), Err)
    }

    async fn newest(&self, lag: u64) -> u64 {
        self.chain.head().await.unwrap().block.number - lag
    }

    fn fail(&self, failure: Option<ChainError>) {
        *self.failure.lock().unwrap() = failure;
    }

    fn calls(&self) -> usize {
        self.calls.swap(0, Ordering::Relaxed)
    }
}

impl Chain for Window {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.gate().await?;
        Ok(self.id.load(Ordering::Relaxed))
    }

    async fn head(&self) -> Result<Header, ChainError> {
        let lag = self.gate().await?;
        Ok(self.chain.header(self.newest(lag).await).await?.unwrap())
    }

    async fn header(&self, number: u64) -> Result<Option<Header>, ChainError> {
        let lag = self.gate().await?;
        if number > self.newest(lag).await { Ok(None) } else { self.chain.header(number).await }
    }

    async fn tagged(&self, _: Tag) -> Result<Option<Header>, ChainError> {
        let lag = self.gate().await?;
        self.chain.header(self.newest(lag).await - 1).await
    }

    async fn logs(&self, address: Address, scope: LogScope) -> Result<Vec<Log>, ChainError> {
        self.gate().await?;
        self.chain.logs(address, scope).await
    }

    async fn call(&self, call: &Call, at: At) -> Result<Bytes, ChainError> {
        self.gate().await?;
        self.chain.call(call, at).await
    }

    async fn send(&self, raw: &Bytes) -> Result<(), ChainError> {
        self.gate().await?;
        self.chain.send(raw).await
    }

    async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, ChainError> {
        let lag = self.gate().await?;
        let newest = self.newest(lag).await;
        Ok(self.chain.receipt(hash).await?.filter(|receipt| receipt.block.number <= newest))
    }

    /// As many as blocks.
    async fn nonce(&self, _: Address, _: At) -> Result<u64, ChainError> {
        let lag = self.gate().await?;
        Ok(self.newest(lag).await)
    }

    async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.gate().await?;
        self.chain.balance(account).await
    }

    async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.gate().await?;
        self.chain.code(account).await
    }

    async fn recent_fees(&self) -> Result<Vec<BlockFees>, ChainError> {
        self.gate().await?;
        self.chain.recent_fees().await
    }

    async fn follow(&self, heard: &(dyn Fn(HeadUpdate) + Send + Sync), shutdown: &CancellationToken) {
        let mut nudges = self.heads.subscribe();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = nudges.changed() => heard(HeadUpdate { head: self.head().await, took: None }),
            }
        }
    }
}

struct Rig {
    chain: Arc<FakeChain>,
    windows: Vec<Arc<Window>>,
    pool: Arc<Endpoints<Window>>,
}

impl Rig {
    /// So many endpoints of a chain of eleven blocks, all checked and with known heads.
    async fn new(count: usize, quorum: usize) -> Self {
        let rig = Self::unknown(count, quorum);
        rig.pool.check().await.unwrap();
        rig.poll().await;
        rig.calls();
        rig
    }

    fn unknown(count: usize, quorum: usize) -> Self {
        let chain = Arc::new(FakeChain::new());
        for _ in 0..10 {
            chain.mine(Vec::new());
        }
        let windows: Vec<_> = (0..count)
            .map(|_| {
                Arc::new(Window {
                    chain: chain.clone(),
                    id: AtomicU64::new(31_337),
                    failure: Mutex::default(),
                    lag: AtomicU64::new(0),
                    calls: AtomicUsize::new(0),
                    slow: Mutex::default(),
                    heads: watch::Sender::new(()),
                })
            })
            .collect();
        let named = windows.iter().enumerate().map(|(index, window)| (format!("http://{index}/…"), window.clone()));
        let settings = PoolSettings { chain_id: 31_337, quorum, timeout: Duration::from_secs(10) };
        Self { chain, pool: Arc::new(Endpoints::new(named.collect(), settings)), windows }
    }

    /// Reads each endpoint's head.
    async fn poll(&self) {
        for member in &self.pool.members {
            let _ = member.head().await;
        }
    }

    /// The calls of each endpoint since this was asked last.
    fn calls(&self) -> Vec<usize> {
        self.windows.iter().map(|window| window.calls()).collect()
    }

    fn states(&self) -> Vec<EndpointState> {
        self.pool.health().iter().map(|health| health.state).collect()
    }
}

fn down() -> ChainError {
    ChainError::Unreachable { endpoint: "http://0/…".into(), reason: "HTTP 500".into() }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_is_left_alone_and_taken_back_when_it_answers() {
    let rig = Rig::new(2, 1).await;
    rig.windows[0].fail(Some(down()));
    rig.pool.balance(Address::ZERO).await.unwrap();
    assert_eq!(rig.calls(), [1, 1], "the next one is asked at once");
    assert_eq!(rig.states(), [EndpointState::Resting, EndpointState::Ready]);
    rig.pool.balance(Address::ZERO).await.unwrap();
    assert_eq!(rig.calls(), [0, 1]);
    rig.windows[0].fail(None);
    sleep(Duration::from_millis(101)).await;
    assert_eq!(rig.states(), [EndpointState::Resting, EndpointState::Ready], "it has not answered yet");
    rig.pool.balance(Address::ZERO).await.unwrap();
    assert_eq!(rig.calls(), [0, 1], "one that failed comes after one that did not");
    rig.poll().await;
    assert_eq!(rig.states(), [EndpointState::Ready; 2]);
    *rig.windows[1].slow.lock().unwrap() = Duration::from_secs(1);
    rig.pool.balance(Address::ZERO).await.unwrap();
    rig.calls();
    rig.pool.balance(Address::ZERO).await.unwrap();
    assert_eq!(rig.calls(), [1, 0], "the quicker of two that are well");
    let health = &rig.pool.health()[0];
    assert_eq!(health.errors, [("unreachable", 1)].into());
}

#[tokio::test(start_paused = true)]
async fn rests_grow_while_an_endpoint_stays_down_and_calls_under_way_count_once() {
    let rig = Rig::new(1, 1).await;
    rig.windows[0].fail(Some(down()));
    *rig.windows[0].slow.lock().unwrap() = Duration::from_millis(10);
    let mut backoffs = Vec::new();
    for _ in 0..8 {
        let balance = |chain: Arc<Window>| async move { chain.balance(Address::ZERO).await };
        let asked = join_all((0..5).map(|_| rig.pool.read_once(0, &balance))).await;
        assert!(asked.iter().all(Result::is_err));
        let until = rig.pool.members[0].health().backoff_until().unwrap();
        backoffs.push(until - Instant::now());
        sleep(until - Instant::now()).await;
        assert_eq!(rig.states(), [EndpointState::Resting], "it may be asked again, and has not answered");
    }
    assert!(backoffs[0] <= Duration::from_millis(100), "{backoffs:?}");
    assert!(backoffs[7] >= Duration::from_secs(5) && backoffs[7] <= Duration::from_secs(10), "{backoffs:?}");
}

#[tokio::test(start_paused = true)]
async fn a_read_waits_for_the_only_endpoint_to_come_back_but_not_for_ever() {
    let rig = Rig::new(1, 1).await;
    rig.windows[0].fail(Some(ChainError::RateLimited("HTTP 429".into())));
    rig.pool.balance(Address::ZERO).await.unwrap_err();
    rig.windows[0].fail(None);
    rig.pool.balance(Address::ZERO).await.unwrap();
    rig.windows[0].id.store(5, Ordering::Relaxed);
    rig.pool.members[0].health().checked = None;
    let error = rig.pool.balance(Address::ZERO).await.unwrap_err();
    assert!(matches!(error, ChainError::WrongChain { found: 5, .. }), "{error}");
    let began = Instant::now();
    let error = rig.pool.balance(Address::ZERO).await.unwrap_err();
    assert_eq!((error.label(), began.elapsed().as_secs()), ("unready", 10));
    assert!(error.to_string().contains("http://0/… is wrong_chain"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_read_outlasts_a_few_failures_of_the_only_endpoint() {
    let rig = Rig::new(1, 1).await;
    rig.windows[0].fail(Some(down()));
    let pool = rig.pool.clone();
    let reading = tokio::spawn(async move { pool.balance(Address::ZERO).await });
    sleep(Duration::from_millis(90)).await;
    rig.windows[0].fail(None);
    reading.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_behind_the_others_is_not_read_from() {
    let rig = Rig::new(2, 1).await;
    rig.windows[0].lag.store(3, Ordering::Relaxed);
    rig.chain.mine(Vec::new());
    rig.poll().await;
    assert_eq!(rig.states(), [EndpointState::Behind, EndpointState::Ready]);
    assert_eq!(rig.pool.health()[0].behind_by, 3);
    rig.calls();
    for _ in 0..4 {
        rig.pool.nonce(Address::ZERO, At::Latest).await.unwrap();
    }
    assert_eq!(rig.calls(), [0, 4]);
    rig.windows[0].lag.store(0, Ordering::Relaxed);
    rig.poll().await;
    assert_eq!(rig.states(), [EndpointState::Ready; 2]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_behind_itself_is_asked_until_it_has_caught_up() {
    let rig = Rig::new(1, 1).await;
    rig.windows[0].lag.store(2, Ordering::Relaxed);
    rig.poll().await;
    assert_eq!(rig.states(), [EndpointState::Behind]);
    let pool = rig.pool.clone();
    let reading = tokio::spawn(async move { pool.nonce(Address::ZERO, At::Latest).await });
    sleep(Duration::from_secs(2)).await;
    assert!(!reading.is_finished());
    rig.windows[0].lag.store(0, Ordering::Relaxed);
    assert_eq!(reading.await.unwrap().unwrap(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_stays_lower_is_the_chains_own_in_the_end() {
    let rig = Rig::new(1, 1).await;
    rig.windows[0].lag.store(2, Ordering::Relaxed);
    for _ in 0..2 {
        rig.poll().await;
        assert_eq!(rig.states(), [EndpointState::Behind]);
        sleep(Duration::from_secs(59)).await;
    }
    rig.poll().await;
    assert_eq!(rig.states(), [EndpointState::Ready]);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_one_endpoint_lacks_below_the_head_comes_from_another() {
    let rig = Rig::new(2, 1).await;
    // It answered as of the head before, and asks a machine that lags now.
    rig.windows[0].lag.store(4, Ordering::Relaxed);
    assert_eq!(rig.pool.header(9).await.unwrap().map(|header| header.block.number), Some(9));
    assert_eq!(rig.calls(), [1, 1]);
    assert_eq!(rig.pool.header(11).await.unwrap(), None, "above the head there is none");
    rig.windows[1].lag.store(4, Ordering::Relaxed);
    assert_eq!(rig.pool.header(9).await.unwrap_err().label(), "unknown_block");
}

#[tokio::test(start_paused = true)]
async fn a_range_of_logs_is_asked_only_of_an_endpoint_that_has_all_of_it() {
    let rig = Rig::unknown(2, 1);
    rig.windows[0].lag.store(5, Ordering::Relaxed);
    rig.pool.logs(Address::ZERO, LogScope::Range(1, 9)).await.unwrap();
    // Chain id and head of both; logs of the second.
    assert_eq!(rig.calls(), [2, 3]);
    rig.windows[1].fail(Some(down()));
    let error = rig.pool.logs(Address::ZERO, LogScope::Range(1, 9)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_goes_to_all_endpoints_and_one_that_takes_it_is_enough() {
    let rig = Rig::new(3, 1).await;
    let raw = Bytes::from_static(b"signed");
    rig.windows[0].fail(Some(down()));
    rig.windows[1].fail(Some(ChainError::NonceTooLow));
    rig.pool.send(&raw).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.calls(), [1, 1, 1]);
    rig.pool.send(&raw).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.calls(), [1, 1, 1], "one in backoff, too");
    rig.windows[2].fail(Some(down()));
    assert_eq!(rig.pool.send(&raw).await, Err(ChainError::NonceTooLow), "what says most about it");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_on_another_chain_stops_a_start_and_is_never_used() {
    let rig = Rig::unknown(2, 1);
    rig.windows[1].id.store(1, Ordering::Relaxed);
    let error = rig.pool.check().await.unwrap_err();
    assert_eq!(error, ChainError::WrongChain { endpoint: "http://1/…".into(), found: 1, expected: 31_337 });
    rig.calls();
    rig.windows[0].fail(Some(ChainError::Other { code: -32_603, message: "internal".into() }));
    rig.pool.balance(Address::ZERO).await.unwrap_err();
    rig.pool.send(&Bytes::new()).await.unwrap_err();
    assert_eq!(rig.calls(), [READ_ROUNDS as usize + 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn with_a_quorum_money_moves_only_on_what_enough_endpoints_say() {
    let rig = Rig::new(3, 2).await;
    // One knows less than the others: their word counts.
    rig.windows[0].lag.store(2, Ordering::Relaxed);
    assert_eq!(rig.pool.nonce(Address::ZERO, At::Latest).await.unwrap(), 10);
    // Only one has the newest block: it does not count yet.
    rig.windows[1].lag.store(1, Ordering::Relaxed);
    assert_eq!(rig.pool.nonce(Address::ZERO, At::Latest).await.unwrap(), 9);
    assert_eq!(rig.pool.tagged(Tag::Safe).await.unwrap().map(|header| header.block.number), Some(8));
    let newest = rig.chain.header(10).await.unwrap().unwrap().block;
    let older = rig.chain.header(8).await.unwrap().unwrap().block;
    assert!(!rig.pool.agreed(newest).await.unwrap());
    assert!(rig.pool.agreed(older).await.unwrap());
    // Two are down: nobody agrees.
    rig.windows[0].fail(Some(down()));
    rig.windows[1].fail(Some(down()));
    assert_eq!(rig.pool.nonce(Address::ZERO, At::Latest).await.unwrap_err().label(), "unready");
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_too_few_have_is_neither_there_nor_missing() {
    let rig = Rig::new(2, 2).await;
    let signed = crate::testing::transaction(0);
    rig.chain.mine_transaction(&signed, true);
    rig.poll().await;
    let hash = *signed.tx_hash();
    assert_eq!(rig.pool.receipt(hash).await.unwrap().map(|receipt| receipt.block.number), Some(11));
    rig.windows[1].lag.store(1, Ordering::Relaxed);
    assert_eq!(rig.pool.receipt(hash).await.unwrap_err().label(), "unready");
    rig.windows[0].lag.store(1, Ordering::Relaxed);
    assert_eq!(rig.pool.receipt(hash).await.unwrap(), None);
}

/// Follows the pool; what was told so far.
async fn followed(rig: &Rig, steps: impl AsyncFnOnce(&dyn Fn(usize))) -> Vec<Header> {
    let (told, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
    let (pool, seen, ended) = (rig.pool.clone(), told.clone(), stop.clone());
    let following = tokio::spawn(async move {
        pool.follow(&|heard: HeadUpdate| seen.lock().unwrap().push(heard.head.unwrap()), &ended).await;
    });
    sleep(Duration::from_millis(1)).await;
    steps(&|index| {
        rig.windows[index].heads.send_replace(());
    })
    .await;
    sleep(Duration::from_millis(1)).await;
    stop.cancel();
    following.await.unwrap();
    Arc::into_inner(told).unwrap().into_inner().unwrap()
}

#[tokio::test(start_paused = true)]
async fn heads_of_all_endpoints_are_told_once_and_never_go_back() {
    let rig = Rig::new(2, 1).await;
    let pause = || sleep(Duration::from_millis(1));
    let told = followed(&rig, async |nudge| {
        nudge(0);
        pause().await;
        nudge(1);
        pause().await;
        rig.chain.mine(Vec::new());
        nudge(1);
        pause().await;
        // The other lags behind itself.
        rig.windows[0].lag.store(5, Ordering::Relaxed);
        nudge(0);
        pause().await;
    })
    .await;
    assert_eq!(told.iter().map(|head| head.block.number).collect::<Vec<_>>(), [10, 11]);
}

#[tokio::test(start_paused = true)]
async fn a_reorganisation_at_the_same_height_is_told() {
    let rig = Rig::new(1, 1).await;
    let told = followed(&rig, async |nudge| {
        nudge(0);
        sleep(Duration::from_millis(1)).await;
        rig.chain.reorg(1);
        rig.chain.mine(Vec::new());
        nudge(0);
    })
    .await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].block.number, told[1].block.number);
    assert_ne!(told[0].block.hash, told[1].block.hash);
}

#[tokio::test(start_paused = true)]
async fn who_follows_anew_is_told_the_head_again() {
    let rig = Rig::new(1, 1).await;
    for _ in 0..2 {
        assert_eq!(followed(&rig, async |nudge| nudge(0)).await.len(), 1);
    }
}
