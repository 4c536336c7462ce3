//! Gas limits by formula; the simulation checks them.

use crate::{
    domain::{Attested, SeatAssignment},
    protocol::request::Request,
};

/// What a transaction may use at most (EIP-7825).
pub(crate) const TRANSACTION_CAP: u64 = 1 << 24;

const TRANSACTION: u64 = 21_000;

/// What calldata costs: 4 gas per zero byte and 16 per other byte, and with the floor of EIP-7623 at least 10 and 40 in
/// a transaction that does little else. Returns (usual, floor).
fn calldata(data: &[u8]) -> (u64, u64) {
    let zeros = data.iter().filter(|byte| **byte == 0).count() as u64;
    let others = data.len() as u64 - zeros;
    (4 * zeros + 16 * others, 10 * zeros + 40 * others)
}

/// What one answer adds to its transaction beside its calldata.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct GasItem {
    /// The contract's own work and the callback.
    pub(crate) work: u64,
    /// What the callback must find at hand beyond that and does not use: by EIP-150 a call leaves a 64th behind.
    pub(crate) reserve: u64,
}

/// The gas of one answer:
///
/// ```text
/// work    = 120,000 + 40·|output| + (1 + holes)·(n > 16 ? 40,000 : 8,000) + callback + 20,000
/// reserve = ⌈callback/63⌉
/// ```
///
/// 120,000 covers the checks, the signature, the status word and the event of an answer alone; in a batch 60,000 do,
/// because the coordinator's own words are warm after the first. 40 a byte are the hash, the log and the copies of the
/// output; each hole costs a cold seat and a rank; 20,000 go around a callback, where there is one.
pub(crate) fn item(answer: &Attested, place: &SeatAssignment, in_batch: bool) -> GasItem {
    let rank = if answer.task.request.seat_count > 16 { 40_000 } else { 8_000 };
    let callback = u64::from(answer.task.request.callback_gas_limit);
    let checks = if in_batch { 60_000 } else { 120_000 };
    let work = checks + 40 * answer.output.len() as u64 + rank * (1 + place.holes.len() as u64);
    let delivery = if callback == 0 { 0 } else { callback + 20_000 };
    GasItem { work: work + delivery, reserve: callback.div_ceil(63) }
}

/// The gas limit of answers: `21,000 + max(floor, calldata + Σ work + max reserve)`, and 60,000 more for a batch, whose
/// first answer finds nothing warm.
pub(crate) fn answers(items: &[GasItem], data: &[u8]) -> u64 {
    let (usual, floor) = calldata(data);
    let work: u64 = items.iter().map(|item| item.work).sum();
    let reserve = items.iter().map(|item| item.reserve).max().unwrap_or(0);
    let first = if items.len() > 1 { 60_000 } else { 0 };
    (TRANSACTION + floor).max(TRANSACTION + usual + first + work + reserve).min(TRANSACTION_CAP)
}

/// The gas limit of a claim of `items`: 60,000 each cover the result's hash, the status word and two balances.
pub(crate) fn claim(items: usize, data: &[u8]) -> u64 {
    let (usual, floor) = calldata(data);
    (TRANSACTION + floor).max(TRANSACTION + usual + 30_000 + 60_000 * items as u64).min(TRANSACTION_CAP)
}

/// What a transaction is expected to use, rather more than less, to tell whether it pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) gas: u64,
    /// Its length.
    pub(crate) bytes: u64,
}

/// An answer alone, with all the gas that its callback may use, and its part of a claim.
pub(crate) fn expected(request: &Request, output: usize) -> Expected {
    const ANSWER: u64 = 80_000;
    let (claim, output) = (expected_claim(), output as u64);
    let callback = match request.callback_gas_limit {
        0 => 0,
        limit => u64::from(limit) + 20_000,
    };
    Expected { gas: ANSWER + callback + 40 * output + claim.gas, bytes: 800 + output + claim.bytes }
}

/// One item of a claim.
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
