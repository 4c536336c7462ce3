//! Commands that have to end.

use std::{process::Output, time::Duration};

use tokio::process::Command;

use crate::Res;

/// Far more than any command of the tests needs: one that does not end fails its test, not the whole run.
const LONGEST: Duration = Duration::from_secs(120);

/// A command that is run to its end.
pub trait ToEnd {
    /// What it printed, and how it ended.
    ///
    /// # Errors
    /// If it cannot be started, or has not ended after two minutes; it is killed then.
    fn to_end(&mut self) -> impl Future<Output = Res<Output>> + Send;
}

impl ToEnd for Command {
    async fn to_end(&mut self) -> Res<Output> {
        let name = format!("{:?}", self.as_std());
        let ended = tokio::time::timeout(LONGEST, self.kill_on_drop(true).output()).await;
        Ok(ended.map_err(|_| format!("{name} did not end in {LONGEST:?}"))??)
    }
}
