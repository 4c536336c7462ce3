//! The coordinator as the relayer meets it: its events as an enum, its calls as functions, its errors by name.

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    rpc::types::Log,
    sol_types::{SolCall, SolConstructor, SolEventInterface, SolInterface, SolValue},
};

use crate::{
    abi::{
        self,
        InferenceCoordinator::{self as Coordinator, InferenceCoordinatorErrors, InferenceCoordinatorEvents as Events},
    },
    chain::{At, BlockRef, Call, Chain, ChainError},
    journal::Claim,
    lifecycle::{Attested, Place},
    protocol::{
        Outcome,
        card::{Agreement, ModelCard},
        request::{Request, RequestWords},
        sortition::Seat,
    },
    seats::{Rules, SeatChange},
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
    /// An answer was paid.
    Claimed(B256),
    /// A seat changed.
    Seat {
        /// Its model.
        model: B256,
        /// Its index.
        index: u32,
        /// How.
        change: SeatChange,
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
pub struct Noted {
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
pub fn note(log: &Log) -> Option<Noted> {
    let block = BlockRef { number: log.block_number?, hash: log.block_hash? };
    let event = match Events::decode_log(&log.inner).ok()?.data {
        Events::Requested(event) => Event::Requested {
            id: event.requestId,
            request: Box::new(Request::from_words(&words(&event.request)).ok()?),
            input: event.input,
        },
        Events::Fulfilled(event) => Event::Fulfilled {
            id: event.requestId,
            outcome: Outcome::try_from(event.outcome).ok()?,
            seats: event.seats,
            output: event.output,
        },
        Events::Refunded(event) => Event::Refunded(event.requestId),
        Events::DeliveryFailed(event) => Event::DeliveryFailed(event.requestId),
        Events::Claimed(event) => Event::Claimed(event.requestId),
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
    Some(Noted { block, transaction: log.transaction_hash, event })
}

/// What the node needs of parameters.
#[must_use]
pub fn rules(parameters: &abi::Parameters) -> Rules {
    Rules { window: parameters.window, vesting: parameters.vesting }
}

fn words(request: &abi::Request) -> RequestWords {
    [request.modelId, request.inputHash, request.origin, request.escrow, request.payment, request.terms]
}

fn from_words(request: &Request) -> abi::Request {
    let [model_id, input_hash, origin, escrow, payment, terms] = request.to_words();
    abi::Request { modelId: model_id, inputHash: input_hash, origin, escrow, payment, terms }
}

/// Calldata that answers a request.
#[must_use]
pub fn fulfill(answer: &Attested, place: &Place) -> Bytes {
    Coordinator::fulfillCall { fulfillment: fulfillment(answer, place) }.abi_encode().into()
}

fn fulfillment(answer: &Attested, place: &Place) -> abi::Fulfillment {
    abi::Fulfillment {
        request: from_words(&answer.task.request),
        outcome: answer.outcome as u8,
        output: answer.output.clone(),
        attestations: vec![abi::Attestation { seat: place.seat, r: answer.signature.r, vs: answer.signature.vs }],
        holes: place.holes.clone(),
    }
}

/// Calldata that answers many requests.
#[must_use]
pub fn fulfill_batch(answers: &[(Attested, Place)]) -> Bytes {
    let fulfillments = answers.iter().map(|(answer, place)| fulfillment(answer, place)).collect();
    Coordinator::fulfillBatchCall { fulfillments }.abi_encode().into()
}

/// What to create in an `eth_call` to learn how each item of a batch would end by itself; it always reverts, and
/// [`endings`] reads with what. `batch` is calldata of `fulfill_batch`.
#[must_use]
pub fn probe(coordinator: Address, batch: &[u8]) -> Bytes {
    let items = Coordinator::fulfillBatchCall::abi_decode(batch).map(|call| call.fulfillments).unwrap_or_default();
    let calls = items.into_iter().map(|fulfillment| Coordinator::fulfillCall { fulfillment }.abi_encode().into());
    let arguments = abi::Probe::constructorCall { target: coordinator, calls: calls.collect() }.abi_encode();
    [abi::Probe::BYTECODE.as_ref(), &arguments].concat().into()
}

/// Reads what a probe reverts with: `None` for an item that would be answered, else its revert data. `None` for all if it
/// is something else.
#[must_use]
pub fn endings(told: &[u8]) -> Option<Vec<Option<Bytes>>> {
    let endings = <Vec<(bool, Bytes)>>::abi_decode(told).ok()?;
    Some(endings.into_iter().map(|(success, answer)| (!success).then_some(answer)).collect())
}

/// Calldata that claims pay.
#[must_use]
pub fn claim(claims: &[Claim]) -> Bytes {
    Coordinator::claimCall { results: claims.iter().map(result).collect() }.abi_encode().into()
}

fn result(claim: &Claim) -> abi::Result {
    abi::Result {
        request: from_words(&claim.request),
        outcome: claim.outcome as u8,
        outputCommitment: claim.output_commitment,
        seats: claim.seats.clone(),
        fulfilledAt: claim.fulfilled_at,
    }
}

/// The contract's error behind revert data, as the submitter acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody answered it, or its escrow went back.
    NotOpen,
    /// The deadline passed.
    Expired,
    /// Not yet: in its own block, or before the rank's window, or before the vesting block.
    TooEarly,
    /// The gas limit is too small.
    Gas,
    /// It was paid already.
    AlreadyPaid,
    /// What we know of seats or blocks is not what the chain knows, as after a reorganisation.
    Stale(String),
    /// Anything else: an error of ours.
    Other(String),
}

/// Reads revert data.
#[must_use]
pub fn refusal(data: &[u8]) -> Refusal {
    use InferenceCoordinatorErrors as Errors;
    match Errors::abi_decode(data) {
        Ok(Errors::NotOpen(_)) => Refusal::NotOpen,
        Ok(Errors::DeadlinePassed(_)) => Refusal::Expired,
        Ok(Errors::SameBlock(_) | Errors::RankTooHigh(_) | Errors::TooEarly(_)) => Refusal::TooEarly,
        Ok(Errors::InsufficientGas(_)) => Refusal::Gas,
        Ok(Errors::AlreadyPaid(_)) => Refusal::AlreadyPaid,
        Ok(
            error @ (Errors::WrongSignature(_)
            | Errors::SeatNotEligible(_)
            | Errors::NotAHole(_)
            | Errors::UnknownSeat(_)
            | Errors::ResultMismatch(_)
            | Errors::BlockHashUnavailable(_)),
        ) => Refusal::Stale(format!("{error:?}")),
        Ok(error) => Refusal::Other(format!("{error:?}")),
        Err(_) if data.is_empty() => Refusal::Other("no reason".into()),
        Err(_) => Refusal::Other(format!("0x{}", hex::encode(data))),
    }
}

/// A reading of the coordinator that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The endpoint failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The contract at the address is no coordinator.
    #[error("the contract at {0} does not answer as an Oraculum coordinator: check `chain.coordinator`")]
    NotACoordinator(Address),
}

/// The coordinator's views.
#[derive(Debug)]
pub struct Views<'a, C> {
    chain: &'a C,
    coordinator: Address,
}

impl<'a, C: Chain> Views<'a, C> {
    /// Views of the coordinator at an address.
    pub fn new(chain: &'a C, coordinator: Address) -> Self {
        Self { chain, coordinator }
    }

    /// Any view, at the latest block.
    ///
    /// # Errors
    /// `NotACoordinator` where the answer cannot be read; `Reverted` with the contract's error.
    pub async fn read<Q: SolCall + Send + Sync>(&self, query: Q) -> Result<Q::Return, ReadError> {
        let call =
            Call { from: None, to: Some(self.coordinator), data: query.abi_encode().into(), gas: None, block: None };
        let answer = self.chain.call(&call, At::Latest).await?;
        Q::abi_decode_returns(&answer).map_err(|_| ReadError::NotACoordinator(self.coordinator))
    }

    /// The present seats of a model; `None` if the model is not registered.
    ///
    /// # Errors
    /// As `read`.
    pub async fn seats(&self, model: B256) -> Result<Option<Vec<Seat>>, ReadError> {
        use futures::{StreamExt, TryStreamExt};
        let known = self.read(Coordinator::modelCall { modelId: model }).await?;
        if !known.registered {
            return Ok(None);
        }
        let reads: Vec<_> =
            (0..known.seatCount).map(|index| self.read(Coordinator::seatCall { modelId: model, index })).collect();
        let seats: Vec<_> = futures::stream::iter(reads).buffered(16).try_collect().await?;
        let seat =
            |seat: &Coordinator::seatReturn| Seat { signer: seat.signer, from: seat.from.to(), until: seat.until.to() };
        Ok(Some(seats.iter().map(seat).collect()))
    }

    /// The parameters of a version.
    ///
    /// # Errors
    /// As `read`.
    pub async fn parameters(&self, version: u16) -> Result<abi::Parameters, ReadError> {
        self.read(Coordinator::parametersCall { version }).await
    }

    /// A request's status word.
    ///
    /// # Errors
    /// As `read`.
    pub async fn status(&self, id: B256) -> Result<U256, ReadError> {
        self.read(Coordinator::statusOfCall { requestId: id }).await
    }
}

/// A card in the contract's types.
#[must_use]
pub fn card(card: &ModelCard) -> Coordinator::ModelCard {
    let agreement = card.agreement.iter().map(|rule| {
        let (kind, atol, rtol, gap) = match *rule {
            Agreement::Exact => (0, 0, 0, 0),
            Agreement::Elementwise { atol, rtol } => (1, atol.0, rtol.0, 0),
            Agreement::Argmax { gap } => (2, 0, 0, gap.0),
        };
        Coordinator::Agreement { kind, atol, rtol, gap }
    });
    Coordinator::ModelCard {
        fileHash: card.file_hash,
        detailsHash: card.details_hash,
        profileHash: card.profile_hash,
        agreement: agreement.collect(),
        verifier: card.verifier,
        maxInputBytes: card.max_input_bytes,
        maxOutputBytes: card.max_output_bytes,
    }
}
