//! Fees that transactions offer for gas.

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

/// Fees of a new transaction, both within the cap for work: enough for six full blocks in a row, each raising the base fee
/// by an eighth.
///
/// ```text
/// priority_fee = max(min_priority_fee, median of the recent priority fees that are not zero)
/// max_fee      = 2 · base_fee + priority_fee
/// ```
#[must_use]
pub fn suggest_fees(settings: FeeSettings, base_fee: u128, recent_priority_fees: &[u128]) -> Fees {
    let mut priority_fees: Vec<u128> =
        recent_priority_fees.iter().copied().filter(|priority_fee| *priority_fee > 0).collect();
    priority_fees.sort_unstable();
    let median = priority_fees.get(priority_fees.len() / 2).copied().unwrap_or(0);
    let cap = settings.work_cap();
    let priority_fee = median.max(settings.min_priority_fee).min(cap);
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

    #[test]
    fn the_market_is_twice_the_base_fee_and_the_median_tip() {
        assert_eq!(suggest_fees(SETTINGS, 100, &[0, 9, 5, 7]), Fees { max_fee: 207, priority_fee: 7 });
        assert_eq!(suggest_fees(SETTINGS, 100, &[]), Fees { max_fee: 203, priority_fee: 3 });
    }

    #[test]
    fn nothing_exceeds_the_cap() {
        assert_eq!(suggest_fees(SETTINGS, 900, &[2_000]), Fees { max_fee: 909, priority_fee: 909 });
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
            let suggested = suggest_fees(settings, cap, &[]);
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
