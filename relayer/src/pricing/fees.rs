//! Fees that transactions offer for gas.

use crate::chain::BlockFees;

/// Fee settings of an operator, wei per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeSettings {
    /// No transaction pays more than this.
    pub max_fee_per_gas: u128,
    /// No transaction offers the block's producer less than this, within `max_fee_per_gas`.
    pub min_priority_fee: u128,
    /// Per cent by which a replacement pays more, at least 10.
    pub bump_percent: u32,
}

impl FeeSettings {
    /// Fee cap of work, wei per gas: a bump below the operator's, so that a self-transfer can still replace a stuck transaction.
    #[must_use]
    pub fn work_cap(&self) -> u128 {
        self.max_fee_per_gas.saturating_mul(100) / (100 + u128::from(self.bump_percent.max(10)))
    }
}

/// Fees that one transaction offers, wei per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// Base fee and priority fee together at most (`maxFeePerGas` of EIP-1559).
    pub max_fee: u128,
    /// Fee to the block's producer (`maxPriorityFeePerGas` of EIP-1559).
    pub priority_fee: u128,
}

/// Share of its gas limit above which a block counts as full: who is left out of it has paid too little.
const FULL: f64 = 0.9;

/// What the blocks of late took, and what endpoints ask for, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct FeeMarket {
    /// What recent blocks took.
    pub blocks: Vec<BlockFees>,
    /// Least priority fee that an endpoint named when it refused a transaction, wei per gas.
    pub demanded: u128,
}

impl FeeMarket {
    /// Returns the least priority fee that the next block takes, wei per gas: a block with room takes any, so that on an idle
    /// chain a request's own tip is not the price of its answer.
    ///
    /// ```text
    /// least = max(demanded, median over the recent blocks of (full ? what half its gas paid : 0))
    /// ```
    #[must_use]
    pub fn least(&self) -> u128 {
        let asked = self.blocks.iter().map(|block| if block.fullness > FULL { block.priority_fee } else { 0 });
        median(asked.collect()).max(self.demanded)
    }

    /// Returns what others paid, wei per gas: the median of the blocks in which anybody paid, for a transaction that was not
    /// mined for less although there was room. Some producers leave out what pays them too little.
    #[must_use]
    pub fn paid(&self) -> u128 {
        let paid = self.blocks.iter().map(|block| block.priority_fee).filter(|fee| *fee > 0);
        median(paid.collect()).max(self.demanded)
    }
}

fn median(mut values: Vec<u128>) -> u128 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Fees of a transaction that offers `priority_fee`, both within the cap for work: enough for six full blocks in a row, each
/// raising the base fee by an eighth.
///
/// ```text
/// priority_fee = max(min_priority_fee, priority_fee)
/// max_fee      = 2 · base_fee + priority_fee
/// ```
#[must_use]
pub fn suggest_fees(settings: FeeSettings, base_fee: u128, priority_fee: u128) -> Fees {
    let cap = settings.work_cap();
    let priority_fee = priority_fee.max(settings.min_priority_fee).min(cap);
    Fees { max_fee: base_fee.saturating_mul(2).saturating_add(priority_fee).min(cap), priority_fee }
}

/// Fees of a replacement: both higher by the bump, rounded up, or the suggested ones where those are higher. `None` where
/// `cap` does not allow it.
#[must_use]
pub fn replacement_fees(settings: FeeSettings, cap: u128, old: Fees, suggested: Fees) -> Option<Fees> {
    let percent = u128::from(settings.bump_percent.max(10));
    let raised = |value: u128| value.saturating_add(value.saturating_mul(percent).div_ceil(100).max(1));
    let fees = Fees {
        max_fee: raised(old.max_fee).max(suggested.max_fee),
        priority_fee: raised(old.priority_fee).max(suggested.priority_fee),
    };
    let fees = Fees { max_fee: fees.max_fee.max(fees.priority_fee), ..fees };
    (fees.max_fee <= cap).then_some(fees)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: FeeSettings = FeeSettings { max_fee_per_gas: 1_000, min_priority_fee: 3, bump_percent: 10 };

    fn market(blocks: &[(f64, u128)]) -> FeeMarket {
        let blocks = blocks.iter().map(|&(fullness, priority_fee)| BlockFees { fullness, priority_fee });
        FeeMarket { blocks: blocks.collect(), demanded: 0 }
    }

    #[test]
    fn the_suggestion_is_twice_the_base_fee_and_the_priority_fee() {
        assert_eq!(suggest_fees(SETTINGS, 100, 7), Fees { max_fee: 207, priority_fee: 7 });
        assert_eq!(suggest_fees(SETTINGS, 100, 0), Fees { max_fee: 203, priority_fee: 3 });
    }

    /// F13: on an idle chain the request's own tip was taken for the price of its answer, which then did not pay.
    #[test]
    fn on_an_idle_chain_nothing_is_the_least_that_the_next_block_takes() {
        let idle = market(&[(0.0, 0), (0.0, 0), (0.01, 1_000_000_000), (0.0, 0), (0.02, 1_000_000_000)]);
        assert_eq!((idle.least(), idle.paid()), (0, 1_000_000_000));
        assert_eq!(market(&[(0.5, 7); 8]).least(), 0, "half full is what the base fee aims at");
        assert_eq!(market(&[]).least(), 0);
        let asked = FeeMarket { demanded: 25, ..idle };
        assert_eq!((asked.least(), asked.paid()), (25, 1_000_000_000));
    }

    #[test]
    fn where_most_blocks_are_full_what_half_their_gas_paid_is_the_price() {
        assert_eq!(market(&[(1.0, 9), (0.99, 5), (1.0, 7)]).least(), 7);
        assert_eq!(market(&[(1.0, 9), (0.2, 5), (0.1, 7)]).least(), 0);
    }

    #[test]
    fn nothing_exceeds_the_cap() {
        assert_eq!(suggest_fees(SETTINGS, 900, 2_000), Fees { max_fee: 909, priority_fee: 909 });
        assert_eq!(
            replacement_fees(
                SETTINGS,
                1_000,
                Fees { max_fee: 950, priority_fee: 3 },
                Fees { max_fee: 1, priority_fee: 1 }
            ),
            None
        );
    }

    #[test]
    fn what_work_may_pay_leaves_room_for_giving_it_up() {
        for (cap, bump_percent) in [(1_000, 10), (999, 15), (7, 100), (100_000_000_000, 13)] {
            let settings = FeeSettings { max_fee_per_gas: cap, min_priority_fee: 1, bump_percent };
            let dearest = Fees { max_fee: settings.work_cap(), priority_fee: 1 };
            let suggested = suggest_fees(settings, cap, 0);
            assert!(replacement_fees(settings, cap, dearest, suggested).is_some() || cap < 20, "{settings:?}");
            assert!(suggested.max_fee <= settings.work_cap());
        }
    }

    #[test]
    fn a_replacement_raises_both_by_a_tenth_rounded_up() {
        let old = Fees { max_fee: 101, priority_fee: 3 };
        assert_eq!(
            replacement_fees(SETTINGS, 1_000, old, Fees { max_fee: 1, priority_fee: 1 }),
            Some(Fees { max_fee: 112, priority_fee: 4 })
        );
        assert_eq!(
            replacement_fees(SETTINGS, 1_000, old, Fees { max_fee: 500, priority_fee: 50 }),
            Some(Fees { max_fee: 500, priority_fee: 50 })
        );
    }
}
