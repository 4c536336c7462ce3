//! A node's owner: registering the node, taking seats and leaving them. What is known of them is read from the chain's logs, so
//! it needs no journal.

use std::collections::BTreeSet;

use alloy::{
    primitives::{Address, B256, U256},
    providers::Provider,
    rpc::types::{Filter, Log},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::SolEvent,
};

use super::{Account, AccountError, Client, Seat};
use crate::{config::Settings, coordinator::abi::InferenceCoordinator as Coordinator, protocol::statement::Domain};

/// Wei in a gwei, in which the bond is a parameter.
const GWEI: u64 = 1_000_000_000;

/// Why a node or a seat was not registered.
// Not transparent over `AccountError`, so that it stays visible to whoever walks the sources.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum SeatError {
    #[error("{0}")]
    Account(#[from] AccountError),
    #[error("the signing key cannot sign: {0}")]
    Signer(#[from] alloy::signers::Error),
    #[error("the coordinator gave no seat in transaction {transaction}; correct the coordinator's address")]
    NoSeat { transaction: B256 },
    #[error("{owner} has no signing key, and no seat with a revoked one")]
    NothingToRevoke { owner: Address },
}

/// Makes an account a node with a signing key, or gives the node that key. Returns the transaction. `uri` is where others
/// reach the node; it is public.
///
/// # Errors
/// `Signer` or `Account`.
pub async fn register_node(
    owner: &Account,
    coordinator: Address,
    signer: &PrivateKeySigner,
    uri: &str,
) -> Result<B256, SeatError> {
    let domain = Domain { chain_id: owner.client().chain_id(), coordinator };
    let proof = signer.sign_hash_sync(&domain.signer_digest(owner.address()))?;
    let call = Coordinator::registerNodeCall {
        signer: signer.address(),
        signature: proof.as_bytes().into(),
        uri: uri.to_owned(),
    };
    Ok(owner.call(coordinator, &call, U256::ZERO).await?.transaction_hash)
}

/// Where others reach the node of the configured owner, as it was registered last; empty if it never was.
///
/// # Errors
/// `AccountError`: the chain's or the coordinator's.
pub async fn registered_uri(client: &Client, settings: &Settings) -> Result<String, AccountError> {
    let head = client.ask(client.provider().get_block_number()).await?;
    let registered = Filter::new()
        .address(settings.chain.coordinator)
        .event_signature(Coordinator::NodeRegistered::SIGNATURE_HASH)
        .topic1(settings.node.owner.into_word());
    let logs = past_logs(client, settings, &registered, head).await?;
    let last = logs.last().and_then(|log| Coordinator::NodeRegistered::decode_log_data(log.data()).ok());
    Ok(last.map(|event| event.uri).unwrap_or_default())
}

/// The key that signs for a node's owner, if the owner is registered.
///
/// # Errors
/// `AccountError`: the chain's or the coordinator's.
pub async fn signing_key(
    client: &Client,
    coordinator: Address,
    owner: Address,
) -> Result<Option<Address>, AccountError> {
    let signer = client.read(coordinator, &Coordinator::signerOfCall { owner }).await?;
    Ok((!signer.is_zero()).then_some(signer))
}

/// A seat that the owner has on a model after joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinedSeat {
    /// The id of the model.
    pub model: B256,
    /// The seat's number on the model.
    pub index: u32,
    /// The bond that was paid for it now, wei; `None` if the owner had the seat already.
    pub paid: Option<U256>,
}

/// The seats of an owner, and the terms of the deployment.
#[derive(Clone, Debug)]
pub struct OwnedSeats {
    /// The last block when they were read.
    pub head: u64,
    /// The seats that the owner has, leaving ones included, by model and index.
    pub seats: Vec<Seat>,
    /// The coordinator's present parameters.
    pub parameters: Coordinator::Parameters,
    coordinator: Address,
    /// Every seat that the owner ever had, with the block in which it took it.
    pub(super) history: Vec<(B256, u32, u64)>,
}

impl OwnedSeats {
    /// Reads the seats of the configured owner.
    ///
    /// # Errors
    /// `AccountError`: the chain's or the coordinator's.
    pub async fn read(client: &Client, settings: &Settings) -> Result<Self, AccountError> {
        let (coordinator, owner) = (settings.chain.coordinator, settings.node.owner);
        let version = client.read(coordinator, &Coordinator::parameterVersionCall {}).await?;
        let parameters = client.read(coordinator, &Coordinator::parametersCall { version }).await?;
        let head = client.ask(client.provider().get_block_number()).await?;
        let joined = Filter::new()
            .address(coordinator)
            .event_signature(Coordinator::SeatJoined::SIGNATURE_HASH)
            .topic3(owner.into_word());
        let mut history = Vec::new();
        for log in past_logs(client, settings, &joined, head).await? {
            if let Ok(event) = Coordinator::SeatJoined::decode_log_data(log.data()) {
                history.push((event.modelId, event.index, log.block_number.unwrap_or_default()));
            }
        }
        let mut seats = Vec::new();
        for (model, index) in history.iter().map(|(model, index, _)| (*model, *index)).collect::<BTreeSet<_>>() {
            let seat = Seat::read(client, coordinator, model, index).await?;
            if seat.owner == owner {
                seats.push(seat);
            }
        }
        Ok(Self { head, seats, parameters, coordinator, history })
    }

