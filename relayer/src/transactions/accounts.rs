//! Nonce and balance of the sending keys, as the chain has them, and what follows from them.

use std::time::Duration;

use alloy::primitives::{Address, U256, utils::format_ether};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{CallOutcome, Transactions, candidate::TxId, queue::Hold};
use crate::{
    chain::{At, Chain, ChainError},
    journal::Journal,
    node::StageError,
};

/// How long a nonce of ours that no transaction holds may be a reading of the past.
const GAP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long transactions that we do not know are waited for.
const UNKNOWN_TIMEOUT: Duration = Duration::from_secs(120);
/// Gas and bytes that a key must be able to pay for to count as funded again: those of an answer alone, amply.
const RESERVE_GAS: u64 = 300_000;
const RESERVE_BYTES: u64 = 2_000;

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Has an account read, unless it is being read.
    pub(super) fn ask_account(&mut self, account: Address) {
        let Some(queue) = self.queues.get_mut(account) else { return };
        if std::mem::replace(&mut queue.account_asked, true) {
            return;
        }
        let (chain, reorg_epoch) = (self.node.chain.clone(), self.reorg_epoch);
        self.tasks.push(Box::pin(async move {
            let read = futures::try_join!(chain.nonce(account, At::Latest), chain.balance(account));
            CallOutcome::Account(account, reorg_epoch, read)
        }));
    }

    pub(super) fn account_read(
        &mut self,
        account: Address,
        reorg_epoch: u64,
        read: Result<(u64, U256), ChainError>,
    ) -> Result<(), StageError> {
        let Some(queue) = self.queues.get_mut(account) else { return Ok(()) };
        queue.account_asked = false;
        match read {
            Ok(_) if reorg_epoch != self.reorg_epoch => {
                self.ask_account(account);
                Ok(())
            }
            Ok((latest, balance)) => {
                queue.set_used(latest);
                self.take_in_balance(account, balance);
                self.follow_account(account)
            }
            Err(error) => {
                self.count_failed_read(&error);
                Ok(())
            }
        }
    }

    /// Does what the account's nonce asks for: receipts, gaps, and transactions that are not mined.
    fn follow_account(&mut self, account: Address) -> Result<(), StageError> {
        self.look_for_unknown(account)?;
        self.ask_receipts(account);
        let Some(queue) = self.queues.get_mut(account) else { return Ok(()) };
        if queue.gaps().is_empty() {
            queue.gap_since = None;
        } else if queue.gap_since.get_or_insert_with(Instant::now).elapsed() >= GAP_TIMEOUT {
            queue.gap_since = None;
            self.fill_gaps(account)?;
        }
        let Some(queue) = self.queues.get(account) else { return Ok(()) };
        let open: Vec<u64> = queue.pending().map(|(nonce, _)| nonce).filter(|nonce| *nonce >= queue.used).collect();
        for nonce in open {
            self.keep_moving(TxId { account, nonce })?;
        }
        Ok(())
    }

    fn take_in_balance(&mut self, account: Address, balance: U256) {
        let (alert, data_fee) = (U256::from(self.node.policy.borrow().balance_alert), self.data_fee.per_byte);
        let reserve = U256::from(RESERVE_GAS) * U256::from(self.suggest_fees().max_fee)
            + U256::from(RESERVE_BYTES) * U256::from(data_fee);
        self.node.metrics.has(account, balance);
        let Some(queue) = self.queues.get_mut(account) else { return };
        queue.balance = balance;
        if !queue.funded && balance >= queue.committed(data_fee) + reserve {
            info!(%account, balance = format_ether(balance), "a sending key is funded again, ETH");
            queue.funded = true;
        }
        if balance >= alert && !balance.is_zero() {
            queue.low_balance_reported = false;
        } else if !std::mem::replace(&mut queue.low_balance_reported, true) {
            let (balance, alert) = (format_ether(balance), format_ether(alert));
            warn!(%account, balance, alert, "a sending key has little money for gas, ETH: send it some");
        }
    }

    /// Waits for transactions that the journal does not know, but not for ever.
    fn look_for_unknown(&mut self, account: Address) -> Result<(), StageError> {
        let Some(queue) = self.queues.get_mut(account) else { return Ok(()) };
        let Some(Hold { until, since }) = queue.hold else { return Ok(()) };
        if queue.used >= until {
            info!(%account, "the unknown transactions are mined");
            queue.hold = None;
        } else if since.elapsed() >= UNKNOWN_TIMEOUT {
            warn!(
                %account, from = queue.used, until,
                "transactions of this key that the journal does not know are not mined: replacing them"
            );
            queue.hold = None;
            self.fill_gaps(account)?;
        }
        Ok(())
    }
}
