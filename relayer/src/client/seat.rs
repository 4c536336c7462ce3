//! One seat: what it does, making it live, and freeing it.

use std::fmt;

use alloy::{
    primitives::{Address, B256, U256},
    providers::Provider,
};
use serde::Serialize;
use tokio::time::{Duration, Instant, sleep};

use super::{Account, AccountError, Client};
use crate::coordinator::abi::InferenceCoordinator as Coordinator;

/// The `until` of a seat that is not leaving.
const NOT_LEAVING: u64 = (1 << 48) - 1;
/// The pause between two readings of the head.
const HEAD_POLL: Duration = Duration::from_secs(1);
/// After so long without a block, the waiting is told of as stalled.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// A seat, as the coordinator has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seat {
    /// The id of the model.
    pub model: B256,
    /// The seat's number on the model.
    pub index: u32,
    /// The account that owns it; zero if nobody does.
    pub owner: Address,
    /// The key that signs for it; zero if the key was revoked.
    pub signer: Address,
    /// The first block whose requests it answers.
    pub from: u64,
    /// The first block whose requests it does not answer any more.
    pub until: u64,
    /// Whether the model counts it among its live seats, of which a request needs at least as many as signers.
    pub live: bool,
    /// The bond, wei.
    #[serde(rename = "bondWei", serialize_with = "decimal")]
    pub bond: U256,
}

/// What a seat does now. The display is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatState {
    /// Answers no request from a block on.
    Leaving {
        /// The first block whose requests it does not answer.
        until: u64,
    },
    /// Has no key.
    Revoked,
    /// Has a key that is not the node's present one.
    OldKey {
        /// Whether it is live.
        live: bool,
        /// The key that it has.
        signer: Address,
    },
    /// Answers requests with the present key.
    Live,
    /// Waits for its activation delay.
    Activating {
        /// The first block in which it can be made live.
        from: u64,
    },
    /// Can be made live.
    NotLive,
}

impl fmt::Display for SeatState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaving { until } => write!(f, "leaving, answers no request from block {until} on"),
            Self::Revoked => write!(f, "revoked; `oraculum node join` gives it the present key"),
            Self::OldKey { live, signer } => {
                let live = if *live { "live" } else { "not live" };
                write!(f, "{live}, with the old key {signer}; `oraculum node join` gives it the present one")
            }
            Self::Live => write!(f, "live"),
            Self::Activating { from } => write!(f, "waits for block {from}"),
            Self::NotLive => write!(f, "not live; `oraculum node join` makes it so"),
        }
    }
}

impl Seat {
    /// Reads a seat.
    ///
    /// # Errors
    /// `AccountError`: the chain's or the coordinator's.
    pub async fn read(client: &Client, coordinator: Address, model: B256, index: u32) -> Result<Self, AccountError> {
        let seat = client.read(coordinator, &Coordinator::seatCall { modelId: model, index }).await?;
        let holder = client.read(coordinator, &Coordinator::seatHolderCall { modelId: model, index }).await?;
        Ok(Self {
            model,
            index,
            owner: holder.owner,
            signer: seat.signer,
            from: seat.from.to(),
            until: seat.until.to(),
            live: holder.live,
            bond: holder.bond,
        })
    }

    /// Whether its owner announced that it leaves.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.until != NOT_LEAVING
    }

    /// Whether it is drawn for the requests of a block, live or not.
    #[must_use]
    pub fn is_drawn(&self, block: u64) -> bool {
        !self.signer.is_zero() && self.from <= block && block < self.until
    }

    /// What it does at a head, where `signer` is the node's present key.
    #[must_use]
    pub fn state(&self, head: u64, signer: Address) -> SeatState {
        if self.is_leaving() {
            SeatState::Leaving { until: self.until }
        } else if self.signer.is_zero() {
            SeatState::Revoked
        } else if self.signer != signer {
            SeatState::OldKey { live: self.live, signer: self.signer }
        } else if self.live {
            SeatState::Live
        } else if head < self.from {
            SeatState::Activating { from: self.from }
        } else {
            SeatState::NotLive
        }
    }
}

fn decimal<S: serde::Serializer>(value: &U256, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// What the waiting for a seat's activation delay is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivationWait {
    /// The seat's number on its model.
    pub index: u32,
    /// The block that is waited for.
    pub from: u64,
    /// The last block.
    pub head: u64,
    /// Whether there was no new block for a while; false when the waiting begins.
    pub stalled: bool,
}

/// Waits for a seat's activation delay, and makes it live. `on_wait` hears when the waiting begins, and whenever it stalls.
///
/// # Errors
/// `AccountError`: the chain's or the coordinator's.
pub async fn activate_seat(
    owner: &Account,
    coordinator: Address,
    model: B256,
    index: u32,
    mut on_wait: impl FnMut(ActivationWait),
) -> Result<(), AccountError> {
    let client = owner.client();
    let seat = Seat::read(client, coordinator, model, index).await?;
    if seat.live {
        return Ok(());
    }
    let mut last = None;
    loop {
        let head = client.ask(client.provider().get_block_number()).await?;
        // The transaction is mined in the next block at the earliest.
        if head + 1 >= seat.from {
            break;
        }
        let wait = ActivationWait { index, from: seat.from, head, stalled: false };
        let (known, since) = *last.get_or_insert_with(|| {
            on_wait(wait);
            (head, Instant::now())
        });
        if head != known {
            last = Some((head, Instant::now()));
        } else if since.elapsed() > STALLED_AFTER {
            on_wait(ActivationWait { stalled: true, ..wait });
            last = Some((head, Instant::now()));
        }
        sleep(HEAD_POLL).await;
    }
    owner.call(coordinator, &Coordinator::activateSeatCall { modelId: model, index }, U256::ZERO).await?;
    Ok(())
}

/// Frees a seat that has left, and credits its bond to the owner's balance in the coordinator.
///
/// # Errors
/// `AccountError`: the chain's or the coordinator's, such as that the exit delay has not passed.
pub async fn release_seat(owner: &Account, coordinator: Address, seat: &Seat) -> Result<(), AccountError> {
    let call = Coordinator::releaseSeatCall { modelId: seat.model, index: seat.index };
    owner.call(coordinator, &call, U256::ZERO).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_tells_what_it_does_now() {
        let key = Address::repeat_byte(1);
        let waiting = Seat {
            model: B256::ZERO,
            index: 0,
            owner: Address::repeat_byte(2),
            signer: key,
            from: 10,
            until: NOT_LEAVING,
            live: false,
            bond: U256::ZERO,
        };
        assert_eq!(waiting.state(9, key), SeatState::Activating { from: 10 });
        assert_eq!(waiting.state(10, key), SeatState::NotLive);
        assert!(!waiting.is_drawn(9) && waiting.is_drawn(10), "a seat is drawn before it is made live");
        let live = Seat { live: true, ..waiting };
        assert_eq!(live.state(10, key), SeatState::Live);
        let old = live.state(10, Address::repeat_byte(3));
        assert_eq!(old, SeatState::OldKey { live: true, signer: key });
        assert!(old.to_string().starts_with("live, with the old key 0x0101"), "{old}");
        let revoked = Seat { signer: Address::ZERO, ..live.clone() };
        assert_eq!(revoked.state(10, key), SeatState::Revoked);
        assert!(!revoked.is_drawn(10) && !Seat { until: 20, ..live.clone() }.is_drawn(20));
        assert_eq!(Seat { until: 20, ..live }.state(10, key), SeatState::Leaving { until: 20 });
    }
}
