//! How fast an endpoint is asked: a bucket of tokens for its rate limit, and the rests after its failures.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::Rng;
use tokio::time::Instant;

/// The first rest after a failure, doubled with each further one.
const FIRST_REST: Duration = Duration::from_millis(100);
/// The first rest after an endpoint asked for one.
const FIRST_SLOWDOWN: Duration = Duration::from_millis(500);
/// No rest is longer.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// A bucket that holds the tokens of one second and fills evenly.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Time per token; zero for no limit.
    interval: Duration,
    /// When it was, or will be, full.
    spent_until: Mutex<Option<Instant>>,
}

impl Bucket {
    /// So many tokens per second; none are asked for at 0.
    pub(super) fn new(per_second: f64) -> Self {
        let interval = if per_second > 0.0 { Duration::from_secs_f64(per_second.recip()) } else { Duration::ZERO };
        Self { interval, spent_until: Mutex::new(None) }
    }

    /// Takes a token, as soon as there is one.
    pub(super) async fn take(&self) {
        if self.interval.is_zero() {
            return;
        }
        let now = Instant::now();
        let due = {
            let mut spent = self.spent_until.lock().unwrap_or_else(PoisonError::into_inner);
            let until = spent.map_or(now, |until| until.max(now)) + self.interval;
            *spent = Some(until);
            // One second's tokens may be taken at once, and one always.
            until.checked_sub(self.interval.max(Duration::from_secs(1))).unwrap_or(now)
        };
        tokio::time::sleep_until(due).await;
    }
}

/// How long to leave an endpoint alone after its `failures`th failure in a row (1 is the first): the doubling is
/// `FIRST_REST · 2^(failures − 1)`, of which a random half is left out so that not all nodes come back at once.
pub(super) fn rest(failures: u32, asked_to_slow_down: bool) -> Duration {
    let first = if asked_to_slow_down { FIRST_SLOWDOWN } else { FIRST_REST };
    let whole = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_REST);
    whole.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_seconds_tokens_go_at_once_and_the_rest_at_the_rate() {
        let bucket = Bucket::new(10.0);
        let began = Instant::now();
        for _ in 0..10 {
            bucket.take().await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        for _ in 0..50 {
            bucket.take().await;
        }
        assert!((4_900..=5_100).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        // What was not taken in a long silence is lost but for one second's.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let began = Instant::now();
        for _ in 0..20 {
            bucket.take().await;
        }
        assert!((900..=1_100).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn less_than_one_a_second_is_a_rate_too() {
        let bucket = Bucket::new(0.25);
        let began = Instant::now();
        for _ in 0..3 {
            bucket.take().await;
        }
        assert!((7_900..=8_100).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        let bucket = Bucket::new(0.0);
        let began = Instant::now();
        for _ in 0..10_000 {
            bucket.take().await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[test]
    fn rests_double_up_to_the_longest_and_differ() {
        for failures in 1..200 {
            let whole = FIRST_REST.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_REST);
            let taken = rest(failures, false);
            assert!(taken >= whole / 2 && taken <= whole, "{failures}: {taken:?}");
        }
        assert!(rest(1, true) >= FIRST_SLOWDOWN / 2);
        let first = rest(9, false);
        assert!((0..50).any(|_| rest(9, false) != first), "jitter");
    }
}
