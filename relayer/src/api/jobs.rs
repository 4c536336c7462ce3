//! Jobs of a journal, as they are shown.

use alloy::primitives::B256;

use super::types::{JobClaim, JobDetails, JobSummary, JobsPage, JobsQuery, MAX_PAGE, PageCursor};
use crate::{
    domain::{Job, Purpose, TrackedTransaction, Wait},
    journal::{Journal, JournalError, Position, View},
};

/// Jobs read for one page: a rare model's jobs may take several pages.
const PAGE_READS: usize = 20_000;

/// A job in short, with what it waits for while it is open.
fn summary(job: &Job, wait: &impl Fn(B256) -> Option<Wait>) -> JobSummary {
    let waiting = matches!(job, Job::Seen(_)).then(|| wait(job.task().id)).flatten();
    JobSummary { waiting: waiting.map(Into::into), ..job.into() }
}

/// A page of jobs, the newest first; `wait` knows what open ones wait for.
///
/// # Errors
/// `Store` or `Record`: the journal's.
pub fn list(
    journal: &impl Journal,
    query: &JobsQuery,
    wait: impl Fn(B256) -> Option<Wait>,
) -> Result<JobsPage, JournalError> {
    let view = query.state.map_or(View::Requested, View::of);
    let limit = query.limit.clamp(1, MAX_PAGE);
    let mut end = query.after.map_or(Position::last_at(u64::MAX), |cursor| cursor.0);
    let (mut jobs, mut reads) = (Vec::new(), 0);
    loop {
        let step = journal.walk_back(view, Position::first_at(0)..end, MAX_PAGE)?;
        let Some(last) = step.last().copied() else { return Ok(JobsPage { jobs, next: None }) };
        for at in step {
            reads += 1;
            if let Some(job) = journal.job(at.id)?
                && query.model.is_none_or(|model| job.task().request.model_id == model)
            {
                jobs.push(summary(&job, &wait));
            }
            if jobs.len() >= limit || reads >= PAGE_READS {
                return Ok(JobsPage { jobs, next: Some(PageCursor(at)) });
            }
        }
        end = last;
    }
}

/// All that the journal holds of a job, its transaction included, and what `wait` knows; `None` if there is no such job.
///
/// # Errors
/// `Store` or `Record`: the journal's.
pub fn show(
    journal: &impl Journal,
    id: B256,
    wait: impl Fn(B256) -> Option<Wait>,
) -> Result<Option<JobDetails>, JournalError> {
    let Some(job) = journal.job(id)? else { return Ok(None) };
    let carries = |tracked: &&TrackedTransaction| match &tracked.purpose {
        Purpose::Answer { items } => items.iter().any(|item| item.id == id),
        Purpose::Claim { .. } | Purpose::Cancel => false,
    };
    Ok(Some(JobDetails {
        summary: summary(&job, &wait),
        transaction: journal.transactions_without_bytes()?.iter().find(carries).map(Into::into),
        claim: journal.claim(id)?.map(|claim| JobClaim { vests_at: claim.vests_at, paid_at: claim.paid_at }),
        job,
    }))
}
