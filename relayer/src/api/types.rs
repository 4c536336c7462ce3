//! What the API says, as both sides write and read it: the service, the command line, and whoever scripts against them.
//!
//! Amounts are wei, as decimal texts, for JSON's numbers do not hold them. Field names are in camelCase, but for `job`, which
//! is the journal's record as it is.

use std::{fmt, str::FromStr};

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

pub use crate::domain::JobState;
use crate::{
    chain::Receipt,
    client::DailyEarnings,
    domain::{CloseReason, Closed, Included, Job, Resolution, TrackedTransaction, Wait},
    journal::Position,
};

/// The most jobs on a page.
pub const MAX_PAGE: usize = 1_000;
/// Jobs on a page, where no number is asked for.
const DEFAULT_PAGE: usize = 100;

/// Where a page of jobs ends; written as `BLOCK-REQUEST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PageCursor(pub Position);

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.height, self.0.id)
    }
}

impl FromStr for PageCursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = || {
            let (height, id) = text.split_once('-')?;
            Some(Position { height: height.parse().ok()?, id: id.parse().ok()? })
        };
        place().map(Self).ok_or_else(|| format!("`{text}` is not the `next` of a page"))
    }
}

impl TryFrom<String> for PageCursor {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PageCursor> for String {
    fn from(cursor: PageCursor) -> Self {
        cursor.to_string()
    }
}

/// Which jobs to list; the query of `/jobs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsQuery {
    /// Only jobs in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// Only jobs of this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<B256>,
    /// Only jobs behind this place: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PageCursor>,
    /// Number of jobs at most; taken as 1 to [`MAX_PAGE`].
    #[serde(default = "default_page")]
    pub limit: usize,
}

fn default_page() -> usize {
    DEFAULT_PAGE
}

impl Default for JobsQuery {
    fn default() -> Self {
        Self { state: None, model: None, after: None, limit: DEFAULT_PAGE }
    }
}

/// A page of jobs, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsPage {
    /// The jobs of this page.
    pub jobs: Vec<JobSummary>,
    /// The `after` of the next page, if there may be more.
    pub next: Option<PageCursor>,
}

/// A job in a line of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSummary {
    /// The request's id.
    pub id: B256,
    /// The state that the job is in.
    pub state: JobState,
    /// The id of the model.
    pub model: B256,
    /// The contract or account that asked.
    pub consumer: Address,
    /// The block of the request.
    pub block: u64,
    /// The last block in which the request can be answered.
    pub deadline: u64,
    /// How the request ended on chain, once it did.
    pub ending: Option<Ending>,
    /// Why this node skipped it or failed.
    pub reason: Option<String>,
    /// What it waits for while it is open; only a running node knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// What an open request waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Reason of the wait.
    pub reason: String,
    /// Pay and price, where they are the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<AskedPrice>,
    /// Block at which it is looked at again.
    pub next_look: u64,
}

/// Pay of a request, and the price of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AskedPrice {
    /// Pay of the request to this node, wei.
    #[serde(with = "decimal")]
    pub pays_wei: u128,
    /// Pay that would be enough at the present price of gas, wei.
    #[serde(with = "decimal")]
    pub asks_wei: u128,
}

impl From<Wait> for Waiting {
    fn from(wait: Wait) -> Self {
        let price = wait.price.map(|(pays_wei, asks_wei)| AskedPrice { pays_wei, asks_wei });
        Self { reason: wait.reason.to_string(), price, next_look: wait.next_look }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waits: {}", self.reason)?;
        if let Some(AskedPrice { pays_wei, asks_wei }) = self.price {
            write!(f, " (pays {pays_wei} wei, {asks_wei} asked)")?;
        }
        write!(f, "; next look at block {}", self.next_look)
    }
}

/// How a request ended on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// This node's answer was recorded.
    #[serde(rename = "answered here")]
    AnsweredHere,
    /// Another node's answer was recorded.
    #[serde(rename = "answered by another")]
    AnsweredByAnother,
    /// The fee went back.
    #[serde(rename = "refunded")]
    Refunded,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AnsweredHere => "answered here",
            Self::AnsweredByAnother => "answered by another",
            Self::Refunded => "refunded",
        })
    }
}

