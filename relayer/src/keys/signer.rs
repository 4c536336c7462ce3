//! Who signs: a key in this process or a service elsewhere, behind one trait.
//!
//! A signer gets statements and transactions, never bare digests: services such as web3signer sign nothing else, and a
//! service that knows what it signs can refuse it.

use std::{fmt, time::Duration};

use alloy::{
    consensus::{SignableTransaction, TxEip1559},
    primitives::{Address, Signature},
    signers::{SignerSync, local::PrivateKeySigner},
};
use futures::{FutureExt, future::BoxFuture};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::protocol::statement::{CompactSignature, Domain, Statement};

/// Time in which a signer has to answer.
const SIGN_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pause after failures of a signer.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// A call to a signer, on its way.
pub type SignCall<T> = BoxFuture<'static, Result<T, SignError>>;

/// One key that signs, wherever it is kept.
///
/// A call is complete at the first poll where the key is in this process. It may be dropped at any time; what was signed
/// is lost then, and nothing else.
pub trait Signer: fmt::Debug + Send + Sync {
    /// Address of the key.
    fn address(&self) -> Address;

    /// Signs a statement for a coordinator.
    ///
    /// # Errors
    /// The call's: `Unavailable` or `Denied`.
    fn sign_statement(&self, statement: &Statement, domain: Domain) -> SignCall<CompactSignature>;

    /// Signs a transaction as it is, nonce and fees included.
    ///
    /// # Errors
    /// The call's: `Unavailable` or `Denied`.
    fn sign_transaction(&self, transaction: &TxEip1559) -> SignCall<Signature>;
}

/// Why a signer did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The signer cannot be reached, is overloaded, or took too long: the same call may succeed later.
    #[error("the signer does not answer: {0}")]
    Unavailable(String),
    /// The key does not exist, may not be used, or does not sign this. Trying again does not help.
    #[error("the signer refuses: {0}; check the key and what it may be used for")]
    Denied(String),
}

impl SignError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Short name of the kind, for logs and metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Denied(_) => "denied",
        }
    }
}

/// A key in this process, from a keystore or made for a test.
impl Signer for PrivateKeySigner {
    fn address(&self) -> Address {
        PrivateKeySigner::address(self)
    }

    fn sign_statement(&self, statement: &Statement, domain: Domain) -> SignCall<CompactSignature> {
        let signed = statement.sign(domain, self).map_err(|error| SignError::Denied(error.to_string()));
        Box::pin(std::future::ready(signed))
    }

    fn sign_transaction(&self, transaction: &TxEip1559) -> SignCall<Signature> {
        let signed = self.sign_hash_sync(&transaction.signature_hash());
        Box::pin(std::future::ready(signed.map_err(|error| SignError::Denied(error.to_string()))))
    }
}

/// A call to a signer after its first poll.
pub enum Signing<T> {
    /// The signer answered at once, as a key in this process does.
    Done(Result<T, SignError>),
    /// The answer takes a while: `Unavailable` after 10 s without one.
    InProgress(SignCall<T>),
}

impl<T: Send + 'static> Signing<T> {
    /// Polls a call once, so that a signature that is there already costs no switch of tasks. Needs a Tokio runtime.
    #[must_use]
    pub fn start(mut call: SignCall<T>) -> Self {
        match (&mut call).now_or_never() {
            Some(result) => Self::Done(result),
            None => Self::InProgress(Box::pin(async move {
                let late = |_| Err(SignError::Unavailable(format!("no answer within {} s", SIGN_TIMEOUT.as_secs())));
                tokio::time::timeout(SIGN_TIMEOUT, call).await.unwrap_or_else(late)
            })),
        }
    }
}

/// Whether a signer works, and until when it is left alone after a failure.
#[derive(Debug, Default)]
pub struct SignerHealth {
    failures: u32,
    rests_until: Option<Instant>,
}

impl SignerHealth {
    /// End of the pause after a failure; `None` while the signer may be asked.
    #[must_use]
    pub fn rests_until(&self) -> Option<Instant> {
        self.rests_until.filter(|until| *until > Instant::now())
    }

    /// Takes in a call that succeeded. Tells the operator if the signer had failed before.
    pub fn succeeded(&mut self, key: Address) {
        if std::mem::take(self).failures > 0 {
            info!(%key, "the signer answers again");
        }
    }

    /// Takes in a failed call: the signer is left alone for 1 s, then 2 s, up to 60 s. Tells the operator once.
    ///
    /// # Errors
    /// The failure itself if it is lasting.
    pub fn failed(&mut self, key: Address, error: SignError) -> Result<(), SignError> {
        if !error.is_retryable() {
            return Err(error);
        }
        if self.failures == 0 {
            warn!(%key, %error, label = error.label(), "cannot sign; what needs this key waits until its signer answers");
        }
        // Of calls that ran side by side, the first one that fails begins the pause.
        if self.rests_until().is_none() {
            let pause = Duration::from_secs(1 << self.failures.min(6)).min(LONGEST_BACKOFF);
            self.rests_until = Some(Instant::now() + pause);
            self.failures += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> SignError {
        SignError::Unavailable("test".into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_signer_is_left_alone_for_longer_each_time_up_to_a_minute() {
        let (key, mut health) = (Address::ZERO, SignerHealth::default());
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            health.failed(key, unavailable()).unwrap();
            health.failed(key, unavailable()).unwrap();
            let until = health.rests_until().unwrap();
            assert_eq!(until - Instant::now(), Duration::from_secs(seconds));
            tokio::time::sleep_until(until).await;
            assert_eq!(health.rests_until(), None);
        }
        health.succeeded(key);
        health.failed(key, unavailable()).unwrap();
        assert_eq!(health.rests_until().unwrap() - Instant::now(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_failure_is_handed_back() {
        let denied = SignError::Denied("the key is disabled".into());
        assert_eq!(SignerHealth::default().failed(Address::ZERO, denied.clone()), Err(denied));
    }

    #[tokio::test(start_paused = true)]
    async fn a_local_signature_is_there_at_the_first_poll_and_a_silent_signer_is_given_up_after_ten_seconds() {
        let key = PrivateKeySigner::random();
        let transaction = TxEip1559::default();
        let Signing::Done(Ok(signature)) = Signing::start(key.sign_transaction(&transaction)) else { panic!() };
        let signed_by = signature.recover_address_from_prehash(&transaction.signature_hash()).unwrap();
        assert_eq!(signed_by, PrivateKeySigner::address(&key));

        let began = Instant::now();
        let Signing::InProgress(call) = Signing::<()>::start(Box::pin(std::future::pending())) else { panic!() };
        assert!(matches!(call.await, Err(SignError::Unavailable(_))));
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }
}
