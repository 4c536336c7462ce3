//! `oraculum dev`: a local chain with everything on it, and a node that answers.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use alloy::primitives::Address;
use clap::Args;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{CommandResult, infer::ProviderArg, print, print_json, tell};
use crate::{
    api,
    dev::{self, Anvil, AnvilOptions, DeployOptions, Deployment, NodeKeys},
    supervisor,
};

/// The pause between two looks whether the node is ready.
const READY_POLL: Duration = Duration::from_millis(5);

/// Start a local chain with the contracts, models, example consumers and a node that answers.
///
/// Everything is gone when it ends: on Ctrl-C, on SIGTERM, or killed. Its keys are known to everybody.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  oraculum dev
  oraculum dev --block-time 0.5 --json")]
pub(super) struct DevArgs {
    /// Seconds between blocks, fractions allowed; without it, every transaction is a block at once.
    #[arg(long, value_name = "SECONDS", value_parser = parse_block_time)]
    block_time: Option<f64>,
    /// The chain's port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = dev::PORT)]
    port: u16,
    /// The folder of models [default: onnx-models in this folder or one above].
    #[arg(long, value_name = "FOLDER", env = "ORACULUM_MODELS")]
    models: Option<PathBuf>,
    /// Print the addresses as one JSON object, once the node answers.
    #[arg(long)]
    json: bool,
    /// What models run on.
    #[arg(long, value_enum, default_value_t = ProviderArg::Cpu, env = "ORACULUM_PROVIDER", help_heading = "Engine")]
    provider: ProviderArg,
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

        let chain = async {
            let options = AnvilOptions { port: self.port, block_time: self.block_time, ..Default::default() };
            let anvil = Anvil::start(&options).await?;
            let options = DeployOptions { models_dir, nodes: 1, parameters: dev::parameters() };
            let deployment = dev::deploy(&anvil, &options).await?;
            Ok::<_, dev::DevError>((anvil, deployment))
        };
        let (anvil, deployment) = tokio::select! {
            () = &mut signal => return Ok(()),
            chain = chain => chain?,
        };
        let data_dir = anvil.scratch().join("node");
        let mut settings = deployment.settings(&anvil, 0, &data_dir)?;
        settings.engine.runtime = self.runtime.clone();
        settings.engine.provider = self.provider.into();

        let shutdown = CancellationToken::new();
        let served = watch::Sender::default();
        let models = served.subscribe();
        let node = supervisor::run(settings, NodeKeys::new(0).running(), served, shutdown.clone());
        tokio::pin!(node);
        let ready = async {
            // The node writes this file once it has loaded its models and takes work.
            while !data_dir.join(api::ADDRESS_FILE).exists() {
                tokio::time::sleep(READY_POLL).await;
            }
            self.report(&deployment, began.elapsed())?;
            dev::serve::follow(&anvil, &deployment, models, |line| tell!("{line}")).await;
            std::future::pending::<CommandResult>().await
        };
        let ended: CommandResult = tokio::select! {
            () = &mut signal => Ok(()),
            () = anvil.ended() => Err("anvil ended by itself".into()),
            ended = &mut node => return Ok(ended?),
            failed = ready => failed,
        };
        shutdown.cancel();
        node.await?;
        ended
    }

    fn report(&self, deployment: &Deployment, took: Duration) -> CommandResult {
        if self.json {
            return print_json(deployment);
        }
        let mut lines = vec![format!("ready in {:.1} s; Ctrl-C ends everything", took.as_secs_f64()), String::new()];
        let mut line = |name: &str, value: &str| lines.push(format!("  {name:<18} {value}"));
        line("endpoint", &format!("{} (chain {})", deployment.rpc_url, deployment.chain_id));
        line("coordinator", &deployment.coordinator.to_string());
        for (name, address) in deployment.consumers.named() {
            line(name, &address.to_string());
        }
        for model in &deployment.models {
            line(&model.name, &model.model_id.to_string());
        }
        for node in &deployment.nodes {
            line("node's owner", &node.owner.to_string());
        }
        line("you", &format!("{} (Anvil's second account)", deployment.user));
        lines.push(String::new());
        lines.extend(example(deployment));
        print(&lines.join("\n"))
    }
}

/// What to paste next.
fn example(deployment: &Deployment) -> Vec<String> {
    let url = match deployment.rpc_url.strip_suffix(&format!(":{}", dev::PORT)) {
        Some(_) => String::new(),
        None => format!(" --rpc-url {}", deployment.rpc_url),
    };
    let mut lines = Vec::new();
    if deployment.model("iris/v1").is_some() {
        lines.push("Ask from the command line:".to_owned());
        lines.push(format!("  oraculum request --model iris/v1 --input '[[5.1,3.5,1.4,0.2]]'{url}"));
    }
    if let Some(consumer) = deployment.consumers.iris_classifier {
        lines.push("Ask from a contract, and read what it stored (1 setosa, 2 versicolor, 3 virginica):".to_owned());
        lines.extend(iris_example(consumer, deployment.user, &deployment.rpc_url));
    }
    lines
}

fn iris_example(consumer: Address, user: Address, url: &str) -> [String; 2] {
    [
        format!(
            "  cast send {consumer} 'classify(int32[4])' '[51,35,14,2]' --value 0.0001ether --from {user} --unlocked --rpc-url {url}"
        ),
        format!("  cast call {consumer} 'latest()(uint8,uint48)' --rpc-url {url}"),
    ]
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
