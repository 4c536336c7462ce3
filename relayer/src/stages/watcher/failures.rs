//! Callbacks that failed are told, with what to do.

use std::{convert::Infallible, sync::Arc};

use alloy::primitives::{Address, B256, Bytes};
use tokio::sync::mpsc;
use tracing::warn;

use crate::{
    chain::{At, Chain},
    coordinator::{Callback, DecodedLog, Event},
    journal::{Journal, JournalError},
    node::Node,
    protocol::Outcome,
    text::shown,
};

/// Callbacks that wait to be tried again for the reason; beyond that they are told without it.
pub(super) const MAX_UNEXPLAINED: usize = 16;

/// Where callbacks go that are tried again.
pub(super) type Unexplained = mpsc::Sender<Callback>;

/// Tells of the callbacks that failed, of requests for this node's models; those of which the answer is known go to be tried
/// again, beside the watcher, which must not wait for that.
pub(super) fn tell<C, J: Journal>(
    node: &Node<C, J>,
    logs: &[DecodedLog],
    unexplained: Option<&Unexplained>,
) -> Result<(), JournalError> {
    for log in logs {
        let Event::DeliveryFailed(id) = log.event else { continue };
        let Some(job) = node.journal.job(id)? else { continue };
        let request = &job.task().request;
        let (coordinator, consumer) = (node.domain.coordinator, request.consumer);
        let gas_limit = request.callback_gas_limit;
        let callback = output_of(id, logs).map(|(outcome, output)| {
            let output = output.clone();
            Callback { coordinator, consumer, id, outcome, output, gas_limit }
        });
        let is_sent = callback.zip(unexplained).is_some_and(|(callback, way)| way.try_send(callback).is_ok());
        if !is_sent {
            say(id, consumer, "not known");
        }
    }
    Ok(())
}

/// Tries callbacks again for the reason, one at a time, and tells of them.
pub(super) async fn explain<C: Chain, J>(node: Arc<Node<C, J>>, mut failed: mpsc::Receiver<Callback>) -> Infallible {
    while let Some(callback) = failed.recv().await {
        let again = node.chain.call(&callback.call(), At::Latest).await;
        let reason = again.err().and_then(|error| callback.failure(&error));
        say(callback.id, callback.consumer, &reason.unwrap_or_else(|| "not known".into()));
    }
    std::future::pending().await
}

fn say(id: B256, consumer: Address, reason: &str) {
    warn!(
        %id, %consumer, reason = %shown(reason),
        "the consumer's callback failed; `oraculum request redeliver {id}` tries it again"
    );
}

/// The answer in the same logs: a delivery that fails again comes without.
fn output_of(id: B256, logs: &[DecodedLog]) -> Option<(Outcome, &Bytes)> {
    logs.iter().find_map(|log| match &log.event {
        Event::Fulfilled { id: of, outcome, output, .. } if *of == id => Some((*outcome, output)),
        _ => None,
    })
}
