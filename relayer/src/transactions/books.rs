//! What was spent, against what may be, and what gas costs now.

use alloy::{
    primitives::{Address, Bytes, U256, address, utils::format_units},
    sol_types::{SolCall, SolValue},
};
use tracing::{info, warn};

use super::{
    CallOutcome, Transactions, purpose,
    slot::{Final, TxState},
};
use crate::{
    chain::{At, Call, Chain},
    domain::{ChainHead, Entry},
    failpoint::failpoint,
    journal::{Batch, Journal},
    node::StageError,
    policy::Price,
};

/// Where OP-style chains tell what a transaction's bytes cost on the chain below.
const DATA_FEE_ORACLE: Address = address!("420000000000000000000000000000000000000F");

alloy::sol! {
    /// Wei for the bytes of a signed transaction.
    function getL1Fee(bytes data) external view returns (uint256);
}

/// What final transactions cost in the present hour of the chain's clock.
#[derive(Debug, Default)]
pub(super) struct Books {
    hour: Option<u64>,
    spent: u128,
    /// Whether the operator was told that the hour's money is spent.
    told: bool,
}

fn hour_of(tip: &ChainHead) -> u64 {
    tip.header.timestamp / 3_600
}

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Closes what is final: out of the journal and into its books, in one write.
    pub(super) fn close_final(&mut self, tip: &ChainHead) -> Result<(), StageError> {
        let hour = hour_of(tip);
        let mut batch = Batch::default();
        for queue in &mut self.queues {
            for (nonce, state) in std::mem::take(&mut queue.slots) {
                let kept = match state {
                    TxState::Mined(mined) => match mined.finalize(tip) {
                        Ok(done) => {
                            let entries = purpose::entries(&*self.node.journal, &done, hour)?;
                            batch.booked.extend(entries.into_iter().filter(|entry| !is_empty(entry)));
                            let Final { slot, .. } = done;
                            batch.transactions_gone.push((slot.sender, slot.nonce));
                            queue.closed = queue.closed.max(nonce + 1);
                            continue;
                        }
                        Err(mined) => TxState::Mined(*mined),
                    },
                    pending => pending,
                };
                queue.slots.insert(nonce, kept);
            }
        }
        if batch.transactions_gone.is_empty() {
            return Ok(());
        }
        failpoint("final.before");
        self.commit(&batch)?;
        failpoint("final.after");
        self.look_at_the_books(hour)
    }

    fn look_at_the_books(&mut self, hour: u64) -> Result<(), StageError> {
        let spent = self.node.journal.ledger(hour)?.iter().map(|entry| entry.spent).sum();
        let told = self.books.told && self.books.hour == Some(hour);
        self.books = Books { hour: Some(hour), spent, told };
        Ok(())
    }

    /// Whether `cost` more would pass `policy.max_spend_per_hour`. What is not final yet counts into the present hour: in
    /// full while it can still cost all its gas limit at its fee cap.
    pub(super) fn is_over_the_hours_limit(&mut self, cost: U256) -> Result<bool, StageError> {
        let Some(limit) = self.node.policy.borrow().max_spend_per_hour else { return Ok(false) };
        let hour = self.tip.as_ref().map_or(0, hour_of);
        if self.books.hour != Some(hour) {
            self.look_at_the_books(hour)?;
        }
        let open: U256 =
            self.queues.iter().flat_map(|queue| queue.slots.values()).map(|state| state.bound(self.data_fee)).sum();
        let over = U256::from(self.books.spent) + open + cost > U256::from(limit);
        if over && !std::mem::replace(&mut self.books.told, true) {
            warn!(spent = self.books.spent, limit, "`policy.max_spend_per_hour` is reached: answers wait");
        }
        Ok(over)
    }

    /// Whether base fee and going tip together pass the cap for work: what is sent now would wait in the pool, and in the
    /// way of what comes after it.
    pub(crate) fn is_above_fee_cap(&self) -> bool {
        let fees = self.suggest_fees();
        self.base_fee().saturating_add(fees.tip) > fees.max_fee
    }

    /// Tells the operator when answers begin to wait for cheaper gas, and when they do not any more.
    pub(super) fn tell_of_the_price(&mut self) {
        let above_fee_cap = self.is_above_fee_cap();
        if above_fee_cap == std::mem::replace(&mut self.above_fee_cap, above_fee_cap) {
            return;
        }
        let gwei = |wei: u128| format_units(wei, "gwei").unwrap_or_default();
        let (base_fee, tip) = (gwei(self.base_fee()), gwei(self.suggest_fees().tip));
        if above_fee_cap {
            warn!(base_fee, tip, "gas is dearer than `fees.max_fee_per_gas` allows, gwei: answers wait");
        } else {
            info!(base_fee, tip, "gas is cheap enough again, gwei");
        }
    }

    /// Publishes what gas costs now.
    pub(super) fn publish_price(&self, tip: &ChainHead) {
        let gas = tip.header.base_fee.saturating_add(self.suggest_fees().tip);
        self.node.price.send_replace(Some(Price { gas, byte: self.data_fee }));
    }

    /// Looks whether the chain asks for its transactions' bytes besides gas.
    pub(super) async fn find_data_fee(&mut self) {
        self.has_data_fee = self.node.chain.code(DATA_FEE_ORACLE).await.is_ok_and(|code| !code.is_empty());
        if self.has_data_fee
            && let Some(fee) = data_fee(&*self.node.chain).await
        {
            self.data_fee = fee;
        }
    }

    pub(super) fn ask_data_fee(&mut self) {
        if self.has_data_fee {
            let chain = self.node.chain.clone();
            self.tasks.push(Box::pin(async move { CallOutcome::DataFee(data_fee(&*chain).await) }));
        }
    }
}

/// The data fee of a byte, rounded up, from that of a thousand bytes that do not compress.
async fn data_fee<C: Chain>(chain: &C) -> Option<u128> {
    let call = Call { from: None, to: Some(DATA_FEE_ORACLE), data: sample_call(), gas: None, block: None };
    let answer = chain.call(&call, At::Latest).await.ok()?;
    let fee = U256::abi_decode(&answer).ok()?;
    u128::try_from(fee.div_ceil(U256::from(SAMPLE))).ok()
}

/// Bytes whose fee is asked for.
const SAMPLE: usize = 1_000;

/// Calldata that asks for the fee of the sample.
pub(super) fn sample_call() -> Bytes {
    let mut sample = Vec::with_capacity(SAMPLE + 32);
    while sample.len() < SAMPLE {
        sample.extend_from_slice(alloy::primitives::keccak256(sample.len().to_be_bytes()).as_slice());
    }
    sample.truncate(SAMPLE);
    getL1FeeCall { data: sample.into() }.abi_encode().into()
}

fn is_empty(entry: &Entry) -> bool {
    entry.spent == 0 && entry.earned == 0 && entry.answers == 0
}
