//! What a node's answers are still to be paid, and collecting it into the owner's balance in the coordinator.

use std::collections::{HashMap, HashSet};

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    rpc::types::Filter,
    sol_types::SolEvent,
};

use super::{Account, AccountError, Client, OwnedSeats, seats::past_logs};
use crate::{
    config::Settings,
    coordinator::{self, abi::InferenceCoordinator as Coordinator},
    protocol::{answer::Announced, payout, request::Request},
};

/// Answers per transaction that claims pay.
const CLAIM_BATCH: usize = 32;

/// An answer that is not paid yet, and can be.
#[derive(Clone, Debug)]
pub struct UnpaidAnswer {
    /// What the claim has to show.
    pub result: Coordinator::Result,
    /// The pay, wei.
    pub wei: U256,
}

/// What a node has earned and not claimed.
#[derive(Clone, Debug, Default)]
pub struct Unpaid {
    /// The answers that can be claimed now.
    pub claimable: Vec<UnpaidAnswer>,
    /// Pay that still vests, wei.
    pub vesting: U256,
}

impl Unpaid {
    /// Reads the answers of the configured owner that are not paid. Answers of one signer each, as this version has them.
    ///
    /// # Errors
    /// `AccountError`: the chain's or the coordinator's.
    pub async fn read(client: &Client, settings: &Settings, owned: &OwnedSeats) -> Result<Self, AccountError> {
        if owned.history.is_empty() {
            return Ok(Self::default());
        }
        let coordinator = settings.chain.coordinator;
        let mut parameters = VestingDelays { client, coordinator, known: HashMap::new() };
        let mut unpaid = Self::default();
        for answer in unpaid_answers(client, settings, owned.head).await? {
            let UnclaimedAnswer { words, event, block } = answer;
            let parsed = [words.modelId, words.inputHash, words.origin, words.escrow, words.payment, words.terms];
            let Ok(request) = Request::from_words(&parsed) else { continue };
            let Ok(Announced { outcome, seats, output }) = Announced::decode(&event.answer) else { continue };
            let Some(seat) = seats.first_chunk::<4>().map(|seat| u32::from_be_bytes(*seat)) else { continue };
            if !owned.held(client, request.model_id, seat, block).await? {
                continue;
            }
            let wei = U256::from(payout::share(&request, 0));
            // Paid in a block after the vesting block; the next one is the first that a claim can be in.
            if owned.head < block + parameters.vesting(request.version).await? {
                unpaid.vesting += wei;
                continue;
            }
            let result = Coordinator::Result {
                request: words,
                outcome: outcome as u8,
                outputCommitment: keccak256(&output),
                seats,
                fulfilledAt: block,
            };
            unpaid.claimable.push(UnpaidAnswer { result, wei });
        }
        Ok(unpaid)
    }

    /// The sum of what can be claimed now, wei.
    #[must_use]
    pub fn claimable_wei(&self) -> U256 {
        self.claimable.iter().map(|answer| answer.wei).sum()
    }
}

/// An answer of any node that nobody has claimed.
struct UnclaimedAnswer {
    words: Coordinator::Request,
    event: Coordinator::Fulfilled,
    block: u64,
}

/// The answers since the deployment that are not paid.
async fn unpaid_answers(client: &Client, settings: &Settings, head: u64) -> Result<Vec<UnclaimedAnswer>, AccountError> {
    let events = Filter::new().address(settings.chain.coordinator).event_signature(vec![
        Coordinator::Requested::SIGNATURE_HASH,
        Coordinator::Fulfilled::SIGNATURE_HASH,
        Coordinator::Claimed::SIGNATURE_HASH,
    ]);
    let mut requests: HashMap<B256, Coordinator::Request> = HashMap::new();
    let mut answers = Vec::new();
    let mut paid = HashSet::new();
    for log in past_logs(client, settings, &events, head).await? {
        if let Ok(event) = Coordinator::Requested::decode_log_data(log.data()) {
            requests.insert(event.requestId, coordinator::request(&event));
        } else if let Ok(event) = Coordinator::Fulfilled::decode_log_data(log.data()) {
            answers.push((event, log.block_number.unwrap_or_default()));
        } else if let Ok(event) = Coordinator::Claimed::decode_log_data(log.data()) {
            paid.extend(event.requestIds);
        }
    }
    let unclaimed = answers.into_iter().filter(|(event, _)| !paid.contains(&event.requestId));
    let with_request = unclaimed.filter_map(|(event, block)| {
        let words = requests.get(&event.requestId)?.clone();
        Some(UnclaimedAnswer { words, event, block })
    });
    Ok(with_request.collect())
}

/// Blocks from an answer to its pay, by version of the parameters; each is read once.
struct VestingDelays<'a> {
    client: &'a Client,
    coordinator: Address,
    known: HashMap<u16, u64>,
}

impl VestingDelays<'_> {
    async fn vesting(&mut self, version: u16) -> Result<u64, AccountError> {
        if let Some(vesting) = self.known.get(&version) {
            return Ok(*vesting);
        }
        let call = Coordinator::parametersCall { version };
        let vesting = u64::from(self.client.read(self.coordinator, &call).await?.vesting);
        self.known.insert(version, vesting);
        Ok(vesting)
    }
}

/// Claims the pay of answers, some per transaction, into the owner's balance in the coordinator.
///
/// # Errors
/// `AccountError`: the chain's or the coordinator's; what was claimed before stays claimed.
pub async fn claim_pay(owner: &Account, coordinator: Address, answers: &[UnpaidAnswer]) -> Result<(), AccountError> {
    for batch in answers.chunks(CLAIM_BATCH) {
        let results = batch.iter().map(|answer| answer.result.clone()).collect();
        owner.call(coordinator, &Coordinator::claimCall { results }, U256::ZERO).await?;
    }
    Ok(())
}

/// An account's balance of ETH in the coordinator, wei.
///
/// # Errors
/// `AccountError`: the chain's or the coordinator's.
pub async fn balance_of(client: &Client, coordinator: Address, account: Address) -> Result<U256, AccountError> {
    client.read(coordinator, &Coordinator::balanceOfCall { token: Address::ZERO, account }).await
}

/// Sends an amount, in wei, of the owner's balance in the coordinator to the owner's account.
///
/// # Errors
/// `AccountError`: the chain's or the coordinator's.
pub async fn withdraw(owner: &Account, coordinator: Address, amount: U256) -> Result<(), AccountError> {
    let call = Coordinator::withdrawCall { to: owner.address(), amount };
    owner.call(coordinator, &call, U256::ZERO).await?;
    Ok(())
}
