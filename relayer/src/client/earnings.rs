//! Profit and loss by day and model, from the hours of a journal's ledger.

use std::collections::BTreeMap;

use alloy::primitives::B256;

use crate::{
    domain::Entry,
    journal::{Journal, JournalError},
};

/// What one model cost and earned on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyEarnings {
    /// Days since 1970 (UTC), by the chain's clock.
    pub day: u64,
    /// The id of the model; zero for what serves no model.
    pub model: B256,
    /// Number of answers that became final.
    pub answers: i64,
    /// Pay of those answers, wei; negative where a reorganisation takes more back.
    pub earned: i128,
    /// Gas of the transactions that became final, wei.
    pub spent: u128,
}

impl DailyEarnings {
    /// What was earned less what was spent, wei.
    #[must_use]
    pub fn profit(&self) -> i128 {
        self.earned.saturating_sub(i128::try_from(self.spent).unwrap_or(i128::MAX))
    }

    /// The day as a date, such as `2026-11-23`.
    #[must_use]
    pub fn date(&self) -> String {
        date(self.day)
    }
}

/// The ledger of a journal by day and model, the newest day first.
///
/// # Errors
/// `Store` or `Record`: the journal's.
pub fn daily_earnings(journal: &impl Journal) -> Result<Vec<DailyEarnings>, JournalError> {
    Ok(sums(&journal.ledger(0)?))
}

fn sums(entries: &[Entry]) -> Vec<DailyEarnings> {
    let mut days = BTreeMap::new();
    for entry in entries {
        let (day, model) = (entry.hour / 24, entry.model);
        let empty = DailyEarnings { day, model, answers: 0, earned: 0, spent: 0 };
        let sum = days.entry((day, model)).or_insert(empty);
        sum.answers = sum.answers.saturating_add(entry.answers);
        sum.earned = sum.earned.saturating_add(entry.earned);
        sum.spent = sum.spent.saturating_add(entry.spent);
    }
    days.into_values().rev().collect()
}

/// The date of a day since 1970, in the Gregorian calendar (Howard Hinnant's `civil_from_days`).
fn date(day: u64) -> String {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (day, says) in [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_780, "2026-11-23")] {
            assert_eq!(date(day), says);
        }
    }

    #[test]
    fn hours_of_a_day_are_summed_by_model() {
        let (one, other) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let entry = |hour, model| Entry { hour, model, spent: 3, earned: 10, answers: 1 };
        let days = sums(&[entry(24, one), entry(47, one), entry(47, other), entry(48, one)]);
        assert_eq!(
            days.iter().map(|line| (line.day, line.model)).collect::<Vec<_>>(),
            [(2, one), (1, other), (1, one)]
        );
        assert_eq!(days[2], DailyEarnings { day: 1, model: one, answers: 2, earned: 20, spent: 6 });
        assert_eq!((days[2].profit(), days[2].date()), (14, "1970-01-02".into()));
    }
}
