//! Profit and loss by day and model, from the journal's hours.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use serde_json::{Value, json};

use crate::{
    domain::Entry,
    journal::{Journal, JournalError},
};

/// What one model cost and earned on one day, wei.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Day {
    answers: i64,
    earned: i128,
    spent: u128,
}

impl Day {
    fn profit(&self) -> i128 {
        self.earned.saturating_sub(i128::try_from(self.spent).unwrap_or(i128::MAX))
    }
}

/// The books of a journal as JSON, by day (UTC) and model, the newest day first; amounts are wei, as texts.
///
/// # Errors
/// The journal's.
pub fn by_day_and_model(journal: &impl Journal) -> Result<Value, JournalError> {
    let days = sums(&journal.ledger(0)?);
    let line = |((day, model), sums): (&(u64, B256), &Day)| {
        json!({
            "day": date(*day),
            "model": model,
            "answers": sums.answers,
            "earnedWei": sums.earned.to_string(),
            "spentWei": sums.spent.to_string(),
            "profitWei": sums.profit().to_string(),
        })
    };
    Ok(days.iter().rev().map(line).collect())
}

fn sums(entries: &[Entry]) -> BTreeMap<(u64, B256), Day> {
    let mut days = BTreeMap::<_, Day>::new();
    for entry in entries {
        let day = days.entry((entry.hour / 24, entry.model)).or_default();
        day.answers = day.answers.saturating_add(entry.answers);
        day.earned = day.earned.saturating_add(entry.earned);
        day.spent = day.spent.saturating_add(entry.spent);
    }
    days
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
        assert_eq!(days[&(1, one)], Day { answers: 2, earned: 20, spent: 6 });
        assert_eq!(days[&(1, one)].profit(), 14);
        assert_eq!(days.len(), 3);
    }
}
