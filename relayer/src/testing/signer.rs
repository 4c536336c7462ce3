//! A signer that is slow or fails when told to, as a service elsewhere does.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use alloy::{
    consensus::TxEip1559,
    primitives::{Address, Signature},
    signers::local::PrivateKeySigner,
};

use crate::{
    keys::{SignCall, SignError, Signer},
    protocol::statement::{CompactSignature, Domain, Statement},
};

#[derive(Default)]
struct Behavior {
    delay: Duration,
    failure: Option<SignError>,
    calls: usize,
}

/// Signs with a local key after a delay, or fails instead.
pub(crate) struct RemoteSigner {
    key: PrivateKeySigner,
    behavior: Mutex<Behavior>,
}

impl RemoteSigner {
    pub(crate) fn new(key: PrivateKeySigner) -> Self {
        Self { key, behavior: Mutex::default() }
    }

    fn behavior(&self) -> MutexGuard<'_, Behavior> {
        self.behavior.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on answers take so long; without a delay they are there at once.
    pub(crate) fn answer_after(&self, delay: Duration) {
        self.behavior().delay = delay;
    }

    /// What calls begun from now on end with; `None` is success.
    pub(crate) fn fail(&self, failure: Option<SignError>) {
        self.behavior().failure = failure;
    }

    /// Number of calls so far.
    pub(crate) fn calls(&self) -> usize {
        self.behavior().calls
    }

    fn after<T: Send + 'static>(&self, call: SignCall<T>) -> SignCall<T> {
        let mut behavior = self.behavior();
        behavior.calls += 1;
        let (delay, failure) = (behavior.delay, behavior.failure.clone());
        Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            match failure {
                Some(failure) => Err(failure),
                None => call.await,
            }
        })
    }
}

impl fmt::Debug for RemoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSigner").field("key", &self.key.address()).finish()
    }
}

impl Signer for RemoteSigner {
    fn address(&self) -> Address {
        self.key.address()
    }

    fn sign_statement(&self, statement: &Statement, domain: Domain) -> SignCall<CompactSignature> {
        self.after(self.key.sign_statement(statement, domain))
    }

    fn sign_transaction(&self, transaction: &TxEip1559) -> SignCall<Signature> {
        self.after(self.key.sign_transaction(transaction))
    }
}
