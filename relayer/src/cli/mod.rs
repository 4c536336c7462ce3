//! The command line: what the user types, and what is printed for it.
//!
//! Data goes to standard output, everything else to standard error. What exit codes say is in [`exit`].

mod completions;
mod config;
mod deployment_file;
mod dev;
mod doctor;
mod environment;
mod exit;
mod health;
mod infer;
mod init;
mod inputs;
mod jobs;
mod journal;
mod judge;
mod local;
mod man;
mod model;
mod named_model;
mod node;
mod output;
mod outputs;
mod pnl;
mod request;
mod run;

use std::{collections::HashMap, error::Error, fmt::Display, path::Path, process::ExitCode, str::FromStr};

use alloy::primitives::B256;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use serde::Serializer;
use tracing_subscriber::{
    EnvFilter,
    filter::{Directive, LevelFilter},
};

use exit::Mistyped;
pub use output::CommandResult;
use output::{LogWriter, is_colored, print, print_json, print_json_line, tell};

use crate::{model::ModelStore, stages::watcher::REQUEST_LOG, text};

/// Smart contracts ask a neural network a question in one call and get the answer, signed and bonded, in the next block.
#[derive(Debug, Parser)]
#[command(name = "oraculum", version, propagate_version = true, after_help = exit::TABLE)]
pub struct Cli {
    #[command(flatten)]
    logging: LoggingArgs,
    #[command(subcommand)]
    command: Command,
}

/// The filter where none is given.
const DEFAULT_LOG: &str = "info";

