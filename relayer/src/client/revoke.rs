//! Revokes a signing key, and takes it off every seat that has it.

use std::collections::BTreeSet;

use alloy::{
    primitives::{Address, B256, U256},
    rpc::types::Filter,
    sol_types::SolEvent,
};

use super::{Account, OwnedSeats, Seat, SeatError, seats::past_logs, signing_key};
use crate::{
    config::Settings,
    coordinator::abi::{InferenceCoordinator as Coordinator, SeatRef},
};

/// What a revocation did.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The key that was revoked; `None` if it had been before, and seats were all that was left.
    pub signer: Option<Address>,
    /// The seats that lost a revoked key, as they were before.
    pub seats: Vec<Seat>,
    /// The transaction.
    pub transaction: B256,
}

/// Revokes the present key of the configured owner, or the caller's own where the caller is a signing key, and takes every
/// revoked key of the owner off all seats that have it. A seat that is not listed would go on answering with the key.
///
/// # Errors
/// `NothingToRevoke` where there is neither key nor seat; `Account`.
pub async fn revoke_key(caller: &Account, settings: &Settings, owned: &OwnedSeats) -> Result<Revocation, SeatError> {
    let (client, coordinator, owner) = (caller.client(), settings.chain.coordinator, settings.node.owner);
    let signer =
        if caller.address() == owner { signing_key(client, coordinator, owner).await? } else { Some(caller.address()) };
    let mut keys: BTreeSet<Address> = signer.into_iter().collect();
    let revoked = Filter::new()
        .address(coordinator)
        .event_signature(Coordinator::SignerRevoked::SIGNATURE_HASH)
        .topic1(owner.into_word());
    for log in past_logs(client, settings, &revoked, owned.head).await? {
        keys.extend(Coordinator::SignerRevoked::decode_log_data(log.data()).map(|event| event.signer));
    }
    let seats: Vec<Seat> = owned.seats.iter().filter(|seat| keys.contains(&seat.signer)).cloned().collect();
    if signer.is_none() && seats.is_empty() {
        return Err(SeatError::NothingToRevoke { owner });
    }
    let listed = seats.iter().map(|seat| SeatRef { modelId: seat.model, index: seat.index }).collect();
    let call = Coordinator::revokeSignerCall { owner, seats: listed };
    let transaction = caller.call(coordinator, &call, U256::ZERO).await?.transaction_hash;
    Ok(Revocation { signer, seats, transaction })
}
