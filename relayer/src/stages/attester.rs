//! Signs what the executor found.

use std::sync::Arc;

use alloy::signers::local::PrivateKeySigner;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    domain::{Attested, Executed, Transition},
    failpoint::failpoint,
    journal::{Batch, Journal, RecordSignedError},
    node::{Node, StageError},
};

/// The third stage.
pub struct Attester<C, J> {
    node: Arc<Node<C, J>>,
    signer: PrivateKeySigner,
    executed: mpsc::Receiver<Executed>,
    out: mpsc::Sender<Attested>,
}

impl<C, J: Journal> Attester<C, J> {
    /// An attester that signs with a key.
    pub fn new(
        node: Arc<Node<C, J>>,
        signer: PrivateKeySigner,
        executed: mpsc::Receiver<Executed>,
        out: mpsc::Sender<Attested>,
    ) -> Self {
        Self { node, signer, executed, out }
    }

    /// Signs until shutdown.
    ///
    /// # Errors
    /// The signer's and the journal's.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StageError> {
        loop {
            let executed = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                executed = self.executed.recv() => executed,
            };
            let Some(executed) = executed else { return Ok(()) };
            if !self.record(&executed)? {
                continue;
            }
            let attested = executed.attested(self.node.domain, &self.signer)?;
            self.node.metrics.attested.add();
            debug!(id = %attested.task.id, "signed");
            self.out.send(attested).await.map_err(|_| StageError::Gone("submitter"))?;
        }
    }

    /// Remembers what is about to be signed. Returns false where it must not be: the job is closed then.
    fn record(&self, executed: &Executed) -> Result<bool, StageError> {
        let refused = match self.node.journal.record_signed(&executed.signed_answer()) {
            Ok(()) => return Ok(true),
            Err(RecordSignedError::Refused(refused)) => refused,
            Err(RecordSignedError::Journal(error)) => return Err(error.into()),
        };
        let id = executed.task.id;
        warn!(%id, %refused, "an answer is not signed");
        failpoint("closed.before");
        let moves = vec![(id, Transition::Failed(refused.to_string()))];
        self.node.journal.commit(&Batch { moves, ..Batch::default() })?;
        failpoint("closed.after");
        Ok(false)
    }
}

#[cfg(test)]
mod tests;
