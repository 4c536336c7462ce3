//! Signs what the executor found.

use std::{collections::VecDeque, sync::Arc};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    domain::{Attested, Executed, Transition},
    failpoint::{failpoint, is_planted},
    journal::{Batch, Journal, RecordSignedError},
    keys::{SignError, Signer, SignerHealth, Signing},
    node::{Node, StageError},
    protocol::statement::CompactSignature,
};

/// Answers at most that are being signed or wait for their signer; more stay in the channel, and hold back the executor.
const SIGNATURES_AT_ONCE: usize = 16;

type Signed = (Executed, Result<CompactSignature, SignError>);

/// The third stage. A key in this process signs without a switch of tasks; the answers of a remote signer go on in the
/// order in which it signs them. What cannot be signed for a while waits here, and nothing else does.
pub struct Attester<C, J> {
    node: Arc<Node<C, J>>,
    signer: Arc<dyn Signer>,
    health: SignerHealth,
    executed: mpsc::Receiver<Executed>,
    calls: FuturesUnordered<BoxFuture<'static, Signed>>,
    /// Answers whose signer failed.
    unsigned: VecDeque<Executed>,
    out: mpsc::Sender<Attested>,
}

impl<C, J: Journal> Attester<C, J> {
    /// An attester that signs with a key.
    pub fn new(
        node: Arc<Node<C, J>>,
        signer: Arc<dyn Signer>,
        executed: mpsc::Receiver<Executed>,
        out: mpsc::Sender<Attested>,
    ) -> Self {
        let (calls, unsigned) = (FuturesUnordered::new(), VecDeque::new());
        Self { node, signer, health: SignerHealth::default(), executed, calls, unsigned, out }
    }

    /// Signs until shutdown.
    ///
    /// # Errors
    /// `Signer` if the signer refuses for good; `Journal` where the journal fails; `Gone` if the submitter is.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StageError> {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            ended = self.sign_all() => ended,
        }
    }

    async fn sign_all(&mut self) -> Result<(), StageError> {
        loop {
            let rests_until = self.health.rests_until();
            if rests_until.is_none()
                && let Some(executed) = self.unsigned.pop_front()
            {
                self.sign(executed).await?;
                continue;
            }
            let has_room = self.calls.len() + self.unsigned.len() < SIGNATURES_AT_ONCE;
            tokio::select! {
                biased;
                () = sleep_until(rests_until.unwrap_or_else(Instant::now)), if rests_until.is_some() => {}
                Some((executed, signed)) = self.calls.next() => self.signed(executed, signed).await?,
                executed = self.executed.recv(), if has_room => match executed {
                    Some(executed) if rests_until.is_some() => self.unsigned.push_back(executed),
                    Some(executed) => self.sign(executed).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    async fn sign(&mut self, executed: Executed) -> Result<(), StageError> {
        if !self.record(&executed)? {
            return Ok(());
        }
        let call = self.signer.sign_statement(&executed.statement(), self.node.domain);
        match Signing::start(call) {
            Signing::Done(signed) => self.signed(executed, signed).await,
            Signing::InProgress(call) => {
                self.calls.push(Box::pin(async move { (executed, call.await) }));
                Ok(())
            }
        }
    }

    async fn signed(
        &mut self,
        executed: Executed,
        signed: Result<CompactSignature, SignError>,
    ) -> Result<(), StageError> {
        let key = self.signer.address();
        match signed {
            Ok(signature) => {
                self.health.succeeded(key);
                let attested = executed.attested(signature);
                self.node.metrics.attested.add();
                debug!(id = %attested.task.id, "signed");
                self.out.send(attested).await.map_err(|_| StageError::Gone("submitter"))
            }
            Err(error) => {
                self.health.failed(key, error)?;
                self.unsigned.push_back(executed);
                Ok(())
            }
        }
    }

    /// Remembers what is about to be signed. Returns false where it must not be: the job is closed then.
    fn record(&self, executed: &Executed) -> Result<bool, StageError> {
        if is_planted("signed-unrecorded") {
            return Ok(true);
        }
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
