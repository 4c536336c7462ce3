//! What the coordinator is asked to do: calldata.

use alloy::{primitives::Bytes, sol_types::SolCall};

use super::abi::{self, InferenceCoordinator as Coordinator};
use crate::{
    domain::{Attested, Claim, SeatAssignment},
    protocol::{
        card::{Agreement, ModelCard},
        request::Request,
    },
};

/// Calldata that answers a request.
#[must_use]
pub fn fulfill(answer: &Attested, place: &SeatAssignment) -> Bytes {
    Coordinator::fulfillCall { fulfillment: fulfillment(answer, place) }.abi_encode().into()
}

fn fulfillment(answer: &Attested, place: &SeatAssignment) -> abi::Fulfillment {
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
pub fn fulfill_batch(answers: &[(Attested, SeatAssignment)]) -> Bytes {
    let fulfillments = answers.iter().map(|(answer, place)| fulfillment(answer, place)).collect();
    Coordinator::fulfillBatchCall { fulfillments }.abi_encode().into()
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

fn from_words(request: &Request) -> abi::Request {
    let [model_id, input_hash, origin, escrow, payment, terms] = request.to_words();
    abi::Request { modelId: model_id, inputHash: input_hash, origin, escrow, payment, terms }
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
