//! `oraculum jobs`: what the journal knows.

use super::{CommandResult, print, print_json};
use crate::config::{FILE_NAME, Settings};
use crate::journal::{SledJournal, View};
use crate::model::ModelStore;
use crate::status::{self, jobs::Filter};
use alloy::primitives::B256;
use clap::{Args, Subcommand};
use serde_json::Value;
use std::path::PathBuf;

/// Show the requests in a node's journal, whether the node runs or not.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oraculum jobs list --config my-node/oraculum.toml")]
pub(super) struct JobsArgs {
    #[command(subcommand)]
    command: JobsCommand,
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", env = "ORACULUM_CONFIG", default_value = FILE_NAME)]
    config: PathBuf,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum JobsCommand {
    /// Lists jobs, the newest first, with the reason of those that are skipped or failed.
    #[command(after_help = "Example:\n  oraculum jobs list --state skipped --model iris/v1 --json")]
    List {
        /// Only jobs in this state: seen, sent, settled, confirmed, skipped or failed.
        #[arg(long, value_parser = ["seen", "sent", "settled", "confirmed", "skipped", "failed"])]
        state: Option<String>,
        /// Only jobs of this model, by name or id.
        #[arg(long)]
        model: Option<String>,
        /// So many at most, up to 1000.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Go on behind the page that named this as its `next`.
        #[arg(long, value_name = "NEXT")]
        after: Option<String>,
    },
    /// Shows all that is known of a job; exits with 1 if there is none.
    #[command(after_help = "Example:\n  oraculum jobs show 0x5c50…")]
    Show {
        /// The request's id.
        id: B256,
    },
}

/// Runs the command.
pub(super) async fn run(args: JobsArgs) -> CommandResult {
    let settings = Settings::load(&args.config)?;
    match &args.command {
        JobsCommand::List { state, model, limit, after } => {
            let after = after.as_deref().map(|after| {
                status::jobs::position(after).ok_or_else(|| format!("--after `{after}` is no `next` of a page"))
            });
            let filter = Filter {
                state: state.as_deref().and_then(View::of_state),
                model: model.as_deref().map(|model| model_id(&settings, model)).transpose()?,
                after: after.transpose()?,
                limit: usize::from(*limit),
            };
            let page = match ask(&settings, &format!("/jobs?{}", filter.to_query())).await? {
                Some((_, page)) => page,
                None => status::jobs::list(&SledJournal::open_existing(&settings.node.data_dir)?, &filter)?,
            };
            if args.json { print_json(&page) } else { print_page(&page) }
        }
        JobsCommand::Show { id } => {
            let found = match ask(&settings, &format!("/jobs/{id}")).await? {
                Some((404, _)) => None,
                Some((_, job)) => Some(job),
                None => status::jobs::show(&SledJournal::open_existing(&settings.node.data_dir)?, *id)?,
            };
            print_json(&found.ok_or_else(|| format!("the journal knows no request {id}"))?)
        }
    }
}

/// Asks the running node, if there is one. An answer other than 200 and 404 is an error.
async fn ask(
    settings: &Settings,
    path: &str,
) -> Result<Option<(u16, Value)>, Box<dyn std::error::Error + Send + Sync>> {
    match status::ask(&settings.node.data_dir, path).await? {
        Some((code, value)) if !matches!(code, 200 | 404) => Err(format!("the node answered {code}: {value}").into()),
        answer => Ok(answer),
    }
}

fn model_id(settings: &Settings, name: &str) -> Result<B256, Box<dyn std::error::Error + Send + Sync>> {
    match name.parse() {
        Ok(id) => Ok(id),
        Err(_) => Ok(ModelStore::new(&settings.node.models_dir).open(name)?.id),
    }
}

fn print_page(page: &Value) -> CommandResult {
    let text = |job: &Value, key: &str| match &job[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    for job in page["jobs"].as_array().into_iter().flatten() {
        let reason = job["reason"].as_str().map(|reason| format!("  {reason}")).unwrap_or_default();
        let (id, state, block) = (text(job, "id"), text(job, "state"), text(job, "block"));
        print(&format!("{id}  {state:<9}  block {block}{reason}"))?;
    }
    if let Some(next) = page["next"].as_str() {
        eprintln!("There is more: --after {next}");
    }
    Ok(())
}
