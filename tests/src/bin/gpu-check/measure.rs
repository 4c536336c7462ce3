//! Differences and times.

use std::time::{Duration, Instant};

/// How far outputs are apart.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Difference {
    /// The largest |a − b|.
    pub largest: f64,
    /// Numbers that are beyond the tolerance, or not there on one side.
    pub beyond: usize,
    /// Numbers compared.
    pub count: usize,
}

impl Difference {
    /// Compares numbers: |a − b| ≤ atol + rtol·|b|, and NaN with NaN.
    pub(crate) fn of(found: &[f64], expected: &[f64], atol: f64, rtol: f64) -> Self {
        let mut difference = Self { beyond: found.len().abs_diff(expected.len()), count: expected.len(), largest: 0.0 };
        for (a, b) in found.iter().zip(expected) {
            if a == b || a.is_nan() && b.is_nan() {
                continue;
            }
            let apart = (a - b).abs();
            difference.largest = difference.largest.max(apart);
            difference.beyond += usize::from(apart.is_nan() || apart > atol + rtol * b.abs());
        }
        difference
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            largest: self.largest.max(other.largest),
            beyond: self.beyond + other.beyond,
            count: self.count + other.count,
        }
    }
}

/// Times of many runs.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Sorts times.
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    /// The time below which this share of them is.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }
}

/// Does something again and again for a time, and at least so many times; the time of each.
pub(crate) fn repeat<E>(time: Duration, least: usize, mut run: impl FnMut() -> Result<(), E>) -> Result<Times, E> {
    let (began, mut times) = (Instant::now(), Vec::new());
    while times.len() < least || began.elapsed() < time {
        let at = Instant::now();
        run()?;
        times.push(at.elapsed());
    }
    Ok(Times::new(times))
}

/// A time in microseconds.
pub(crate) fn micros(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64() * 1e6)
}
