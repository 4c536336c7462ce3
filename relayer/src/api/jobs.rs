//! Jobs as they are shown.

use alloy::primitives::B256;
use serde_json::{Value, json};

use crate::{
    domain::{CloseReason, Closed, Included, Job, Purpose, Resolution, TrackedTransaction},
    journal::{Journal, JournalError, Position, View},
};

/// The most jobs on a page.
pub const PAGE: usize = 1_000;
/// Jobs looked at for one page: a rare model's jobs may take several pages.
const LOOKS: usize = 20_000;

/// Which jobs to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Only those in this state.
    pub state: Option<View>,
    /// Only those of this model.
    pub model: Option<B256>,
    /// Only those behind this one, in the order of the list.
    pub after: Option<Position>,
    /// So many at most.
    pub limit: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self { state: None, model: None, after: None, limit: 100 }
    }
}

impl Filter {
    /// Reads `state=…&model=0x…&after=BLOCK-0x…&limit=…`.
    ///
    /// # Errors
    /// What is wrong, for whoever wrote it.
    pub fn from_query(query: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let wrong = || format!("{key}={value} cannot be read");
            match key {
                "state" => filter.state = Some(View::of_state(value).ok_or_else(wrong)?),
                "model" => filter.model = Some(value.parse().map_err(|_| wrong())?),
                "after" => filter.after = Some(position(value).ok_or_else(wrong)?),
                "limit" => filter.limit = value.parse::<usize>().map_err(|_| wrong())?.clamp(1, PAGE),
                _ => return Err(format!("jobs cannot be listed by `{key}`: use state, model, after and limit")),
            }
        }
        Ok(filter)
    }

    /// The same, written.
    #[must_use]
    pub fn to_query(&self) -> String {
        let mut query = format!("limit={}", self.limit);
        if let Some(state) = self.state {
            query += &format!("&state={}", state.state().unwrap_or_default());
        }
        if let Some(model) = self.model {
            query += &format!("&model={model}");
        }
        if let Some(after) = self.after {
            query += &format!("&after={}", cursor(after));
        }
        query
    }
}

/// Reads a place as `cursor` writes it.
#[must_use]
pub fn position(text: &str) -> Option<Position> {
    let (height, id) = text.split_once('-')?;
    Some(Position { height: height.parse().ok()?, id: id.parse().ok()? })
}

fn cursor(at: Position) -> String {
    format!("{}-{}", at.height, at.id)
}

/// A page of jobs, newest first, as `{"jobs": […], "next": …}`; `next` is the `after` of the next page, or null.
///
/// # Errors
/// The journal's.
pub fn list(journal: &impl Journal, filter: &Filter) -> Result<Value, JournalError> {
    let view = filter.state.unwrap_or(View::Requested);
    let mut end = filter.after.unwrap_or(Position::last_at(u64::MAX));
    let (mut jobs, mut looks) = (Vec::new(), 0);
    loop {
        let step = journal.walk_back(view, Position::first_at(0)..end, PAGE)?;
        let Some(last) = step.last().copied() else { return Ok(json!({ "jobs": jobs, "next": null })) };
        for at in step {
            looks += 1;
            if let Some(job) = journal.job(at.id)?
                && filter.model.is_none_or(|model| job.task().request.model_id == model)
            {
                jobs.push(summary(&job));
            }
            if jobs.len() >= filter.limit || looks >= LOOKS {
                return Ok(json!({ "jobs": jobs, "next": cursor(at) }));
            }
        }
        end = last;
    }
}

/// All that the journal holds of a job, its transaction included.
///
/// # Errors
/// The journal's.
pub fn show(journal: &impl Journal, id: B256) -> Result<Option<Value>, JournalError> {
    let Some(job) = journal.job(id)? else { return Ok(None) };
    let mut value = summary(&job);
    value["job"] = serde_json::to_value(&job)?;
    let slots = journal.transactions()?;
    let carries = |slot: &&TrackedTransaction| matches!(&slot.purpose, Purpose::Answer { items } if items.iter().any(|item| item.id == id));
    if let Some(slot) = slots.iter().find(carries) {
        value["transaction"] = json!({
            "sender": slot.sender,
            "nonce": slot.nonce,
            "gas": slot.attempts.last().map(|attempt| attempt.gas),
            "hashes": slot.attempts.iter().map(|attempt| attempt.hash).collect::<Vec<_>>(),
            "mined": slot.mined,
        });
    }
    if let Some(claim) = journal.claim(id)? {
        value["claim"] = json!({ "vestsAt": claim.vests_at, "paidAt": claim.paid_at });
    }
    Ok(Some(value))
}

fn summary(job: &Job) -> Value {
    let task = job.task();
    let reason = match job {
        Job::Closed(Closed { end: CloseReason::Skipped { reason }, .. }) => Some(reason.to_string()),
        Job::Closed(Closed { end: CloseReason::Failed { reason }, .. }) => Some(reason.clone()),
        _ => None,
    };
    let ending = match job {
        Job::Included(Included { ending, .. })
        | Job::Closed(Closed { end: CloseReason::Finalized { ending, .. }, .. }) => Some(match ending {
            Resolution::Fulfilled { ours: true, .. } => "answered here",
            Resolution::Fulfilled { ours: false, .. } => "answered by another",
            Resolution::Refunded => "refunded",
        }),
        _ => None,
    };
    json!({
        "id": task.id,
        "state": job.name(),
        "model": task.request.model_id,
        "consumer": task.request.consumer,
        "block": task.block.number,
        "deadline": task.request.deadline(),
        "ending": ending,
        "reason": reason,
    })
}
