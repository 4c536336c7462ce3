//! `oraculum run`: a node.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::CommandResult;
use crate::{
    config::{FILE_NAME, Settings},
    keys::{Keys, TypedPasswords},
    supervisor,
};

/// Run a node: watch the chain, run models, post signed answers, claim their pay.
///
/// An endpoint that is down at start is tried for a minute. Ctrl-C or SIGTERM end it; what is not finished is in the
/// journal and goes on at the next start. SIGHUP has the configuration read again: [fees] and [policy] hold at once.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oraculum run --config my-node/oraculum.toml\n  \
                        oraculum run --config mainnet.toml --config base.toml")]
pub(super) struct RunArgs {
    /// The configuration file. Given several times, one for each chain to serve: each with its own data_dir, all with
    /// one engine.
    #[arg(long, value_name = "FILE", env = "ORACULUM_CONFIG", default_value = FILE_NAME)]
    config: Vec<PathBuf>,
    /// A file with the password of the keystores.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Runs the command.
pub(super) async fn run(args: RunArgs) -> CommandResult {
    // Before anything that takes time: a node told to end while it starts ends cleanly, too.
    let mut terminate = Terminate::new()?;
    let mut hangup = Hangup::new()?;
    let shutdown = CancellationToken::new();
    let on_signal = shutdown.clone();
    let signals = tokio::spawn(async move {
        terminate.wait().await;
        info!("shutting down");
        on_signal.cancel();
    });
    let (mut chains, typed) = (Vec::new(), TypedPasswords::default());
    for settings in Settings::load_all(&args.config)? {
        let keys = Keys::load(&settings.keys, args.password_file.as_deref(), &typed)?;
        chains.push((settings, keys));
    }
    let (publish, updates) = watch::channel(None);
    let hangups = tokio::spawn(async move {
        while hangup.wait().await {
            match Settings::load_all(&args.config) {
                Ok(settings) => drop(publish.send_replace(Some(Arc::new(settings)))),
                Err(error) => error!(%error, "the configuration cannot be read again: nothing changes"),
            }
        }
    });
    let result = supervisor::run_all(chains, updates, shutdown).await;
    signals.abort();
    hangups.abort();
    Ok(result?)
}

/// What asks a process to read its configuration again.
struct Hangup {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Hangup {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    /// False where there are no such signals.
    #[cfg(unix)]
    async fn wait(&mut self) -> bool {
        self.hangup.recv().await.is_some()
    }

    #[cfg(not(unix))]
    async fn wait(&mut self) -> bool {
        false
    }
}

/// What asks a process to end. Not one type with `Hangup`: Ctrl-C ends a process on every system, and only Unix has hangups.
struct Terminate {
    #[cfg(unix)]
    term: tokio::signal::unix::Signal,
}

impl Terminate {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            term: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    #[cfg(unix)]
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }

    #[cfg(not(unix))]
    async fn wait(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
