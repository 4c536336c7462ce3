//! Signs what the executor found.

use std::{collections::VecDeque, sync::Arc};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    domain::{Attested, Executed},
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

impl<C, J> Attester<C, J> {
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
    /// `Signer` if the signer refuses for good; `Gone` if the submitter is.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StageError> {
        tokio::select! {
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
                Some((executed, signed)) = self.calls.next() => self.signed(executed, signed).await?,
                executed = self.executed.recv(), if has_room => match executed {
                    Some(executed) if rests_until.is_some() => self.unsigned.push_back(executed),
                    Some(executed) => self.sign(executed).await?,
                    None => return Ok(()),
                },
                () = sleep_until(rests_until.unwrap_or_else(Instant::now)), if rests_until.is_some() => {}
            }
        }
    }

    async fn sign(&mut self, executed: Executed) -> Result<(), StageError> {
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use alloy::primitives::Bytes;

    use super::*;
    use crate::{
        domain::Seen,
        protocol::Outcome,
        testing::{Bench, DOMAIN, RemoteSigner, task},
    };

    fn executed(nonce: u64) -> Executed {
        Seen { task: task(nonce) }.executed(Outcome::Ok, Bytes::from_static(b"output"))
    }

    struct Rig {
        _bench: Bench,
        signer: Arc<RemoteSigner>,
        executed: mpsc::Sender<Executed>,
        attested: mpsc::Receiver<Attested>,
        running: tokio::task::JoinHandle<Result<(), StageError>>,
        shutdown: CancellationToken,
    }

    impl Rig {
        fn start() -> Self {
            let bench = Bench::new();
            let signer = Arc::new(RemoteSigner::new(bench.signer.clone()));
            let (executed, executed_in) = mpsc::channel(100);
            let (out, attested) = mpsc::channel(100);
            let shutdown = CancellationToken::new();
            let attester = Attester::new(bench.node.clone(), signer.clone(), executed_in, out);
            let running = tokio::spawn(attester.run(shutdown.clone()));
            Self { _bench: bench, signer, executed, attested, running, shutdown }
        }

        async fn answers(&mut self, count: usize) {
            for _ in 0..count {
                let answer = self.attested.recv().await.unwrap();
                let statement =
                    Executed { task: answer.task, outcome: answer.outcome, output: answer.output, lease: answer.lease };
                let recovered = answer.signature.recover(statement.statement().digest(DOMAIN));
                assert_eq!(recovered, Some(self.signer.address()));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_signer_signs_many_at_once() {
        let mut rig = Rig::start();
        rig.signer.answer_after(Duration::from_millis(500));
        let began = Instant::now();
        for nonce in 0..SIGNATURES_AT_ONCE as u64 {
            rig.executed.send(executed(nonce)).await.unwrap();
        }
        rig.answers(SIGNATURES_AT_ONCE).await;
        assert_eq!(began.elapsed(), Duration::from_millis(500));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_signer_could_not_sign_for_a_while_is_signed_once_it_answers_again() {
        let mut rig = Rig::start();
        rig.signer.fail(Some(SignError::Unavailable("test".into())));
        for nonce in 0..3 {
            rig.executed.send(executed(nonce)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(rig.attested.try_recv().is_err() && !rig.running.is_finished());
        assert!(rig.signer.calls() < 12, "{} calls of a signer that fails", rig.signer.calls());
        rig.signer.fail(None);
        rig.answers(3).await;
        rig.shutdown.cancel();
        rig.running.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_signer_that_refuses_for_good_ends_the_stage() {
        let rig = Rig::start();
        rig.signer.fail(Some(SignError::Denied("test".into())));
        rig.executed.send(executed(0)).await.unwrap();
        let ended = rig.running.await.unwrap().unwrap_err();
        assert!(matches!(&ended, StageError::Signer(SignError::Denied(_))) && ended.is_lasting(), "{ended}");
    }
}
