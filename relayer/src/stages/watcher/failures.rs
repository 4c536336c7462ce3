//! Callbacks that failed are told, with what to do.

use alloy::primitives::B256;
use tracing::warn;

use crate::{
    chain::{At, Chain},
    coordinator::{Callback, DecodedLog, Event},
    journal::{Journal, JournalError},
    node::Node,
    text::shown,
};

/// Callbacks of one batch that are tried again for the reason; others are told without it.
const TRIED: usize = 4;

/// Logs the callbacks that failed, of requests for this node's models.
pub(super) async fn tell<C: Chain, J: Journal>(node: &Node<C, J>, logs: &[DecodedLog]) -> Result<(), JournalError> {
    let mut tried = 0;
    for log in logs {
        let Event::DeliveryFailed(id) = &log.event else { continue };
        let Some(job) = node.journal.job(*id)? else { continue };
        let request = &job.task().request;
        let reason = match output_of(*id, logs) {
            Some((outcome, output)) if tried < TRIED => {
                tried += 1;
                let (coordinator, consumer) = (node.domain.coordinator, request.consumer);
                let gas_limit = request.callback_gas_limit;
                let callback = Callback { coordinator, consumer, id: *id, outcome, output, gas_limit };
                node.chain.call(&callback.call(), At::Latest).await.err().and_then(|error| callback.failure(&error))
            }
            _ => None,
        };
        let reason = reason.unwrap_or_else(|| "not known".into());
        warn!(
            %id, consumer = %request.consumer, reason = %shown(&reason),
            "the consumer's callback failed; `oraculum request redeliver {id}` tries it again"
        );
    }
    Ok(())
}

/// The answer in the same logs: a delivery that fails again comes without.
fn output_of(id: B256, logs: &[DecodedLog]) -> Option<(crate::protocol::Outcome, &alloy::primitives::Bytes)> {
    logs.iter().find_map(|log| match &log.event {
        Event::Fulfilled { id: of, outcome, output, .. } if *of == id => Some((*outcome, output)),
        _ => None,
    })
}
