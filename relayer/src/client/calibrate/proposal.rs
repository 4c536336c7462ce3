//! Rules with room for what was measured, in the decimal steps 1, 2, 5, 10, …

use std::collections::BTreeMap;

use crate::protocol::{
    card::{Agreement, Tolerance},
    difference::Difference,
};

/// How many times a native difference must fit into a tolerance: a seat needs it to fit twice, and other machines differ more.
pub(super) const NATIVE_ROOM: f64 = 4.0;
/// How many times what the guard moves must fit on golden inputs, as certification wants it.
pub(super) const GOLDEN_ROOM: f64 = 4.0;
/// How many times on random ones, which may be odder than what comes.
pub(super) const RANDOM_ROOM: f64 = 2.0;

/// Least tolerances that are proposed, those of a new card: other machines differ more than this one. The absolute part is for
/// values of about 1, and smaller where all are.
const LEAST_RTOL: f64 = 0.0001;
const LEAST_ATOL: f64 = 0.00001;
/// Above this share of the largest values a tolerance says nothing any more.
const MOST_RTOL: f64 = 0.1;
/// Values within as many binary orders of the largest decide about the relative part.
const LARGE: i32 = 3;

/// Why no rule is proposed for an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRule {
    /// What differs are shapes, texts or bools, or numbers by infinitely much.
    #[error("runs differ in what no tolerance allows")]
    Beyond,
    /// A tolerance would be so wide that it says nothing.
    #[error(
        "a tolerance would have to be above {MOST_RTOL} of the largest values, or of more digits than a card holds"
    )]
    TooWide,
    /// It must be equal, and is not.
    #[error("it must be equal, and differs")]
    Differs,
    /// It must be equal, and is made of rounded numbers.
    #[error("it must be equal, and is made of rounded numbers")]
    Rounded,
}

/// What tolerances must allow, by the size of the value: its binary exponent.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs {
    by_exponent: BTreeMap<i32, f64>,
    /// Whether something differs for which no tolerance would do.
    beyond: bool,
}

impl Needs {
    /// Takes note of differences, each of which must fit `room` times.
    pub(super) fn add(&mut self, difference: &Difference, room: f64) {
        match difference {
            Difference::Incomparable => self.beyond = true,
            Difference::Symbols(differing) => self.beyond |= *differing > 0,
            Difference::Numbers(pairs) => {
                for (apart, size) in pairs {
                    self.beyond |= !apart.is_finite();
                    let need = self.by_exponent.entry(exponent(*size)).or_default();
                    *need = need.max(apart * room);
                }
            }
        }
    }

    /// The least rule that allows all of it: of the kind of the card's rule, or of `usual` where that is equality.
    ///
    /// # Errors
    /// `NoRule::Beyond`, `TooWide` or `Differs`.
    pub(super) fn rule(&self, card: &Agreement, usual: Agreement) -> Result<Agreement, NoRule> {
        let kind = if *card == Agreement::Exact { usual } else { *card };
        let most = self.by_exponent.values().copied().fold(0.0, f64::max);
        if self.beyond {
            return Err(NoRule::Beyond);
        }
        match kind {
            Agreement::Exact if most == 0.0 => Ok(Agreement::Exact),
            Agreement::Exact => Err(NoRule::Differs),
            // Two elements may move.
            Agreement::Argmax { .. } => Ok(Agreement::Argmax { gap: step(2.0 * most.max(LEAST_ATOL))? }),
            Agreement::Elementwise { .. } => {
                let largest = *self.by_exponent.keys().next_back().unwrap_or(&0);
                let large = self.by_exponent.range(largest.saturating_sub(LARGE)..);
                let relative = large.map(|(exponent, need)| need / size(*exponent)).fold(LEAST_RTOL, f64::max);
                if relative > MOST_RTOL {
                    return Err(NoRule::TooWide);
                }
                let rtol = step(relative)?;
                let rest = self.by_exponent.iter().map(|(exponent, need)| need - rtol.to_f64() * size(*exponent));
                let least = if largest < 0 && size(largest) > 0.0 { LEAST_ATOL * size(largest) } else { LEAST_ATOL };
                let atol = step(rest.fold(least, f64::max))?;
                Ok(Agreement::Elementwise { atol, rtol })
            }
        }
    }
}

/// The binary exponent of a size; that of the smallest for 0.
fn exponent(size: f64) -> i32 {
    // That of subnormals is of no interest: their tolerances are absolute.
    let bits = i32::try_from(size.to_bits() >> 52 & 0x7ff).unwrap_or_default();
    bits - 1023
}

/// The least size with an exponent.
fn size(exponent: i32) -> f64 {
    if exponent <= -1023 { 0.0 } else { 2f64.powi(exponent) }
}

