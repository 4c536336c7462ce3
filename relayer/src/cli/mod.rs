//! The command line: what the user types, and what is printed for it.
//!
//! Data goes to standard output, everything else to standard error. What exit codes say is in [`exit`].

mod dev;
mod exit;
mod infer;
mod init;
mod jobs;
mod journal;
mod model;
mod node;
mod pnl;
mod request;
mod run;

use std::{collections::HashMap, error::Error, fmt::Display, io::IsTerminal, process::ExitCode, str::FromStr};

use alloy::primitives::B256;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Serialize, Serializer};
use tracing_subscriber::{EnvFilter, filter::Directive};

use crate::{config::Settings, foreign::escaped, model::ModelStore, stages::watcher::REQUEST_LOG};

/// What every command ends with; the error says what to do.
pub type CommandResult = Result<(), Box<dyn Error + Send + Sync>>;

/// Smart contracts ask a neural network a question in one call and get the answer, signed and bonded, in the next block.
#[derive(Debug, Parser)]
#[command(name = "oraculum", version, propagate_version = true, after_help = exit::TABLE)]
pub struct Cli {
    #[command(flatten)]
    logging: LoggingArgs,
    #[command(subcommand)]
    command: Command,
}

/// The filter where none is given; alloy's subscriptions log each connection that ends.
const DEFAULT_LOG: &str = "info,alloy_pubsub=warn";

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
    Request(request::RequestArgs),
    Infer(infer::InferArgs),
    Model(model::ModelArgs),
    Node(node::NodeArgs),
    Jobs(jobs::JobsArgs),
    Pnl(pnl::PnlArgs),
    Journal(journal::JournalArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = cli.logging.start(matches!(cli.command, Command::Dev(_))) {
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
        Command::Model(args) => args.run().await,
        Command::Journal(args) => args.run(),
    }
}

/// Prints data on standard output. A reader that has gone away is no error: `oraculum … | head` is fine.
fn print(text: &str) -> CommandResult {
    use std::io::{ErrorKind, Write};
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A request's id, as a user writes it.
fn request_id(text: &str) -> Result<B256, String> {
    text.parse().map_err(|_| "a request's id is 0x and 64 hex digits".to_owned())
}

/// The names of a node's models, for people; empty where the models are not on this machine.
fn model_names(settings: &Settings) -> HashMap<B256, String> {
    let models = ModelStore::new(&settings.node.models_dir).list().unwrap_or_default();
    models.into_iter().filter_map(|one| one.model.ok()).map(|model| (model.id, model.name)).collect()
}

/// Prints a value as JSON on standard output, indented.
fn print_json(value: &impl Serialize) -> CommandResult {
    print(&serde_json::to_string_pretty(value)?)
}

/// Prints a value as JSON on standard output, in one line.
fn print_json_line(value: &impl Serialize) -> CommandResult {
    print(&serde_json::to_string(value)?)
}

/// An amount in wei as a decimal text, for JSON's numbers do not hold it.
fn as_text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn fail(error: &(dyn Error + 'static)) -> ExitCode {
    let mut told = error.to_string();
    // It may repeat what an endpoint, a contract or a file says.
    eprintln!("error: {}", escaped(&told));
    let mut source = error.source();
    while let Some(cause) = source {
        // Many errors tell their cause themselves.
        let cause_told = cause.to_string();
        if !told.contains(&cause_told) {
            eprintln!("  because: {}", escaped(&cause_told));
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

impl LoggingArgs {
    /// Starts logging. With `tells_requests`, requests and answers are logged as they come, unless a filter is given.
    fn start(&self, tells_requests: bool) -> CommandResult {
        let mut log = self.log.clone();
        if tells_requests && log == DEFAULT_LOG {
            log += &format!(",{REQUEST_LOG}=debug");
        }
        let mut filter = EnvFilter::try_new(&log)
            .map_err(|error| format!("--log `{}`: {error}; write a level such as `info`", self.log))?;
        for target in SECRET_TARGETS {
            filter = filter.add_directive(Directive::from_str(&format!("{target}=off"))?);
        }
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
            LogFormat::Json => builder.json().init(),
        }
        Ok(())
    }
}
