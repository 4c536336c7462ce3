//! Gas of transactions by formula: the limits, which the simulation checks, and the use that prices are judged by.

use crate::{
    domain::{Attested, SeatAssignment},
    protocol::request::Request,
};

/// Gas limit of a transaction at most (EIP-7825).
pub(crate) const TRANSACTION_CAP: u64 = 1 << 24;

const TRANSACTION: u64 = 21_000;

/// Gas of calldata, as (usual, floor): 4 per zero byte and 16 per other byte, and with the floor of EIP-7623 at least 10
/// and 40 in a transaction that does little else.
fn calldata(data: &[u8]) -> (u64, u64) {
    let zeros = data.iter().filter(|byte| **byte == 0).count() as u64;
    let others = data.len() as u64 - zeros;
    (4 * zeros + 16 * others, 10 * zeros + 40 * others)
}

/// Gas that one answer adds to its transaction beside its calldata.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct GasItem {
    /// The contract's own work and the callback.
    pub(crate) work: u64,
    /// Gas that the callback must find at hand beyond that and does not use: by EIP-150 a call leaves a 64th behind.
    pub(crate) reserve: u64,
}

/// Gas of proving one rank, that of the answering seat or of a hole before it: a cold seat and a permutation.
struct RankGas {
    /// Usual use, the calldata of a hole included: 6,509 were measured for each of 128 holes.
    expected: u64,
    /// Use at most: a Feistel network walks its cycle more than once.
    most: u64,
}

impl RankGas {
    fn of(request: &Request) -> Self {
        // Up to 16 seats are shuffled (`protocol::sortition`).
        if request.seat_count > 16 {
            Self { expected: 7_000, most: 40_000 }
        } else {
            Self { expected: 5_000, most: 8_000 }
        }
    }
}

/// Gas of one answer at most:
///
/// ```text
/// work    = 120,000 + 40·|output| + (1 + holes)·(n > 16 ? 40,000 : 8,000) + callback + 20,000
/// reserve = ⌈callback/63⌉
/// ```
///
/// 120,000 covers the checks, the signature, the status word and the event of an answer alone; in a batch 60,000 do,
/// because the coordinator's own words are warm after the first. 40 a byte are the hash, the log and the copies of the
/// output; each hole costs a cold seat and a rank; 20,000 go around a callback, where there is one.
pub(crate) fn item(answer: &Attested, assignment: &SeatAssignment, in_batch: bool) -> GasItem {
    let rank = RankGas::of(&answer.task.request).most;
    let callback = u64::from(answer.task.request.callback_gas_limit);
    let checks = if in_batch { 60_000 } else { 120_000 };
    let work = checks + 40 * answer.output.len() as u64 + rank * (1 + assignment.holes.len() as u64);
    let delivery = if callback == 0 { 0 } else { callback + 20_000 };
    GasItem { work: work + delivery, reserve: callback.div_ceil(63) }
}

/// Gas limit of answers: `21,000 + max(floor, calldata + Σ work + max reserve)`, and 60,000 more for a batch, whose
/// first answer finds nothing warm.
pub(crate) fn answers(items: &[GasItem], data: &[u8]) -> u64 {
    let (usual, floor) = calldata(data);
    let work: u64 = items.iter().map(|item| item.work).sum();
    let reserve = items.iter().map(|item| item.reserve).max().unwrap_or(0);
    let first = if items.len() > 1 { 60_000 } else { 0 };
    (TRANSACTION + floor).max(TRANSACTION + usual + first + work + reserve).min(TRANSACTION_CAP)
}

/// Gas limit of a claim of `items`: 60,000 each cover the result's hash, the status word and two balances.
pub(crate) fn claim(items: usize, data: &[u8]) -> u64 {
    let (usual, floor) = calldata(data);
    (TRANSACTION + floor).max(TRANSACTION + usual + 30_000 + 60_000 * items as u64).min(TRANSACTION_CAP)
}

/// Expected use of a transaction, rather more than less, to tell whether it pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) gas: u64,
    /// Length of the signed transaction.
    pub(crate) bytes: u64,
}

