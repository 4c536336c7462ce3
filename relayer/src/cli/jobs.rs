//! `oraculum jobs`: what the journal knows.

use std::{collections::HashMap, path::PathBuf};

use alloy::primitives::B256;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{CommandResult, model_names, print, print_json};
use crate::{
    api::{self, jobs::Filter},
    config::{FILE_NAME, Settings},
    journal::{SledJournal, View},
    model::ModelStore,
};

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
        /// Only jobs in this state: seen, sent, included, finalized, skipped or failed.
        #[arg(long, value_parser = ["seen", "sent", "included", "finalized", "skipped", "failed"])]
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
        #[arg(value_parser = super::request_id)]
        id: B256,
    },
}

/// Runs the command.
pub(super) async fn run(args: JobsArgs) -> CommandResult {
    let settings = Settings::load(&args.config)?;
    match &args.command {
        JobsCommand::List { state, model, limit, after } => {
            let after = after.as_deref().map(|after| {
                api::jobs::position(after).ok_or_else(|| format!("--after `{after}` is no `next` of a page"))
            });
            let filter = Filter {
                state: state.as_deref().and_then(View::of_state),
                model: model.as_deref().map(|model| model_id(&settings, model)).transpose()?,
                after: after.transpose()?,
                limit: usize::from(*limit),
            };
            let page = match ask(&settings, &format!("/jobs?{}", filter.to_query())).await? {
                Some((_, page)) => page,
                None => api::jobs::list(&SledJournal::open_existing(&settings.node.data_dir)?, &filter)?,
            };
            if args.json { print_json(&page) } else { print_page(&page, &model_names(&settings)) }
        }
        JobsCommand::Show { id } => {
            let found = match ask(&settings, &format!("/jobs/{id}")).await? {
                Some((404, _)) => None,
                Some((_, job)) => Some(job),
                None => api::jobs::show(&SledJournal::open_existing(&settings.node.data_dir)?, *id)?,
            };
            let found = found.ok_or_else(|| format!("the journal knows no request {id}"))?;
            if args.json { print_json(&found) } else { print_job(&found, &model_names(&settings)) }
        }
    }
}

/// Asks the running node, if there is one. An answer other than 200 and 404 is an error.
async fn ask(
    settings: &Settings,
    path: &str,
) -> Result<Option<(u16, Value)>, Box<dyn std::error::Error + Send + Sync>> {
    match api::ask(&settings.node.data_dir, path).await? {
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

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The model's name where that is known.
fn model_name(job: &Value, names: &HashMap<B256, String>) -> Option<String> {
    job["model"].as_str()?.parse::<B256>().ok().and_then(|model| names.get(&model).cloned())
}

fn print_page(page: &Value, names: &HashMap<B256, String>) -> CommandResult {
    let jobs = page["jobs"].as_array().map_or(&[][..], Vec::as_slice);
    if jobs.is_empty() {
        eprintln!("There are no such requests.");
        return Ok(());
    }
    print(&format!("{:<66}  {:<9}  {:>8}  {:<16}  what became of it", "request", "state", "block", "model"))?;
    for job in jobs {
        let became = [&job["ending"], &job["reason"]].map(text).concat();
        let [id, state, block] = ["id", "state", "block"].map(|key| text(&job[key]));
        let model = model_name(job, names).unwrap_or_else(|| text(&job["model"]).chars().take(14).collect());
        let line = format!("{id}  {state:<9}  {block:>8}  {model:<16}  {became}");
        print(line.trim_end())?;
    }
    if let Some(next) = page["next"].as_str() {
        eprintln!("There is more: --after {next}");
    }
    Ok(())
}

fn print_job(job: &Value, names: &HashMap<B256, String>) -> CommandResult {
    let (transaction, claim) = (&job["transaction"], &job["claim"]);
    let settled = [&job["job"], &job["job"]["end"]].into_iter().find(|part| part["at"].is_object());
    let settled = settled.unwrap_or(&Value::Null);
    let lines = [
        ("request", text(&job["id"])),
        ("state", text(&job["state"])),
        ("model", model_name(job, names).unwrap_or_else(|| text(&job["model"]))),
        ("asked by", text(&job["consumer"])),
        ("in block", text(&job["block"])),
        ("answerable to", text(&job["deadline"])),
        ("reason", text(&job["reason"])),
        ("ended", text(&job["ending"])),
        ("in block", text(&settled["at"]["number"])),
        ("by transaction", text(&settled["transaction"])),
        ("our transaction", transaction["hashes"].as_array().and_then(|all| all.last()).map(text).unwrap_or_default()),
        ("sent from", text(&transaction["sender"])),
        ("with nonce", text(&transaction["nonce"])),
        ("pay vests at", text(&claim["vestsAt"])),
        ("paid at", text(&claim["paidAt"])),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        print(&format!("{name:<16}  {value}"))?;
    }
    Ok(())
}
