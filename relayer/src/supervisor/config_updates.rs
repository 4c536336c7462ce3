//! What changes while a node runs: the policy, when the configuration is read again.

use std::{convert::Infallible, sync::Arc};

use alloy::primitives::B256;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::{config::Settings, policy::Policy};

/// The configurations of all chains as they were last read again, in the order of the first reading.
pub type ConfigUpdates = watch::Receiver<Option<Arc<Vec<Settings>>>>;

/// Takes over what may change whenever the configurations are read again, for as long as it is polled. `first` is what the
/// chain was started with.
pub(super) async fn follow(
    mut reads: ConfigUpdates,
    index: usize,
    first: &Settings,
    served: &[(String, B256)],
    policy: &watch::Sender<Policy>,
) -> Infallible {
    while reads.changed().await.is_ok() {
        let read = reads.borrow_and_update().clone();
        if let Some(settings) = read.as_ref().and_then(|all| all.get(index)) {
            take_over(settings, first, served, policy);
        }
    }
    std::future::pending().await
}

fn take_over(settings: &Settings, first: &Settings, served: &[(String, B256)], policy: &watch::Sender<Policy>) {
    let next = match Policy::new(settings, |name| id_of(served, name)) {
        Ok(next) => next,
        Err(reason) => {
            error!(reason, "the configuration cannot be taken over: nothing changes");
            return;
        }
    };
    let changed = policy.send_if_modified(|policy| std::mem::replace(policy, next.clone()) != next);
    info!(changed, "read the configuration again");
    let keys = settings.changed_for_a_restart(first);
    if !keys.is_empty() {
        warn!(keys = keys.join(", "), "these keys differ from what the node was started with, and need a restart");
    }
}

/// A served model by its name or id.
pub(super) fn id_of(served: &[(String, B256)], name: &str) -> Option<B256> {
    served.iter().find(|(known, id)| known == name || id.to_string() == name).map(|(_, id)| *id)
}
