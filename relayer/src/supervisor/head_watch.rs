//! Whether heads come as they usually do.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    chain::Header,
    conditions::{Conditions, Obstacle},
};

/// Intervals between heads that are remembered.
const REMEMBERED: usize = 16;
/// Intervals after which the usual one is known.
const NEEDED: usize = 4;
/// The longest interval, in medians, on a chain that has a pace: one that makes blocks only on demand has none.
const PACE: u32 = 8;
/// Silence that is no stall, however quick the chain is.
const SHORTEST_STALL: Duration = Duration::from_secs(5);
/// Silence after a start that is a stall.
const FIRST_HEAD: Duration = Duration::from_secs(30);

/// Intervals between the heads of late.
#[derive(Debug, Default)]
struct HeadPace {
    intervals: VecDeque<Duration>,
    last: Option<Instant>,
}

impl HeadPace {
    fn observe(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            self.intervals.push_back(now - last);
            if self.intervals.len() > REMEMBERED {
                self.intervals.pop_front();
            }
        }
    }

    /// Silence after which the head counts as stalled: twice the longest interval of late. `None` on a chain without a pace,
    /// and while that is not known.
    fn patience(&self) -> Option<Duration> {
        if self.last.is_none() {
            return Some(FIRST_HEAD);
        }
        let mut intervals: Vec<_> = self.intervals.iter().copied().collect();
        intervals.sort_unstable();
        let (longest, median) = (*intervals.last()?, *intervals.get(intervals.len() / 2)?);
        let is_known = intervals.len() >= NEEDED && longest <= median * PACE;
        is_known.then(|| (longest * 2).max(SHORTEST_STALL))
    }
}

/// Watches the heads that the endpoints report, until shutdown, and takes note of a stall.
pub(super) async fn watch(
    mut heads: watch::Receiver<Option<Header>>,
    conditions: Arc<Conditions>,
    shutdown: CancellationToken,
) {
    let (mut pace, began) = (HeadPace::default(), Instant::now());
    let mut stalled = false;
    loop {
        let patience = pace.patience().filter(|_| !stalled);
        let due = pace.last.unwrap_or(began) + patience.unwrap_or_default();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            changed = heads.changed() => {
                if changed.is_err() {
                    return;
                }
                heads.mark_unchanged();
                pace.observe(Instant::now());
                conditions.clear(Obstacle::Head);
                stalled = false;
            }
            () = tokio::time::sleep_until(due), if patience.is_some() => {
                let last = heads.borrow().map_or("since the start".into(), |head| format!("after block {}", head.block.number));
                let seconds = patience.unwrap_or_default().as_secs_f32();
                conditions.hinder(Obstacle::Head, format!("none for {seconds:.1} s {last}; check the endpoints"));
                stalled = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Log;

    /// Heads that come after so many milliseconds each, and then none; what is told, and after how long.
    async fn told(intervals: &[u64], silence: u64) -> Vec<String> {
        let (heads, seen) = watch::channel(None);
        let (conditions, stop) = (Arc::<Conditions>::default(), CancellationToken::new());
        let watching = tokio::spawn(watch(seen, conditions.clone(), stop.clone()));
        tokio::task::yield_now().await;
        for (number, interval) in (0..).zip(intervals) {
            tokio::time::sleep(Duration::from_millis(*interval)).await;
            let block = crate::testing::block(number);
            heads.send_replace(Some(Header {
                block,
                parent: block.hash,
                timestamp: 0,
                base_fee: 0,
                bloom: Default::default(),
            }));
        }
        tokio::time::sleep(Duration::from_millis(silence)).await;
        stop.cancel();
        watching.await.unwrap();
        conditions.obstacles()
    }

    /// F5: nothing was said of a head that did not move.
    #[tokio::test(start_paused = true)]
    async fn a_silence_of_twice_the_usual_interval_is_a_stall_and_a_warning() {
        let log = Log::start();
        let pace = [12_000; 6];
        assert!(told(&pace, 23_900).await.is_empty());
        assert_eq!(log.with("").len(), 0);
        let stalled = "no new block comes: none for 24.0 s after block 5; check the endpoints";
        assert_eq!(told(&pace, 24_100).await, [stalled]);
        assert_eq!(told(&pace, 1_000_000).await, [stalled]);
        assert_eq!(log.with("WARN").len(), 2, "once each");
        assert_eq!(told(&[2_000; 6], 5_100).await.len(), 1);
        assert_eq!(
            told(&[], 30_100).await,
            ["no new block comes: none for 30.0 s since the start; check the endpoints"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_ends_the_stall_and_a_slot_that_was_missed_is_none() {
        assert!(told(&[12_000, 12_000, 12_000, 12_000, 12_000, 100_000, 12_000], 20_000).await.is_empty());
        assert!(told(&[12_000, 12_000, 24_000, 12_000, 12_000], 47_000).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_chain_that_makes_blocks_on_demand_has_no_pace() {
        assert!(told(&[10, 10, 10, 60_000, 10, 10, 10, 10], 1_000_000).await.is_empty());
        assert!(told(&[10], 1_000_000).await.is_empty());
    }
}
