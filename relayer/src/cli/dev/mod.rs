//! `oraculum dev`: a local chain with everything on it, and a node that answers.

mod report;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{CommandResult, infer::ProviderArgs, tell};
use crate::{
    api,
    chain::Endpoint,
    client,
    config::Settings,
    dev::{
        self, Anvil, AnvilOptions, DeployOptions, Deployment, DevError, Fork, NodeKeys, SavedState, running::RunningDev,
    },
    supervisor, text,
};

/// The pause between two looks whether the node is ready.
const READY_POLL: Duration = Duration::from_millis(5);

/// Start a local chain with the contracts, models, example consumers and a node that answers.
///
/// Everything is gone when it ends, on Ctrl-C, on SIGTERM, or killed, unless --state keeps it. Its keys are known to
/// everybody. `oraculum request` and `oraculum jobs` find it by themselves.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  oraculum dev
  oraculum dev --block-time 0.5 --json
  oraculum dev --state chain.json   (goes on where it ended)
  oraculum dev --fork-url https://rpc.example.org --fork-block-number 21000000")]
pub(super) struct DevArgs {
    /// The address that the chain listens at.
    #[arg(long, value_name = "IP", default_value_t = dev::HOST, help_heading = "Chain")]
    host: IpAddr,
    /// The chain's port; 0 takes a free one.
    #[arg(long, default_value_t = dev::PORT, help_heading = "Chain")]
    port: u16,
    /// The chain's id [default: that of the forked chain, of the state file, or 31337].
    #[arg(long, value_name = "ID", value_parser = super::chain_id, help_heading = "Chain")]
    chain_id: Option<u64>,
    /// Seconds between blocks, fractions allowed; without it, every transaction is a block at once.
    #[arg(long, value_name = "SECONDS", value_parser = parse_block_time, help_heading = "Chain")]
    block_time: Option<f64>,
    /// Number of accounts with money.
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=1000),
        help_heading = "Chain")]
    accounts: u16,
    /// A file that chain and node go on from, if it exists, and are written to at the end; after a kill it is as before.
    #[arg(long, value_name = "FILE", help_heading = "Chain")]
    state: Option<PathBuf>,
    /// An endpoint of a chain to fork. What it holds is read as needed and never written; it cannot be kept with --state.
    #[arg(
        long,
        value_name = "URL",
        env = "ORACULUM_FORK_URL",
        hide_env_values = true,
        conflicts_with = "state",
        help_heading = "Chain"
    )]
    fork_url: Option<Endpoint>,
    /// The block to fork at [default: the latest].
    #[arg(long, value_name = "BLOCK", requires = "fork_url", help_heading = "Chain")]
    fork_block_number: Option<u64>,
    /// The folder of models [default: onnx-models in this folder or one above].
    #[arg(long, value_name = "FOLDER", env = "ORACULUM_MODELS")]
    models: Option<PathBuf>,
    /// Print the same facts as one JSON object, once the node answers.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    provider: ProviderArgs,
    /// The ONNX Runtime library; else it is looked for beside the executable and in node_modules.
    #[arg(long, value_name = "LIBRARY", env = "ORT_DYLIB_PATH", help_heading = "Engine")]
    runtime: Option<PathBuf>,
}

impl DevArgs {
    /// Runs the command until it is told to end.
    pub(super) async fn run(self) -> CommandResult {
        let began = Instant::now();
        let models_dir = self
            .models
            .clone()
            .or_else(|| dev::find_upward(Path::new("onnx-models")))
            .ok_or("there is no folder onnx-models here or above: name a folder of models with --models")?;
        // First of all, so that no signal finds the default action in place and leaves something behind.
        let signal = signalled()?;
        tokio::pin!(signal);

        let (anvil, deployment, data_dir) = tokio::select! {
            () = &mut signal => return Ok(()),
            chain = self.start(models_dir) => chain?,
        };
        let mut settings = deployment.settings(&anvil, 0, &data_dir)?;
        settings.engine.runtime = self.runtime.clone();
        settings.engine.provider = self.provider.provider.into();
        settings.providers.plugin = self.provider.plugin();
        self.serve(settings, &anvil, &deployment, signal, began).await?;
        if let Some(file) = &self.state {
            SavedState::write(file, &anvil, &deployment, &data_dir).await?;
            tell!("chain and node are kept in {}", file.display());
        }
        Ok(())
    }

