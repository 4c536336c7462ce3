//! Signs what the executor found.

use std::sync::Arc;

use alloy::signers::local::PrivateKeySigner;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    domain::{Attested, Executed},
    node::{Node, StageError},
};

/// The third stage.
pub struct Attester<C, J> {
    node: Arc<Node<C, J>>,
    signer: PrivateKeySigner,
    executed: mpsc::Receiver<Executed>,
    out: mpsc::Sender<Attested>,
}

impl<C, J> Attester<C, J> {
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
    /// The signer's.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StageError> {
        loop {
            let executed = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                executed = self.executed.recv() => executed,
            };
            let Some(executed) = executed else { return Ok(()) };
            let attested = executed.attested(self.node.domain, &self.signer)?;
            self.node.metrics.attested.add();
            debug!(id = %attested.task.id, "signed");
            self.out.send(attested).await.map_err(|_| StageError::Gone("submitter"))?;
        }
    }
}