    /// The seats on a model that are not leaving.
    pub fn staying(&self, model: B256) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(move |seat| seat.model == model && !seat.is_leaving())
    }

    /// The bond of a new seat, wei.
    #[must_use]
    pub fn bond(&self) -> U256 {
        U256::from(self.parameters.seatBondGwei) * U256::from(GWEI)
    }

    /// Takes a seat on a model, which is not live yet. If the owner has seats there already, takes none, and gives those the
    /// node's present key.
    ///
    /// # Errors
    /// `Account`, or `NoSeat`.
    pub async fn join(&self, owner: &Account, signer: Address, model: B256) -> Result<Vec<JoinedSeat>, SeatError> {
        let mut joined = Vec::new();
        for seat in self.staying(model) {
            if seat.signer != signer {
                rekey_seat(owner, self.coordinator, seat).await?;
            }
            joined.push(JoinedSeat { model, index: seat.index, paid: None });
        }
        if joined.is_empty() {
            let bond = self.bond();
            let call = Coordinator::joinSeatCall { modelId: model, expectedIndex: u32::MAX };
            let receipt = owner.call(self.coordinator, &call, bond).await?;
            let event = receipt.logs().iter().find_map(|log| log.log_decode::<Coordinator::SeatJoined>().ok());
            let event = event.ok_or(SeatError::NoSeat { transaction: receipt.transaction_hash })?;
            joined.push(JoinedSeat { model, index: event.inner.index, paid: Some(bond) });
        }
        Ok(joined)
    }

    /// Gives the node's present key to all seats that have another and are not leaving, and returns them as they are then.
    ///
    /// # Errors
    /// `AccountError`: the chain's or the coordinator's.
    pub async fn rekey(&self, owner: &Account, signer: Address) -> Result<Vec<Seat>, AccountError> {
        let mut rekeyed = Vec::new();
        for seat in self.seats.iter().filter(|seat| !seat.is_leaving()) {
            if seat.signer != signer {
                rekey_seat(owner, self.coordinator, seat).await?;
            }
            rekeyed.push(Seat::read(owner.client(), self.coordinator, seat.model, seat.index).await?);
        }
        Ok(rekeyed)
    }

    /// Announces that the seats on a model leave, and returns them as they are then; none if there were none to leave.
    ///
    /// # Errors
    /// `AccountError`: the chain's or the coordinator's.
    pub async fn leave(&self, owner: &Account, model: B256) -> Result<Vec<Seat>, AccountError> {
        let mut left = Vec::new();
        for seat in self.staying(model) {
            let call = Coordinator::leaveSeatCall { modelId: model, index: seat.index };
            owner.call(self.coordinator, &call, U256::ZERO).await?;
            left.push(Seat::read(owner.client(), self.coordinator, model, seat.index).await?);
        }
        Ok(left)
    }

    /// Whether the owner held a seat in a block: the last to take it by then did.
    pub(super) async fn held(
        &self,
        client: &Client,
        model: B256,
        index: u32,
        block: u64,
    ) -> Result<bool, AccountError> {
        let taken = self.history.iter().filter(|(m, i, since)| (*m, *i) == (model, index) && *since <= block);
        let Some(since) = taken.map(|(_, _, since)| *since).max() else { return Ok(false) };
        if self.seats.iter().any(|seat| (seat.model, seat.index) == (model, index)) {
            return Ok(true);
        }
        // Released since, and perhaps taken by somebody else before the answer.
        let call = Coordinator::seatHolderCall { modelId: model, index };
        let holder = client.read(self.coordinator, &call).await?;
        let retaken: u64 = holder.since.to();
        Ok(holder.owner.is_zero() || retaken <= since || retaken > block)
    }
}

/// Gives a seat its owner's present key.
async fn rekey_seat(owner: &Account, coordinator: Address, seat: &Seat) -> Result<(), AccountError> {
    let call = Coordinator::rekeySeatCall { modelId: seat.model, index: seat.index };
    owner.call(coordinator, &call, U256::ZERO).await.map(drop)
}

/// All logs of a filter since the deployment up to `head`, in pages that shrink where the endpoint refuses.
pub(super) async fn past_logs(
    client: &Client,
    settings: &Settings,
    filter: &Filter,
    head: u64,
) -> Result<Vec<Log>, AccountError> {
    let mut page = settings.chain.log_page;
    let mut from = settings.chain.deployment_block;
    let mut all = Vec::new();
    while from <= head {
        let to = head.min(from.saturating_add(page - 1));
        let part = filter.clone().from_block(from).to_block(to);
        match client.ask(client.provider().get_logs(&part)).await {
            Ok(logs) => {
                all.extend(logs);
                from = to + 1;
            }
            Err(AccountError::Refused { .. }) if page > 1 => page = (page / 2).max(1),
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}
