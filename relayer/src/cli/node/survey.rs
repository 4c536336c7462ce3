//! What the chain knows of a node: its seats, and the answers that are not paid yet. Read from logs, so it needs no journal.

use std::collections::{BTreeSet, HashMap, HashSet};

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    providers::Provider,
    rpc::types::{Filter, Log},
    sol_types::SolEvent,
};
use serde::Serialize;

use crate::{
    client::{AccountError, Client},
    config::Settings,
    coordinator::abi::InferenceCoordinator as Coordinator,
    protocol::{payout, request::Request},
};

/// The end of a seat that is not leaving.
const NOT_LEAVING: u64 = (1 << 48) - 1;

/// A seat, as the coordinator has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seat {
    pub(super) model: B256,
    pub(super) index: u32,
    pub(super) owner: Address,
    /// Zero if the key was revoked.
    pub(super) signer: Address,
    /// Answers requests from this block on.
    pub(super) from: u64,
    /// Answers requests before this block.
    pub(super) until: u64,
    pub(super) live: bool,
    #[serde(rename = "bondWei", serialize_with = "decimal")]
    pub(super) bond: U256,
}

impl Seat {
    pub(super) async fn read(
        client: &Client,
        coordinator: Address,
        model: B256,
        index: u32,
    ) -> Result<Self, AccountError> {
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

    pub(super) fn is_leaving(&self) -> bool {
        self.until != NOT_LEAVING
    }

    /// What it does now, for people.
    pub(super) fn state(&self, head: u64, signer: Address) -> String {
        if self.is_leaving() {
            format!("leaving, answers no request from block {} on", self.until)
        } else if self.signer.is_zero() {
            "revoked; `oraculum node join` gives it the present key".to_owned()
        } else if self.signer != signer {
            format!(
                "live: {}, with the old key {}; `oraculum node join` gives it the present one",
                self.live, self.signer
            )
        } else if self.live {
            "live".to_owned()
        } else if head < self.from {
            format!("waits for block {}", self.from)
        } else {
            "not live; `oraculum node join` makes it so".to_owned()
        }
    }
}

fn decimal<S: serde::Serializer>(value: &U256, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A node's seats, and the terms of the deployment.
pub(super) struct Survey {
    pub(super) head: u64,
    pub(super) seats: Vec<Seat>,
    pub(super) parameters: Coordinator::Parameters,
    /// Every seat the owner ever had, with the block in which it took it.
    history: Vec<(B256, u32, u64)>,
}

/// An answer that is not paid yet.
pub(super) struct Unpaid {
    pub(super) result: Coordinator::Result,
    pub(super) wei: U256,
}

/// What a node has earned and not claimed.
#[derive(Default)]
pub(super) struct Earnings {
    /// Can be claimed now.
    pub(super) claimable: Vec<Unpaid>,
    /// Wei that still vest.
    pub(super) vesting: U256,
}

impl Earnings {
    pub(super) fn claimable_wei(&self) -> U256 {
        self.claimable.iter().map(|answer| answer.wei).sum()
    }
}

impl Survey {
    pub(super) async fn new(client: &Client, settings: &Settings) -> Result<Self, AccountError> {
        let (coordinator, owner) = (settings.chain.coordinator, settings.node.owner);
        let version = client.read(coordinator, &Coordinator::parameterVersionCall {}).await?;
        let parameters = client.read(coordinator, &Coordinator::parametersCall { version }).await?;
        let head = client.ask(client.provider().get_block_number()).await?;
        let joined = Filter::new()
            .address(coordinator)
            .event_signature(Coordinator::SeatJoined::SIGNATURE_HASH)
            .topic3(owner.into_word());
        let mut history = Vec::new();
        for log in logs(client, settings, &joined, head).await? {
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
        Ok(Self { head, seats, parameters, history })
    }

    /// The bond of a new seat.
    pub(super) fn bond(&self) -> U256 {
        U256::from(self.parameters.seatBondGwei) * U256::from(1_000_000_000u64)
    }

    /// The owner's answers that are not paid. Answers of one signer each, as this version has them.
    pub(super) async fn earnings(&self, client: &Client, settings: &Settings) -> Result<Earnings, AccountError> {
        if self.history.is_empty() {
            return Ok(Earnings::default());
        }
        let coordinator = settings.chain.coordinator;
        let events = Filter::new().address(coordinator).event_signature(vec![
            Coordinator::Requested::SIGNATURE_HASH,
            Coordinator::Fulfilled::SIGNATURE_HASH,
            Coordinator::Claimed::SIGNATURE_HASH,
        ]);
        let mut requests = HashMap::new();
        let mut answers = Vec::new();
        let mut paid = HashSet::new();
        for log in logs(client, settings, &events, self.head).await? {
            if let Ok(event) = Coordinator::Requested::decode_log_data(log.data()) {
                requests.insert(event.requestId, event.request);
            } else if let Ok(event) = Coordinator::Fulfilled::decode_log_data(log.data()) {
                answers.push((event, log.block_number.unwrap_or_default()));
            } else if let Ok(event) = Coordinator::Claimed::decode_log_data(log.data()) {
                paid.insert(event.requestId);
            }
        }
        let mut vesting_of = HashMap::new();
        let mut earnings = Earnings::default();
        for (answer, block) in answers.into_iter().filter(|(answer, _)| !paid.contains(&answer.requestId)) {
            let Some(words) = requests.get(&answer.requestId) else { continue };
            let parsed = [words.modelId, words.inputHash, words.origin, words.escrow, words.payment, words.terms];
            let Ok(request) = Request::from_words(&parsed) else { continue };
            let Some(seat) = answer.seats.first_chunk::<4>().map(|seat| u32::from_be_bytes(*seat)) else { continue };
            if !self.held(client, coordinator, request.model_id, seat, block).await? {
                continue;
            }
            let vesting = match vesting_of.get(&request.version) {
                Some(vesting) => *vesting,
                None => {
                    let call = Coordinator::parametersCall { version: request.version };
                    let vesting = u64::from(client.read(coordinator, &call).await?.vesting);
                    vesting_of.insert(request.version, vesting);
                    vesting
                }
            };
            let wei = U256::from(payout::share(&request, 0));
            // Paid in a block after the vesting block; the next one is the first that a claim can be in.
            if self.head < block + vesting {
                earnings.vesting += wei;
                continue;
            }
            let result = Coordinator::Result {
                request: words.clone(),
                outcome: answer.outcome,
                outputCommitment: keccak256(&answer.output),
                seats: answer.seats,
                fulfilledAt: block,
            };
            earnings.claimable.push(Unpaid { result, wei });
        }
        Ok(earnings)
    }

    /// Whether the owner held a seat in a block: the last to take it by then did.
    async fn held(
        &self,
        client: &Client,
        coordinator: Address,
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
        let holder = client.read(coordinator, &call).await?;
        let retaken: u64 = holder.since.to();
        Ok(holder.owner.is_zero() || retaken <= since || retaken > block)
    }
}

/// All logs of a filter since the deployment, in pages that shrink where the endpoint refuses.
async fn logs(client: &Client, settings: &Settings, filter: &Filter, head: u64) -> Result<Vec<Log>, AccountError> {
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
