//! The seats of the models we serve, as the coordinator holds them now, and where ours stand in a request's draw.

use std::collections::HashMap;

use alloy::primitives::{Address, B256};

use super::{SeatAssignment, Task};
use crate::protocol::sortition::{Draw, Seat, first_elapsed, seed};

/// `until` of a seat that is not leaving.
pub const STAYS: u64 = (1 << 48) - 1;

/// Change of a seat by an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeatChange {
    /// The seat has this key, and may answer requests from this block on.
    Keyed {
        /// Address of the key.
        signer: Address,
        /// First block whose requests it may answer.
        from: u64,
    },
    /// The seat lost its key, or is free.
    Emptied,
    /// The seat leaves.
    Leaves {
        /// First block whose requests it may not answer any more.
        until: u64,
    },
}

/// Parameters of a version, as far as the node needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Blocks that each further rank waits.
    pub window: u16,
    /// Blocks from an answer until it is paid.
    pub vesting: u32,
}

/// Seats by model, and the rules of the parameter versions.
#[derive(Debug, Default)]
pub struct SeatTable {
    models: HashMap<B256, Vec<Seat>>,
    rules: HashMap<u16, Rules>,
}

impl SeatTable {
    /// Replaces the seats of a model.
    pub fn load(&mut self, model: B256, seats: Vec<Seat>) {
        self.models.insert(model, seats);
    }

    /// Applies an event. Events of models that are not loaded are ignored.
    pub fn change(&mut self, model: B256, index: u32, change: SeatChange) {
        let Some(seats) = self.models.get_mut(&model) else { return };
        let index = index as usize;
        if seats.len() <= index {
            seats.resize(index + 1, Seat::default());
        }
        let seat = &mut seats[index];
        match change {
            SeatChange::Keyed { signer, from } => *seat = Seat { signer, from, until: STAYS },
            SeatChange::Emptied => seat.signer = Address::ZERO,
            SeatChange::Leaves { until } => seat.until = until,
        }
    }

    /// Drops the seats of a model from an index on: nobody holds them any more. To requests that were made before they are
    /// holes, whoever takes them anew.
    pub fn trim(&mut self, model: B256, seat_count: u32) {
        if let Some(seats) = self.models.get_mut(&model) {
            seats.truncate(seat_count as usize);
        }
    }

    /// Tells whether the seats of a model are loaded, which is to say, its requests taken in.
    #[must_use]
    pub fn serves(&self, model: B256) -> bool {
        self.models.contains_key(&model)
    }

    /// Sets the rules of a parameter version.
    pub fn set_rules(&mut self, version: u16, rules: Rules) {
        self.rules.insert(version, rules);
    }

    /// Returns the rules of a parameter version.
    #[must_use]
    pub fn rules(&self, version: u16) -> Option<Rules> {
        self.rules.get(&version).copied()
    }

    /// Ids of the models that are loaded.
    #[must_use]
    pub fn models(&self) -> Vec<B256> {
        self.models.keys().copied().collect()
    }

    /// Number of seats that a key holds on a model.
    #[must_use]
    pub fn held(&self, model: B256, signer: Address) -> usize {
        self.models.get(&model).map_or(0, |seats| seats.iter().filter(|seat| seat.signer == signer).count())
    }

    /// Tells whether a seat is a key's now, and was when a request was made: indices of seats are given out again.
    #[must_use]
    pub fn is_held(&self, model: B256, index: u32, signer: Address, request_block: u64) -> bool {
        let seat = self.models.get(&model).and_then(|seats| seats.get(index as usize));
        seat.is_some_and(|seat| seat.signer == signer && seat.from <= request_block)
    }

    /// The seat of lowest rank that a key has in a request's draw, with every hole before it listed. `None` if it has none.
    #[must_use]
    pub fn assignment(&self, task: &Task, signer: Address) -> Option<SeatAssignment> {
        let seats = self.models.get(&task.request.model_id)?;
        let count = task.request.seat_count as usize;
        let mut drawn: Vec<Seat> = seats.iter().take(count).copied().collect();
        drawn.resize(count, Seat::default());
        let draw = Draw::new(seed(task.block.hash, task.id), &drawn, task.request.request_block);
        let (rank, seat) = (0u32..).zip(draw.eligible()).find(|(_, seat)| drawn[*seat as usize].signer == signer)?;
        // With every hole listed the answer is valid from the first block that its rank allows.
        let holes = draw.holes(seat, u64::from(rank) + 1)?;
        let eligible = u32::try_from(draw.eligible().count()).unwrap_or(u32::MAX);
        Some(SeatAssignment { seat, rank, eligible, holes })
    }
}

impl SeatAssignment {
    /// The highest position among an answer's signers that this rank can come to, which pays least: 0 where the quorum is
    /// 1. Seats of lower rank that stay silent move it down.
    #[must_use]
    pub fn position(&self, quorum: u8) -> u8 {
        u8::try_from(self.rank).unwrap_or(u8::MAX).min(quorum.saturating_sub(1))
    }
}

/// Turns of a seat to answer, in blocks after the request's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    rank: u32,
    eligible: u32,
    quorum: u8,
    window: u16,
}

impl Turn {
    /// Makes the turns of a seat.
    #[must_use]
    pub fn new(assignment: &SeatAssignment, quorum: u8, window: u16) -> Self {
        Self {
            rank: assignment.rank,
            eligible: assignment.eligible.max(1),
            quorum: quorum.max(1),
            window: window.max(1),
        }
    }

    /// First `elapsed` in which the seat's answer is valid.
    #[must_use]
    pub fn opens(&self) -> u64 {
        first_elapsed(self.rank, self.quorum, self.window)
    }

    /// Tells whether it is this seat's turn to answer in block `request_block + elapsed`.
    ///
    /// Several ranks become valid in later windows; so that two honest nodes do not answer at once, they take turns
    /// block by block: in the window in which ranks up to `k` are valid, the newest goes first, and the older ones
    /// (which kept silent when it was theirs) follow in descending order, round and round.
    #[must_use]
    pub fn is_at(&self, elapsed: u64) -> bool {
        let Some(later) = elapsed.checked_sub(1) else { return false };
        let window = u64::from(self.window);
        let quorum = u64::from(self.quorum);
        // Groups of `quorum` ranks become valid together.
        let (group, groups) = (u64::from(self.rank) / quorum, u64::from(self.eligible).div_ceil(quorum));
        let newest = (later / window).min(groups - 1);
        if group > newest {
            return false;
        }
        if newest == 0 {
            return true;
        }
        let since = later - newest * window;
        newest - since % (newest + 1) == group
    }

    /// First `elapsed` at or after the given one in which it is this seat's turn.
    #[must_use]
    pub fn next(&self, elapsed: u64) -> u64 {
        let from = elapsed.max(self.opens());
        let round = u64::from(self.eligible) + 1;
        // Within one round of the widest circle every group has its turn, once all windows are open.
        let last = first_elapsed(self.eligible, self.quorum, self.window).max(from) + round;
        (from..=last).find(|elapsed| self.is_at(*elapsed)).unwrap_or(last)
    }
}

#[cfg(test)]
mod tests;
