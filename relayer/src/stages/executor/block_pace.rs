//! Measured time of model runs and of blocks, to tell what can still be in time.

use std::time::Duration;

use crate::chain::Header;

/// Runs measured before the estimate is believed: the first ones warm caches.
const MIN_SAMPLES: u32 = 8;
/// The weight of a new measurement, as a divisor.
const WEIGHT: u32 = 8;

/// A running mean of durations.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct MovingMean {
    value: Duration,
    count: u32,
}

impl MovingMean {
    pub(super) fn add(&mut self, new: Duration) {
        self.count = self.count.saturating_add(1);
        let weight = self.count.min(WEIGHT);
        self.value = self.value - self.value / weight + new / weight;
    }

    /// Returns the mean; `None` before enough was measured.
    pub(super) fn get(&self) -> Option<Duration> {
        (self.count >= MIN_SAMPLES).then_some(self.value)
    }
}

/// The time between blocks, by their own clocks.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct BlockPace {
    last: Option<Header>,
    mean: MovingMean,
}

impl BlockPace {
    pub(super) fn observe(&mut self, head: Header) {
        if let Some(last) = self.last.replace(head)
            && let Some(blocks) = head.block.number.checked_sub(last.block.number).filter(|blocks| *blocks > 0)
        {
            let seconds = head.timestamp.saturating_sub(last.timestamp);
            self.mean.add(Duration::from_secs(seconds) / u32::try_from(blocks).unwrap_or(u32::MAX));
        }
    }

    /// Number of whole blocks that pass in a time; 0 before enough is measured.
    pub(super) fn within(&self, time: Duration) -> u64 {
        let each = self.mean.get().unwrap_or_default().as_secs_f64();
        if each < 1e-3 { 0 } else { (time.as_secs_f64() / each) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block;
    use alloy::primitives::B256;

    fn blocks(count: u64, seconds: u64) -> BlockPace {
        let mut blocks = BlockPace::default();
        for number in 0..count {
            let header = Header {
                block: block(number),
                parent: B256::ZERO,
                timestamp: number * seconds,
                base_fee: 0,
                bloom: Default::default(),
            };
            blocks.observe(header);
        }
        blocks
    }

    #[test]
    fn blocks_are_counted_in_their_measured_time() {
        let blocks = blocks(20, 12);
        assert_eq!(blocks.within(Duration::from_secs(11)), 0);
        assert_eq!(blocks.within(Duration::from_secs(25)), 2);
    }

    #[test]
    fn nothing_is_certain_after_a_few_blocks_or_where_blocks_take_no_time() {
        assert_eq!(blocks(5, 12).within(Duration::from_secs(1_000)), 0);
        assert_eq!(blocks(20, 0).within(Duration::from_secs(1_000)), 0);
    }

    #[test]
    fn a_mean_follows_what_is_measured() {
        let mut mean = MovingMean::default();
        (0..7).for_each(|_| mean.add(Duration::from_millis(10)));
        assert_eq!(mean.get(), None);
        mean.add(Duration::from_millis(10));
        assert_eq!(mean.get(), Some(Duration::from_millis(10)));
        (0..100).for_each(|_| mean.add(Duration::from_millis(50)));
        assert!(mean.get().is_some_and(|mean| mean > Duration::from_millis(49)));
    }
}