/// How much is logged, and in which form; logs go to standard error.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logging")]
pub struct LoggingArgs {
    /// What to log: a level (error, warn, info, debug, trace), or a filter such as `info,oraculum::engine=debug`.
    #[arg(long, global = true, env = "ORACULUM_LOG", default_value = DEFAULT_LOG)]
    log: String,
    /// The form of log lines.
    #[arg(long, global = true, env = "ORACULUM_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people, colored on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::DevArgs),
    Init(init::InitArgs),
    Run(run::RunArgs),
    Request(Box<request::RequestArgs>),
    Infer(infer::InferArgs),
    Judge(judge::JudgeArgs),
    Model(model::ModelArgs),
    Node(node::NodeArgs),
    Jobs(jobs::JobsArgs),
    Pnl(pnl::PnlArgs),
    Journal(journal::JournalArgs),
    Config(config::ConfigArgs),
    Doctor(doctor::DoctorArgs),
    Health(health::HealthArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    /// Runs one model for a node, which starts it; its standard input is a socket.
    #[command(hide = true)]
    Worker,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::Worker) {
        return crate::engine::worker::main();
    }
    if let Err(error) = environment::check(std::env::vars_os(), &Cli::command()) {
        return fail(&error);
    }
    let by_default = match cli.command {
        Command::Dev(_) => format!("{DEFAULT_LOG},{REQUEST_LOG}=debug"),
        // What it finds it prints.
        Command::Doctor(_) => "warn".to_owned(),
        _ => DEFAULT_LOG.to_owned(),
    };
    if let Err(error) = cli.logging.start(&by_default) {
        return fail(&*error);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

async fn run(command: Command) -> CommandResult {
    match command {
        Command::Dev(args) => args.run().await,
        Command::Init(args) => init::run(&args),
        Command::Request(args) => args.run().await,
        Command::Node(args) => args.run().await,
        Command::Jobs(args) => jobs::run(args).await,
        Command::Pnl(args) => pnl::run(args).await,
        Command::Run(args) => run::run(args).await,
        Command::Infer(args) => args.run().await,
        Command::Judge(args) => args.run().await,
        Command::Model(args) => args.run().await,
        Command::Journal(args) => args.run(),
        Command::Config(args) => config::run(&args),
        Command::Doctor(args) => args.run().await,
        Command::Health(args) => args.run().await,
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        // It has no runtime, and does not come here.
        Command::Worker => Ok(()),
    }
}

/// A request's id, as a user writes it.
fn request_id(text: &str) -> Result<B256, String> {
    text.parse().map_err(|_| "a request's id is 0x and 64 hex digits".to_owned())
}

/// A chain's id, as a user writes it.
fn chain_id(text: &str) -> Result<u64, String> {
    let id = text::whole_number(text).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
    id.ok_or_else(|| "a chain's id is a whole number, such as 1 or 0x1".to_owned())
}

/// The names of the models in a folder, for people; empty where the models are not on this machine.
fn model_names(models_dir: &Path) -> HashMap<B256, String> {
    let models = ModelStore::new(models_dir).list().unwrap_or_default();
    models.into_iter().filter_map(|one| one.model.ok()).map(|model| (model.id, model.name)).collect()
}

/// An amount in wei as a decimal text, for JSON's numbers do not hold it.
fn as_text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn fail(error: &(dyn Error + 'static)) -> ExitCode {
    let mut told = error.to_string();
    // It may repeat what an endpoint, a contract or a file says.
    tell!("error: {}", text::escaped(&told));
    let mut source = error.source();
    while let Some(cause) = source {
        // Many errors tell their cause themselves.
        let cause_told = cause.to_string();
        if !told.contains(&cause_told) {
            tell!("  because: {}", text::escaped(&cause_told));
        }
        told = cause_told;
        source = cause.source();
    }
    ExitCode::from(exit::Exit::of(error) as u8)
}

/// Targets that log whole URLs and headers, in which endpoints carry their keys, or every attempt and an endpoint's words as
/// they come. No filter brings them back.
const SECRET_TARGETS: [&str; 10] = [
    "alloy_pubsub",
    "alloy_transport_http",
    "alloy_transport_http::reqwest_transport",
    "alloy_transport_ws",
    "alloy_rpc_client",
    "reqwest",
    "hyper",
    "hyper_util",
    "tungstenite",
    "tokio_tungstenite",
];

/// Whether a part of a filter is a misspelt level: the filter would take it for the name of a crate, and log nothing else.
fn is_no_level(word: &str) -> bool {
    let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain && word != env!("CARGO_PKG_NAME") && word.parse::<LevelFilter>().is_err()
}

impl LoggingArgs {
    /// Starts logging, by the command's own filter unless one is given.
    fn start(&self, by_default: &str) -> CommandResult {
        let filter = self.filter(by_default)?;
        // What the subscriber says of its own failures it says on standard error, and panics where that fails.
        let builder =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(LogWriter).log_internal_errors(false);
        match self.log_format {
            LogFormat::Text => builder.with_ansi(is_colored()).init(),
            LogFormat::Json => builder.json().init(),
        }
        Ok(())
    }

    /// What is logged.
    ///
    /// # Errors
    /// `Mistyped` for a filter that is none.
    fn filter(&self, by_default: &str) -> Result<EnvFilter, Box<dyn Error + Send + Sync>> {
        let log = if self.log == DEFAULT_LOG { by_default } else { &self.log };
        let mistyped = |what: &dyn Display| {
            Mistyped(format!("--log `{}`: {what}; write a level such as `info`", text::shown(&self.log)))
        };
        if let Some(word) = self.log.split(',').map(str::trim).find(|word| is_no_level(word)) {
            return Err(mistyped(&format_args!("`{}` is no level", text::shown(word))).into());
        }
        let mut filter = EnvFilter::try_new(log).map_err(|error| mistyped(&text::shown(&error.to_string())))?;
        for target in SECRET_TARGETS {
            filter = filter.add_directive(Directive::from_str(&format!("{target}=off"))?);
        }
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(log: &str) -> String {
        let arguments = LoggingArgs { log: log.to_owned(), log_format: LogFormat::Text };
        arguments.filter(DEFAULT_LOG).unwrap().to_string()
    }

    #[test]
    fn what_logs_keys_of_endpoints_is_off_whatever_the_filter() {
        let filter = filter("trace,hyper=trace,alloy_pubsub=debug");
        for target in SECRET_TARGETS {
            assert!(filter.contains(&format!("{target}=off")), "{target}: {filter}");
        }
    }
}
