//! Gas limits by formula; the simulation checks them.

use crate::lifecycle::{Attested, Place};

/// What a transaction may use at most (EIP-7825).
pub(super) const TRANSACTION_CAP: u64 = 1 << 24;

const TRANSACTION: u64 = 21_000;

/// What calldata costs: 4 gas per zero byte and 16 per other byte, and with the floor of EIP-7623 at least 10 and 40 in
/// a transaction that does little else. Returns (usual, floor).
fn calldata(data: &[u8]) -> (u64, u64) {
    let zeros = data.iter().filter(|byte| **byte == 0).count() as u64;
    let others = data.len() as u64 - zeros;
    (4 * zeros + 16 * others, 10 * zeros + 40 * others)
}

/// The gas limit of an answer.
///
/// ```text
/// max(21,000 + floor, 21,000 + calldata + 120,000 + 40·|output| + holes·(n > 16 ? 40,000 : 8,000)
///     + ⌈callback·64/63⌉ + 20,000)
/// ```
///
/// 120,000 covers the checks, the signature, the status word and the event; 40 a byte the hash, the log and the copies of
/// the output; each hole costs a cold seat and a rank. A call forwards at most 63/64 of the gas left (EIP-150).
pub(super) fn answer(answer: &Attested, place: &Place, data: &[u8]) -> u64 {
    let (usual, floor) = calldata(data);
    let rank = if answer.task.request.seat_count > 16 { 40_000 } else { 8_000 };
    let callback = u64::from(answer.task.request.callback_gas_limit);
    let work = 120_000 + 40 * answer.output.len() as u64 + rank * (1 + place.holes.len() as u64);
    let delivery = if callback == 0 { 0 } else { callback + callback.div_ceil(63) + 20_000 };
    (TRANSACTION + floor).max(TRANSACTION + usual + work + delivery).min(TRANSACTION_CAP)
}

/// The gas limit of a claim of `items`: 60,000 each cover the result's hash, the status word and two balances.
pub(super) fn claim(items: usize, data: &[u8]) -> u64 {
    let (usual, floor) = calldata(data);
    (TRANSACTION + floor).max(TRANSACTION + usual + 30_000 + 60_000 * items as u64).min(TRANSACTION_CAP)
}

/// The gas of a transaction that only fills its nonce.
pub(super) const CANCEL: u64 = TRANSACTION;

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
}
