//! What changes while a node runs: the policy, when the configurations are read again.

use std::{convert::Infallible, sync::Arc};

use alloy::primitives::B256;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::models::ServedModels;
use crate::{config::Settings, policy::Policy};

/// The configurations of all chains as they were read last, in the order of the first reading; `None` before they are
/// read again.
pub type ConfigUpdates = watch::Receiver<Option<Arc<Vec<Settings>>>>;

/// Applies each update of the configuration at `index`, for as long as it is polled. `initial` is what the chain was
/// started with; `served` are its models, whose own terms are looked up anew when they change.
pub(super) async fn follow(
    mut updates: ConfigUpdates,
    index: usize,
    initial: &Settings,
    mut served: watch::Receiver<ServedModels>,
    policy: &watch::Sender<Policy>,
) -> Infallible {
    loop {
        let read_again = tokio::select! {
            Ok(()) = updates.changed() => true,
            Ok(()) = served.changed() => false,
            else => return std::future::pending().await,
        };
        let all = updates.borrow_and_update().clone();
        let names = served.borrow_and_update().clone();
        let read = all.as_ref().and_then(|all| all.get(index));
        match read {
            Some(settings) if read_again => apply(settings, initial, &names, policy),
            settings => {
                // A policy that cannot be applied was told of when it was read.
                if let Ok(next) = Policy::new(settings.unwrap_or(initial), |name| id_of(&names, name)) {
                    policy.send_replace(next);
                }
            }
        }
    }
}

/// Publishes the policy of an update, and warns of what else differs from the start.
fn apply(settings: &Settings, initial: &Settings, served: &[(String, B256)], policy: &watch::Sender<Policy>) {
    let next = match Policy::new(settings, |name| id_of(served, name)) {
        Ok(next) => next,
        Err(reason) => {
            error!(reason, "the configuration cannot be applied: nothing changes");
            return;
        }
    };
    let changed = policy.send_if_modified(|policy| std::mem::replace(policy, next.clone()) != next);
    info!(changed, "read the configuration again");
    let keys = settings.changed_for_a_restart(initial);
    if !keys.is_empty() {
        warn!(keys = keys.join(", "), "these keys differ from what the node was started with, and need a restart");
    }
}

/// The id of a served model by its name or id.
pub(super) fn id_of(served: &[(String, B256)], name: &str) -> Option<B256> {
    served.iter().find(|(known, id)| known == name || id.to_string() == name).map(|(_, id)| *id)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{FILE_NAME, example, reloadable_keys};

    fn settings(values: &[(&str, &str)]) -> Settings {
        let address = "\"0x5FbDB2315678afecb367f032d93F642f64180aa3\"";
        let required = [("chain.coordinator", address), ("node.owner", address)];
        let values: Vec<_> = required.iter().chain(values).map(|(key, value)| (*key, (*value).to_owned())).collect();
        Settings::parse(&example(&values), Path::new(FILE_NAME), []).unwrap()
    }

    /// The policy that a node has after it was started with the defaults, and its file says `values` now.
    fn applied(values: &[(&str, &str)]) -> (Policy, Policy) {
        let served = [("iris/v1".to_owned(), B256::ZERO)];
        let initial = settings(&[]);
        let (policy, reading) = watch::channel(Policy::new(&initial, |name| id_of(&served, name)).unwrap());
        let before = reading.borrow().clone();
        apply(&settings(values), &initial, &served, &policy);
        let after = reading.borrow().clone();
        (before, after)
    }

    #[test]
    fn every_key_that_needs_no_restart_changes_the_policy() {
        let other_values = [
            ("fees.max_fee_per_gas", "7"),
            ("fees.min_priority_fee", "0.7"),
            ("fees.bump_percent", "77"),
            ("policy.min_fee", "\"7\""),
            ("policy.margin_percent", "7"),
            ("policy.max_spend_per_hour", "7"),
            ("policy.balance_alert", "7"),
            ("policy.max_batch", "7"),
            ("policy.batch_wait", "7"),
            ("policy.models", "{ \"iris/v1\" = { margin_percent = 7 } }"),
        ];
        assert_eq!(reloadable_keys(), other_values.map(|(key, _)| key));
        for (key, value) in other_values {
            let change = [(key, value)];
            assert!(settings(&change).changed_for_a_restart(&settings(&[])).is_empty(), "{key} needs a restart");
            let (before, after) = applied(&change);
            assert_ne!(before, after, "{key}");
        }
    }

    #[test]
    fn what_names_a_model_that_is_not_served_changes_nothing() {
        let (before, after) =
            applied(&[("policy.max_batch", "7"), ("policy.models", "{ \"other/v1\" = { margin_percent = 7 } }")]);
        assert_eq!(before, after);
    }
}
