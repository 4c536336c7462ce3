//! Order in which seats may answer: a permutation, keyed by the hash of the request's block.

use alloy::primitives::{Address, B256, U256, keccak256};
use serde::{Deserialize, Serialize};

/// A seat as the sortition sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seat {
    /// Address of the key that answers for the seat; zero if there is none.
    pub signer: Address,
    /// The first block whose requests it may answer.
    pub from: u64,
    /// The first block whose requests it may no longer answer.
    pub until: u64,
}

impl Seat {
    /// Tells whether the seat may answer a request made in `request_block`.
    pub fn is_eligible(&self, request_block: u64) -> bool {
        !self.signer.is_zero() && self.from <= request_block && request_block < self.until
    }
}

/// The key of a request's permutation: `keccak256(blockHash ‖ requestId)`.
pub fn seed(block_hash: B256, request_id: B256) -> B256 {
    keccak256([block_hash.0, request_id.0].concat())
}

/// The rank of seat `seat` of `n`, holes included: a permutation of `[0, n)`. `None` unless `seat < n`.
///
/// Up to 16 seats, a Fisher–Yates shuffle; beyond, a Feistel network with cycle walking (`docs/protocol.md`).
pub fn rank(seed: B256, n: u32, seat: u32) -> Option<u32> {
    if seat >= n {
        None
    } else if n <= 16 {
        Some(shuffle(seed, n, seat))
    } else {
        Some(feistel(seed, n, seat))
    }
}

fn shuffle(seed: B256, n: u32, seat: u32) -> u32 {
    let mut x = seat;
    for i in (1..n).rev() {
        // Limb i − 1 of sixteen bits, the lowest first.
        let at = 32 - 2 * i as usize;
        let j = u32::from(u16::from_be_bytes([seed[at], seed[at + 1]])) % (i + 1);
        if x == i {
            x = j;
        } else if x == j {
            x = i;
        }
    }
    x
}

fn feistel(seed: B256, n: u32, seat: u32) -> u32 {
    let bits = 32 - (n - 1).leading_zeros();
    let a = 1u64 << bits.div_ceil(2);
    let n = u64::from(n);
    let b = n.div_ceil(a);
    let mut preimage = [0u8; 64];
    preimage[..32].copy_from_slice(seed.as_slice());
    let mut f = |round: u64, value: u64| {
        preimage[32..].copy_from_slice(&U256::from(round << 32 | value).to_be_bytes::<32>());
        let hash = keccak256(preimage);
        u128::from(u64::from_be_bytes(std::array::from_fn(|i| hash[24 + i])))
    };
    let mut x = u64::from(seat);
    loop {
        let (mut l, mut r) = (x / b, x % b);
        for round in 0..12 {
            if round % 2 == 0 {
                l = ((u128::from(l) + f(round, r)) % u128::from(a)) as u64;
            } else {
                r = ((u128::from(r) + f(round, l)) % u128::from(b)) as u64;
            }
        }
        x = l * b + r;
        if x < n {
            return x as u32;
        }
    }
}

/// The ranks below this may answer in block `request_block + elapsed`: `quorum · (1 + (elapsed − 1) div window)`.
/// Nobody may in the request's own block.
pub fn allowed_ranks(elapsed: u64, quorum: u8, window: u16) -> u64 {
    match elapsed.checked_sub(1) {
        Some(later) => u64::from(quorum).saturating_mul(1 + later / u64::from(window.max(1))),
        None => 0,
    }
}

/// The first `elapsed` with `rank < allowed_ranks(elapsed, quorum, window)`.
pub fn first_elapsed(rank: u32, quorum: u8, window: u16) -> u64 {
    1 + u64::from(window.max(1)) * (u64::from(rank) / u64::from(quorum.max(1)))
}

/// The seats of one request in the order of their ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// By rank: the seat, and whether it is eligible.
    order: Vec<(u32, bool)>,
}

impl Draw {
    /// Draws the seats of a request made in `request_block`; seat i is `seats[i]`, and there are as many as the
    /// request's `seat_count`.
    pub fn new(seed: B256, seats: &[Seat], request_block: u64) -> Self {
        let n = seats.len() as u32;
        let mut order = vec![(0, false); seats.len()];
        for (index, seat) in seats.iter().enumerate() {
            let index = index as u32;
            if let Some(place) = rank(seed, n, index).and_then(|rank| order.get_mut(rank as usize)) {
                *place = (index, seat.is_eligible(request_block));
            }
        }
        Self { order }
    }

    /// The eligible seats, ascending by rank.
    pub fn eligible(&self) -> impl Iterator<Item = u32> {
        self.order.iter().filter(|(_, eligible)| *eligible).map(|(seat, _)| *seat)
    }

    /// The rank of an eligible seat among the eligible.
    pub fn eligible_rank(&self, seat: u32) -> Option<u32> {
        self.eligible().position(|other| other == seat).map(|rank| rank as u32)
    }

    /// The first `elapsed` at which a seat may answer; `None` if it is not eligible.
    pub fn first_elapsed(&self, seat: u32, quorum: u8, window: u16) -> Option<u64> {
        self.eligible_rank(seat).map(|rank| first_elapsed(rank, quorum, window))
    }

    /// The holes that must be listed for a seat to be within `allowed` ranks: the fewest that do, ascending by rank.
    /// `None` if no list makes the seat's answer valid.
    pub fn holes(&self, seat: u32, allowed: u64) -> Option<Vec<u32>> {
        let rank = self.order.iter().position(|(other, eligible)| *other == seat && *eligible)?;
        let needed = (rank as u64 + 1).saturating_sub(allowed) as usize;
        let holes = self.order[..rank].iter().filter(|(_, eligible)| !eligible).map(|(seat, _)| *seat);
        let holes: Vec<_> = holes.take(needed).collect();
        (holes.len() == needed).then_some(holes)
    }
}

#[cfg(test)]
mod tests;
