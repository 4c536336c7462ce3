//! `oraculum jobs`: what the journal knows.

use super::{CommandResult, print, print_json};
use crate::config::{FILE_NAME, Settings};
use crate::journal::SledJournal;
use crate::status;
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
    /// Lists jobs, the newest first.
    #[command(after_help = "Example:\n  oraculum jobs list --state failed --json")]
    List {
        /// Only jobs in this state: seen, sent, settled, confirmed, skipped or failed.
        #[arg(long, value_parser = ["seen", "sent", "settled", "confirmed", "skipped", "failed"])]
        state: Option<String>,
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
    let folder = &settings.node.data_dir;
    let path = match &args.command {
        JobsCommand::List { state: None } => "/jobs".to_owned(),
        JobsCommand::List { state: Some(state) } => format!("/jobs/{state}"),
        JobsCommand::Show { id } => format!("/jobs/{id}"),
    };
    let found = match status::ask(folder, &path).await? {
        Some((200, value)) => Some(value),
        Some((404, _)) => None,
        Some((code, value)) => return Err(format!("the node answered {code}: {value}").into()),
        None => {
            let journal = SledJournal::open_existing(folder)?;
            match &args.command {
                JobsCommand::List { state } => Some(status::list(&journal, state.as_deref())?),
                JobsCommand::Show { id } => status::show(&journal, *id)?,
            }
        }
    };
    match (found, &args.command) {
        (None, JobsCommand::Show { id }) => Err(format!("the journal knows no request {id}").into()),
        (None, JobsCommand::List { .. }) => Err("the node does not know that list".into()),
        (Some(value), _) if args.json => print_json(&value),
        (Some(value), JobsCommand::Show { .. }) => print(&format!("{value:#}")),
        (Some(value), JobsCommand::List { .. }) => {
            let text = |job: &Value, key: &str| match &job[key] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            for job in value.as_array().into_iter().flatten() {
                print(&format!("{}  {:<9}  block {}", text(job, "id"), text(job, "state"), text(job, "block")))?;
            }
            Ok(())
        }
    }
}