/// The first of 1, 2, 5, 10, … that is no less than a value.
///
/// # Errors
/// `NoRule::TooWide` beyond what cards hold.
fn step(value: f64) -> Result<Tolerance, NoRule> {
    let mut unit = 1u128;
    loop {
        for digit in [1, 2, 5] {
            let tolerance = Tolerance(unit.checked_mul(digit).ok_or(NoRule::TooWide)?);
            if tolerance.to_f64() >= value {
                return Ok(tolerance);
            }
        }
        unit = unit.checked_mul(10).ok_or(NoRule::TooWide)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(pairs: &[(f64, f64)]) -> Needs {
        let mut needs = Needs::default();
        needs.add(&Difference::Numbers(pairs.to_vec()), 1.0);
        needs
    }

    fn usual() -> Agreement {
        Agreement::Elementwise { atol: Tolerance::default(), rtol: Tolerance::default() }
    }

    fn proposed(pairs: &[(f64, f64)]) -> String {
        match needs(pairs).rule(&Agreement::Exact, usual()) {
            Ok(Agreement::Elementwise { atol, rtol }) => format!("{atol} {rtol}"),
            Ok(other) => format!("{other:?}"),
            Err(none) => format!("{none:?}"),
        }
    }

    #[test]
    fn steps_are_one_two_and_five() {
        let of = |value| step(value).unwrap().to_string();
        assert_eq!([0.000011, 0.00002, 0.3, 0.6, 7.0].map(of), ["0.00002", "0.00002", "0.5", "1", "10"]);
        assert_eq!(step(0.0), Ok(Tolerance(1)));
        assert_eq!(step(f64::INFINITY), Err(NoRule::TooWide));
    }

    #[test]
    fn large_values_decide_about_the_relative_part_and_small_ones_about_the_rest() {
        // Sizes are rounded down to powers of two.
        assert_eq!(proposed(&[(0.3, 1024.0), (0.0003, 0.5)]), "0.00005 0.0005");
        assert_eq!(proposed(&[(0.3, 1024.0), (0.0006, 0.5)]), "0.0005 0.0005");
        assert_eq!(proposed(&[(0.5, 0.0), (0.0, 100.0)]), "0.5 0.0001");
    }

    #[test]
    fn no_less_is_proposed_than_a_new_card_has_unless_all_values_are_small() {
        assert_eq!(proposed(&[(0.0, 1.0), (0.0000004, 0.001)]), "0.00001 0.0001");
        assert_eq!(proposed(&[(0.0, 0.0)]), "0.00001 0.0001");
        assert_eq!(proposed(&[(0.0, 0.0005)]), "0.000000005 0.0001");
    }

    #[test]
    fn what_is_proposed_allows_what_was_measured() {
        for (apart, size) in [(1e-7, 0.9), (3e-5, 0.7), (0.02, 700.0), (1e-11, 1e-9), (4e5, 1e9)] {
            let needs = needs(&[(apart, size)]);
            let rule = needs.rule(&Agreement::Exact, usual()).unwrap();
            assert!(Difference::Numbers(vec![(apart, size)]).share(&rule) <= 1.0, "{apart} {size}: {rule:?}");
        }
    }

    #[test]
    fn nothing_is_proposed_where_no_tolerance_would_say_anything() {
        assert_eq!(proposed(&[(0.5, 1.0)]), "TooWide");
        assert_eq!(proposed(&[(1e-6, 1e-9)]), "TooWide");
        assert_eq!(proposed(&[(f64::INFINITY, 1.0)]), "Beyond");
        let mut other = needs(&[(0.0, 1.0)]);
        other.add(&Difference::Incomparable, 1.0);
        assert_eq!(other.rule(&Agreement::Exact, usual()), Err(NoRule::Beyond));
        let mut texts = Needs::default();
        texts.add(&Difference::Symbols(0), 1.0);
        assert_eq!(texts.rule(&Agreement::Exact, Agreement::Exact), Ok(Agreement::Exact));
        texts.add(&Difference::Symbols(1), 1.0);
        assert_eq!(texts.rule(&Agreement::Exact, Agreement::Exact), Err(NoRule::Beyond));
    }

    #[test]
    fn the_kind_of_the_cards_rule_is_kept() {
        let argmax = Agreement::Argmax { gap: Tolerance(1) };
        let gap = "0.1".parse().unwrap();
        assert_eq!(needs(&[(0.03, 1.0), (0.01, 5.0)]).rule(&argmax, usual()), Ok(Agreement::Argmax { gap }));
        // Integers that differ are equal by no tolerance of a new card.
        assert_eq!(needs(&[(1.0, 5.0)]).rule(&Agreement::Exact, Agreement::Exact), Err(NoRule::Differs));
        let card = Agreement::Elementwise { atol: Tolerance(1), rtol: Tolerance(0) };
        assert!(matches!(needs(&[(0.01, 5.0)]).rule(&card, Agreement::Exact), Ok(Agreement::Elementwise { .. })));
    }
}
