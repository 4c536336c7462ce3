//! `oraculum jobs`: what the journal knows.

use std::{collections::HashMap, fmt::Display};

use alloy::primitives::B256;
use clap::{Args, Subcommand};

use super::{
    CommandResult,
    local::{NodeArgs, NodeFolders},
    model_names, print, print_json, tell,
};
use crate::{
    api::{
        JournalReader,
        types::{JobDetails, JobState, JobsPage, JobsQuery, PageCursor},
    },
    chain::BlockRef,
    domain::{CloseReason, Closed, Included, Job},
    model::{ModelError, ModelStore},
    text::one_line,
};

/// Show the requests in a node's journal, whether the node runs or not.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oraculum jobs list --config my-node/oraculum.toml")]
pub(super) struct JobsArgs {
    #[command(subcommand)]
    command: JobsCommand,
    #[command(flatten)]
    node: NodeArgs,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum JobsCommand {
    /// List jobs, the newest first, with the reason of those that are skipped or failed.
    #[command(after_help = "Example:\n  oraculum jobs list --state skipped --model iris/v1 --json")]
    List {
        /// Only jobs in this state: seen, sent, included, finalized, skipped or failed.
        #[arg(long)]
        state: Option<JobState>,
        /// Only jobs of this model, by name or id.
        #[arg(long)]
        model: Option<String>,
        /// Number of jobs at most, up to 1000.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Continue behind the page that printed this as its `next`.
        #[arg(long, value_name = "NEXT")]
        after: Option<PageCursor>,
    },
    /// Show all that is known of a job; exits with 1 if there is none.
    #[command(after_help = "Example:\n  oraculum jobs show 0x5c50…")]
    Show {
        /// The request's id.
        #[arg(value_parser = super::request_id)]
        id: B256,
    },
}

/// Runs the command.
pub(super) async fn run(args: JobsArgs) -> CommandResult {
    let folders = args.node.folders()?;
    match args.command {
        JobsCommand::List { state, model, limit, after } => {
            let model = model.map(|model| model_id(&folders, &model)).transpose()?;
            let query = JobsQuery { state, model, after, limit: usize::from(limit) };
            let page = JournalReader::open(&folders.data_dir).await?.jobs(&query).await?;
            if args.json { print_json(&page) } else { print_page(&page, &model_names(&folders.models_dir)) }
        }
        JobsCommand::Show { id } => {
            let found = JournalReader::open(&folders.data_dir).await?.job(id).await?;
            let job = found.ok_or_else(|| format!("the journal knows no request {id}"))?;
            if args.json { print_json(&job) } else { print_job(&job, &model_names(&folders.models_dir)) }
        }
    }
}

fn model_id(folders: &NodeFolders, name: &str) -> Result<B256, ModelError> {
    match name.parse() {
        Ok(id) => Ok(id),
        Err(_) => Ok(ModelStore::new(&folders.models_dir).open(name)?.id),
    }
}

fn print_page(page: &JobsPage, names: &HashMap<B256, String>) -> CommandResult {
    if page.jobs.is_empty() {
        tell!("There are no such requests.");
        return Ok(());
    }
    print(&format!("{:<66}  {:<9}  {:>8}  {:<16}  what became of it", "request", "state", "block", "model"))?;
    for job in &page.jobs {
        let became = job.ending.map(|ending| ending.to_string()).or_else(|| job.reason.as_deref().map(one_line));
        let became = became.or_else(|| text(job.waiting.as_ref())).unwrap_or_default();
        // An id is cut to what fits the column.
        let model = names.get(&job.model).cloned().unwrap_or_else(|| job.model.to_string().chars().take(14).collect());
        let line = format!("{}  {:<9}  {:>8}  {model:<16}  {became}", job.id, job.state, job.block);
        print(line.trim_end())?;
    }
    if let Some(next) = page.next {
        tell!("There is more: --after {next}");
    }
    Ok(())
}

fn print_job(details: &JobDetails, names: &HashMap<B256, String>) -> CommandResult {
    let JobDetails { summary, job, transaction, claim } = details;
    let (transaction, claim) = (transaction.as_ref(), claim.as_ref());
    let (included, by) = inclusion(job).unzip();
    let price = summary.waiting.as_ref().and_then(|waiting| waiting.price);
    let lines = [
        ("request", Some(summary.id.to_string())),
        ("state", text(Some(summary.state))),
        ("model", Some(names.get(&summary.model).cloned().unwrap_or_else(|| summary.model.to_string()))),
        ("asked by", text(Some(summary.consumer))),
        ("in block", text(Some(summary.block))),
        ("answerable to", text(Some(summary.deadline))),
        ("reason", summary.reason.as_deref().map(one_line)),
        ("waits for", summary.waiting.as_ref().map(|waiting| waiting.reason.clone())),
        ("pays, wei", text(price.map(|price| price.pays_wei))),
        ("asked, wei", text(price.map(|price| price.asks_wei))),
        ("next look at", text(summary.waiting.as_ref().map(|waiting| waiting.next_look))),
        ("ended", text(summary.ending)),
        ("in block", text(included.map(|at| at.number))),
        ("by transaction", text(by.flatten())),
        ("our transaction", text(transaction.and_then(|ours| ours.hashes.last()))),
        ("sent from", text(transaction.map(|ours| ours.sender))),
        ("with nonce", text(transaction.map(|ours| ours.nonce))),
        ("pay vests at", text(claim.map(|claim| claim.vests_at))),
        ("paid at", text(claim.and_then(|claim| claim.paid_at))),
    ];
    for (name, value) in lines {
        if let Some(value) = value {
            print(&format!("{name:<16}  {value}"))?;
        }
    }
    Ok(())
}

fn text(value: Option<impl Display>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// The block that ended a request on chain, and the transaction, where the log names it.
fn inclusion(job: &Job) -> Option<(BlockRef, Option<B256>)> {
    match job {
        Job::Included(Included { at, transaction, .. })
        | Job::Closed(Closed { end: CloseReason::Finalized { at, transaction, .. }, .. }) => Some((*at, *transaction)),
        Job::Seen(_) | Job::Sent(_) | Job::Closed(_) => None,
    }
}
