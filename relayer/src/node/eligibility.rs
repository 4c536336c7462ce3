//! Whether a request is this node's to answer, and whether that pays: decided here and nowhere else.
//!
//! | asked | by | with |
//! |---|---|---|
//! | when a request appears, or is open again | watcher | [`Node::passes_over`]: what no draw and no price of gas changes |
//! | before the model runs, and before an answer is sent | executor, submitter | [`Node::eligibility`] |
//! | while a transaction waits | transactions | [`is_in_time`] |
//! | before pay is claimed | claimer, submitter | [`Node::pays_to_claim`] |

use alloy::primitives::Bytes;

use super::Node;
use crate::{
    domain::{Claim, SeatAssignment, Skip, Task, Turn},
    journal::Journal,
    policy::{PriceTerms, Profitability},
    pricing::gas,
    protocol::{
        payout,
        request::{InputKind, Level, Request},
    },
};

/// Answer to whether this node answers a task in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Eligibility {
    /// The node answers, from this seat.
    Now(SeatAssignment),
    /// The node answers in this block at the earliest: until then it is the turn of other seats.
    From(u64),
    /// The answer does not pay at the present price of gas, which may fall before the deadline.
    AwaitsCheaperGas {
        /// Pay of the request to this node, wei.
        pays: u128,
        /// Pay that would be enough now, wei.
        asks: u128,
    },
    /// The node does not answer, and will not.
    Never(Skip),
}

/// Tells whether an answer that is mined in block `next` at the earliest is not too late.
#[must_use]
pub fn is_in_time(request: &Request, next: u64) -> bool {
    next <= request.deadline()
}

impl<C, J: Journal> Node<C, J> {
    /// Reason for which this node never answers a request, whoever is drawn and whatever gas costs; `None` if it may.
    #[must_use]
    pub fn passes_over(&self, request: &Request) -> Option<Skip> {
        let not_offered = |what: &str| Some(Skip::NotOffered { what: what.into() });
        if request.input_kind != InputKind::Inline {
            return not_offered("an input that is not inline");
        }
        if request.level != Level::Fast {
            return not_offered("a level other than `Fast`");
        }
        if request.quorum != 1 {
            return not_offered("a quorum above 1");
        }
        if !request.token.is_zero() {
            return not_offered("pay in a token");
        }
        // The first position gets the most.
        let (pays, asks) = (payout::share(request, 0), self.policy.borrow().terms(request.model_id).min_pay);
        (pays < asks).then_some(Skip::Unprofitable { pays, asks })
    }

    /// Decides whether this node answers a task with `output` bytes in block `next`: first whether one of its seats may, then
    /// whether that pays. A task whose deadline passed is told apart from one that never paid.
    #[must_use]
    pub fn eligibility(&self, task: &Task, next: u64, output: usize) -> Eligibility {
        let request = &task.request;
        let in_time = is_in_time(request, next);
        let expired = Skip::Expired { deadline: request.deadline() };
        let (assignment, rules) = {
            let seats = self.seats();
            (seats.assignment(task, self.signer), seats.rules(request.version))
        };
        let (Some(assignment), Some(rules)) = (assignment, rules) else {
            return Eligibility::Never(if in_time { Skip::NoSeat } else { expired });
        };
        let turn = Turn::new(&assignment, request.quorum, rules.window);
        let elapsed = next.saturating_sub(request.request_block);
        if in_time && !turn.is_at(elapsed) {
            let from = request.request_block + turn.next(elapsed);
            return if is_in_time(request, from) { Eligibility::From(from) } else { Eligibility::Never(Skip::NoSeat) };
        }
        let pays = payout::share(request, assignment.position(request.quorum));
        match self.profitability(request, &assignment, output) {
            Profitability::Worth if in_time => Eligibility::Now(assignment),
            Profitability::Worth => Eligibility::Never(expired),
            Profitability::NotNow { asks } if in_time => Eligibility::AwaitsCheaperGas { pays, asks },
            Profitability::NotNow { asks } | Profitability::Never { asks } => {
                Eligibility::Never(Skip::Unprofitable { pays, asks })
            }
        }
    }

    /// Index of the seat from which this node answers a task; `None` if no seat of its key may.
    #[must_use]
    pub fn seat_for(&self, task: &Task) -> Option<u32> {
        self.seats().assignment(task, self.signer).map(|assignment| assignment.seat)
    }

    fn profitability(&self, request: &Request, assignment: &SeatAssignment, output: usize) -> Profitability {
        match *self.price.borrow() {
            Some(price) => self.policy.borrow().judge(request, assignment, output, price),
            None => Profitability::Worth,
        }
    }

    /// Tells whether nobody else's answer to a task is valid up to block `next` (inclusive): this node's seat is the only
    /// eligible one, or has the first rank in the window that is its own.
    #[must_use]
    pub fn is_uncontested(&self, task: &Task, assignment: &SeatAssignment, next: u64) -> bool {
        let request = &task.request;
        let Some(rules) = self.seats().rules(request.version) else { return false };
        let later = next.saturating_sub(request.request_block + 1);
        assignment.eligible <= 1 || (assignment.rank == 0 && request.quorum == 1 && later < u64::from(rules.window))
    }

    /// Positions of this node's seats among the signers of an answer; `seats` has 4 bytes for each, ascending by rank.
    fn own_positions(&self, request: &Request, seats: &Bytes) -> Vec<u8> {
        let table = self.seats();
        let (indices, _) = seats.as_chunks::<4>();
        let own = (0u8..).zip(indices).filter(|(_, index)| {
            table.is_held(request.model_id, u32::from_be_bytes(**index), self.signer, request.request_block)
        });
        own.map(|(position, _)| position).collect()
    }

    /// Tells whether a seat of this node is among the signers of an answer; `seats` has 4 bytes for each.
    #[must_use]
    pub fn has_signed(&self, request: &Request, seats: &Bytes) -> bool {
        !self.own_positions(request, seats).is_empty()
    }

    /// Pay of this node for an answer that it signed, wei. Where the seat table does not tell any more which of `seats`
    /// was its own, as after a change of keys, that of the last position.
    #[must_use]
    pub fn pay(&self, request: &Request, seats: &Bytes) -> u128 {
        let positions = self.own_positions(request, seats);
        if positions.is_empty() {
            return payout::share(request, request.quorum.saturating_sub(1));
        }
        positions.into_iter().map(|position| payout::share(request, position)).sum()
    }

    /// Tells whether the pay for an answer exceeds what collecting it costs now, with the margin of the model. If not, it waits
    /// for cheaper gas: vested pay does not expire.
    #[must_use]
    pub fn pays_to_claim(&self, claim: &Claim) -> bool {
        let Some(price) = *self.price.borrow() else { return true };
        let terms = self.policy.borrow().terms(claim.request.model_id);
        self.pay(&claim.request, &claim.seats) >= PriceTerms { min_pay: 0, ..terms }.asks(gas::expected_claim(), price)
    }
}

#[cfg(test)]
mod tests;