impl From<&Resolution> for Ending {
    fn from(resolution: &Resolution) -> Self {
        match resolution {
            Resolution::Fulfilled { ours: true, .. } => Self::AnsweredHere,
            Resolution::Fulfilled { ours: false, .. } => Self::AnsweredByAnother,
            Resolution::Refunded => Self::Refunded,
        }
    }
}

impl From<&Job> for JobSummary {
    fn from(job: &Job) -> Self {
        let task = job.task();
        let (ending, reason) = match job {
            Job::Seen(_) | Job::Sent(_) => (None, None),
            Job::Included(Included { ending, .. })
            | Job::Closed(Closed { end: CloseReason::Finalized { ending, .. }, .. }) => (Some(ending.into()), None),
            Job::Closed(Closed { end: CloseReason::Skipped { reason }, .. }) => (None, Some(reason.to_string())),
            Job::Closed(Closed { end: CloseReason::Failed { reason }, .. }) => (None, Some(reason.clone())),
        };
        Self {
            id: task.id,
            state: job.state(),
            model: task.request.model_id,
            consumer: task.request.consumer,
            block: task.block.number,
            deadline: task.request.deadline(),
            ending,
            reason,
            waiting: None,
        }
    }
}

/// All that the journal holds of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDetails {
    /// What a page shows of it.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// The journal's record, in the journal's own words.
    pub job: Job,
    /// Our transaction with the answer, until it is final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<JobTransaction>,
    /// The pay for the answer, until the claim is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<JobClaim>,
}

/// Our transaction that carries an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTransaction {
    /// The account that pays for the gas.
    pub sender: Address,
    /// The transaction's nonce.
    pub nonce: u64,
    /// The gas limit of the last attempt.
    pub gas: Option<u64>,
    /// The hashes of all attempts, the last one current.
    pub hashes: Vec<B256>,
    /// Where it was mined, if it was.
    pub mined: Option<Receipt>,
}

impl From<&TrackedTransaction> for JobTransaction {
    fn from(tracked: &TrackedTransaction) -> Self {
        Self {
            sender: tracked.sender,
            nonce: tracked.nonce,
            gas: tracked.attempts.last().map(|attempt| attempt.gas),
            hashes: tracked.attempts.iter().map(|attempt| attempt.hash).collect(),
            mined: tracked.mined,
        }
    }
}

/// When the pay for an answer can be claimed, and when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobClaim {
    /// The block from which it can be claimed.
    pub vests_at: u64,
    /// The block in which it was paid, if it was.
    pub paid_at: Option<u64>,
}

/// What one model cost and earned on one day. The ledger is a list of these, the newest day first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerLine {
    /// The day (UTC), as `2026-11-23`.
    pub day: String,
    /// The id of the model; zero for what serves no model.
    pub model: B256,
    /// Number of answers that became final.
    pub answers: i64,
    /// Pay of those answers, wei; negative where a reorganisation takes more back.
    #[serde(with = "decimal")]
    pub earned_wei: i128,
    /// Gas of the transactions that became final, wei.
    #[serde(with = "decimal")]
    pub spent_wei: u128,
    /// What was earned less what was spent, wei.
    #[serde(with = "decimal")]
    pub profit_wei: i128,
}

impl From<DailyEarnings> for LedgerLine {
    fn from(earnings: DailyEarnings) -> Self {
        Self {
            day: earnings.date(),
            model: earnings.model,
            answers: earnings.answers,
            earned_wei: earnings.earned,
            spent_wei: earnings.spent,
            profit_wei: earnings.profit(),
        }
    }
}

/// Whether a node can answer requests now: `/ready` in JSON. As text it is `ready`, or the reasons, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether requests can be answered; exactly if there is no reason against it.
    pub ready: bool,
    /// What keeps the node from answering.
    pub reasons: Vec<String>,
}

impl From<Vec<String>> for Readiness {
    fn from(reasons: Vec<String>) -> Self {
        Self { ready: reasons.is_empty(), reasons }
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ready {
            return f.write_str("ready\n");
        }
        self.reasons.iter().try_for_each(|reason| writeln!(f, "{reason}"))
    }
}

/// The body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong, for people.
    pub error: String,
}

/// Amounts as decimal texts.
mod decimal {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
