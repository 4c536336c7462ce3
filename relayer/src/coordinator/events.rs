//! What the coordinator tells.

use alloy::{
    primitives::{B256, Bytes, keccak256},
    rpc::types::Log,
    sol_types::SolEventInterface,
};

use super::abi::{self, InferenceCoordinator::InferenceCoordinatorEvents as Events};
use crate::{
    chain::BlockRef,
    domain::{Rules, SeatChange},
    protocol::{
        Outcome,
        answer::Announced,
        request::{Request, RequestWords},
    },
};

/// A log of the coordinator that the relayer acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request is open.
    Requested {
        /// Its id.
        id: B256,
        /// The request.
        request: Box<Request>,
        /// Its input bytes.
        input: Bytes,
    },
    /// A request is answered.
    Fulfilled {
        /// Its id.
        id: B256,
        /// What was found.
        outcome: Outcome,
        /// The signers' seats, 4 bytes each.
        seats: Bytes,
        /// The output.
        output: Bytes,
    },
    /// A request's escrow went back.
    Refunded(B256),
    /// A request's callback failed.
    DeliveryFailed(B256),
    /// Answers were paid.
    Claimed(Vec<B256>),
    /// A seat changed.
    Seat {
        /// Its model.
        model: B256,
        /// Its index.
        index: u32,
        /// How.
        change: SeatChange,
    },
    /// The highest seats of a model were released.
    Trimmed {
        /// The model.
        model: B256,
        /// Number of indices that are left.
        seat_count: u32,
    },
    /// New parameters apply.
    Parameters {
        /// Their version.
        version: u16,
        /// What the node needs of them.
        rules: Rules,
    },
}

/// A log with the block that holds it.
#[derive(Debug, Clone)]
pub struct DecodedLog {
    /// The block.
    pub block: BlockRef,
    /// The transaction.
    pub transaction: Option<B256>,
    /// What happened.
    pub event: Event,
}

/// Reads a log. `None` for those that mean nothing to the relayer, those of a pending block, and those that cannot be
/// read, which a coordinator does not emit.
#[must_use]
pub fn decode_log(log: &Log) -> Option<DecodedLog> {
    let block = BlockRef { number: log.block_number?, hash: log.block_hash? };
    let event = match Events::decode_log(&log.inner).ok()?.data {
        Events::Requested(event) => Event::Requested {
            id: event.requestId,
            request: Box::new(Request::from_words(&words(&request(&event))).ok()?),
            input: event.input,
        },
        Events::Fulfilled(event) => {
            let Announced { outcome, seats, output } = Announced::decode(&event.answer).ok()?;
            Event::Fulfilled { id: event.requestId, outcome, seats, output }
        }
        Events::Refunded(event) => Event::Refunded(event.requestId),
        Events::DeliveryFailed(event) => Event::DeliveryFailed(event.requestId),
        Events::Claimed(event) => Event::Claimed(event.requestIds),
        Events::SeatJoined(event) => Event::Seat {
            model: event.modelId,
            index: event.index,
            change: SeatChange::Keyed { signer: event.signer, from: event.from.to() },
        },
        Events::SeatRekeyed(event) => Event::Seat {
            model: event.modelId,
            index: event.index,
            change: SeatChange::Keyed { signer: event.signer, from: event.from.to() },
        },
        Events::SeatRevoked(event) => {
            Event::Seat { model: event.modelId, index: event.index, change: SeatChange::Emptied }
        }
        Events::SeatReleased(event) => {
            Event::Seat { model: event.modelId, index: event.index, change: SeatChange::Emptied }
        }
        Events::SeatsTrimmed(event) => Event::Trimmed { model: event.modelId, seat_count: event.seatCount },
        Events::SeatLeft(event) => Event::Seat {
            model: event.modelId,
            index: event.index,
            change: SeatChange::Leaves { until: event.until.to() },
        },
        Events::ParametersApplied(event) => {
            Event::Parameters { version: event.version, rules: rules(&event.parameters) }
        }
        _ => return None,
    };
    Some(DecodedLog { block, transaction: log.transaction_hash, event })
}

/// What the node needs of parameters.
#[must_use]
pub fn rules(parameters: &abi::Parameters) -> Rules {
    Rules { window: parameters.window, vesting: parameters.vesting }
}

/// The words of a request, of which the event tells the input's hash by the input and the model by a topic.
#[must_use]
pub fn request(event: &abi::InferenceCoordinator::Requested) -> abi::Request {
    abi::Request {
        modelId: event.modelId,
        inputHash: keccak256(&event.input),
        origin: event.origin,
        escrow: event.escrow,
        payment: event.payment,
        terms: event.terms,
    }
}

/// The words of a request, as the protocol reads them.
#[must_use]
pub fn words(request: &abi::Request) -> RequestWords {
    [request.modelId, request.inputHash, request.origin, request.escrow, request.payment, request.terms]
}