/// Use of an answer alone, with all the gas that its callback may use, and its part of a claim:
///
/// ```text
/// gas   = 75,000 + 40·|output| + (1 + holes)·rank + callback + 20,000 + claim
/// bytes = 800 + |output| + 32·holes + claim
/// ```
///
/// It has the shape of the gas limit ([`item`]), with what was measured in place of what is possible at most.
pub(crate) fn expected(request: &Request, assignment: &SeatAssignment, output: usize) -> Expected {
    const ANSWER: u64 = 75_000;
    let (claim, output, holes) = (expected_claim(), output as u64, assignment.holes.len() as u64);
    let callback = match request.callback_gas_limit {
        0 => 0,
        limit => u64::from(limit) + 20_000,
    };
    let ranks = (1 + holes) * RankGas::of(request).expected;
    Expected {
        gas: ANSWER + ranks + callback + 40 * output + claim.gas,
        bytes: 800 + output + 32 * holes + claim.bytes,
    }
}

/// Use of one item of a claim.
pub(crate) fn expected_claim() -> Expected {
    Expected { gas: 35_000, bytes: 480 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_calldata_is_bound_by_its_floor() {
        let data = vec![1u8; 100_000];
        assert_eq!(claim(1, &data), 21_000 + 4_000_000);
    }

    #[test]
    fn the_expected_gas_of_an_answer_grows_with_the_holes_that_it_lists() {
        let request = |seat_count| Request { seat_count, ..crate::testing::request(0, 1) };
        let assignment = |holes| SeatAssignment { seat: 0, rank: 0, eligible: 1, holes: vec![0; holes] };
        let expected = |seats, holes| expected(&request(seats), &assignment(holes), 0);
        assert_eq!(expected(1, 0), Expected { gas: 115_000, bytes: 1_280 });
        assert_eq!(expected(16, 3), Expected { gas: 115_000 + 3 * 5_000, bytes: 1_280 + 3 * 32 });
        // A rank among more seats is a Feistel network's.
        assert_eq!(expected(17, 0), Expected { gas: 117_000, bytes: 1_280 });
        // Measured with 128 holes: 880,862 gas for the answer alone, 47,700 without them.
        let measured = 880_862 - 47_700;
        let holes = expected(200, 128).gas - expected(200, 0).gas;
        assert!((measured..measured * 5 / 4).contains(&holes), "{holes}");
    }

    #[test]
    fn the_gas_limit_covers_what_is_expected() {
        for (seats, holes) in [(1, 0), (16, 15), (17, 16), (1_000, 128)] {
            let request = Request { seat_count: seats, callback_gas_limit: 50_000, ..crate::testing::request(0, 1) };
            let task = crate::domain::Task { id: Default::default(), block: crate::testing::block(1), request };
            let executed = crate::domain::Seen { task }.executed(crate::protocol::Outcome::Ok, vec![1; 500].into(), 0);
            let answer = executed.attested(crate::protocol::statement::CompactSignature {
                r: Default::default(),
                vs: Default::default(),
            });
            let assignment = SeatAssignment { seat: 0, rank: 0, eligible: 1, holes: vec![0; holes] };
            let limit = answers(&[item(&answer, &assignment, false)], &[]);
            let expected = expected(&answer.task.request, &assignment, answer.output.len()).gas - expected_claim().gas;
            assert!(limit > expected, "{seats} seats, {holes} holes: {limit} < {expected}");
        }
    }

    #[test]
    fn no_limit_passes_the_cap_of_a_transaction() {
        assert_eq!(claim(10_000, &[]), TRANSACTION_CAP);
    }

    #[test]
    fn a_batch_reserves_for_its_greatest_callback_only() {
        let items = [GasItem { work: 100, reserve: 7 }, GasItem { work: 200, reserve: 9 }];
        assert_eq!(answers(&items, &[]), 21_000 + 60_000 + 300 + 9);
        assert_eq!(answers(&items[..1], &[1, 0]), 21_000 + 20 + 107);
    }
}