    /// The chain, new or as it ended, what is deployed on it, and the folder of its node.
    async fn start(&self, models_dir: PathBuf) -> Result<(Anvil, Deployment, PathBuf), DevError> {
        let load_state = self.state.clone().filter(|file| file.exists());
        let saved = load_state.as_deref().map(SavedState::read).transpose()?.flatten();
        if let Some(file) = &self.state {
            SavedState::expect_writable(file)?;
            saved.as_ref().map(|saved| saved.check(file, &models_dir, self.chain_id)).transpose()?;
        }
        let options = AnvilOptions {
            host: Some(self.host),
            port: self.port,
            chain_id: self.chain_id.or_else(|| saved.as_ref().map(SavedState::chain_id)),
            block_time: self.block_time,
            accounts: Some(self.accounts),
            fork: self.fork_url.clone().map(|endpoint| Fork { endpoint, block: self.fork_block_number }),
            load_state,
            arguments: Vec::new(),
        };
        let anvil = Anvil::start(&options).await?;
        let data_dir = anvil.scratch().join("node");
        let deployment = match saved {
            Some(saved) => saved.resume(&anvil, models_dir, &data_dir)?,
            None => {
                let options = DeployOptions { models_dir, nodes: 1, parameters: dev::parameters() };
                dev::deploy(&anvil, &options).await?
            }
        };
        Ok((anvil, deployment, data_dir))
    }

    /// Runs the node until the signal, or until it or the chain ends.
    async fn serve(
        &self,
        settings: Settings,
        anvil: &Anvil,
        deployment: &Deployment,
        signal: impl Future<Output = ()>,
        began: Instant,
    ) -> CommandResult {
        let data_dir = settings.node.data_dir.clone();
        let shutdown = CancellationToken::new();
        let served = watch::Sender::default();
        let models = served.subscribe();
        let node = supervisor::run(settings, NodeKeys::new(0).running(), served, shutdown.clone());
        tokio::pin!(node);
        let ready = async {
            // The node writes this file once it has loaded its models and takes work.
            let status = loop {
                match std::fs::read_to_string(data_dir.join(api::ADDRESS_FILE)) {
                    Ok(address) if !address.is_empty() => break address,
                    _ => tokio::time::sleep(READY_POLL).await,
                }
            };
            let running = RunningDev {
                deployment: deployment.clone(),
                pid: std::process::id(),
                status_url: format!("http://{}", status.trim()),
                data_dir: data_dir.clone(),
            };
            running.announce(anvil.scratch())?;
            let prepaid = client::balance_of(anvil.client(), deployment.coordinator, deployment.user).await?;
            let state = self.state.as_deref();
            report::Report { running: &running, accounts: anvil.accounts(), prepaid_wei: prepaid, state }
                .print(self.json, began.elapsed())?;
            dev::serve::follow(anvil, deployment, models, |line| tell!("{}", text::escaped(&line))).await;
            std::future::pending::<CommandResult>().await
        };
        let ended: CommandResult = tokio::select! {
            () = signal => Ok(()),
            () = anvil.ended() => Err("anvil ended by itself".into()),
            ended = &mut node => return Ok(ended?),
            failed = ready => failed,
        };
        shutdown.cancel();
        node.await?;
        ended
    }
}

/// Returns a future that ends at SIGINT or SIGTERM; from now on they do nothing else.
fn signalled() -> Result<impl Future<Output = ()>, std::io::Error> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate, mut hangup) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        // An error means that there is no console to be told by.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await
        }
    })
}

fn parse_block_time(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("write seconds from 0.05 to 3600".into()),
    }
}
