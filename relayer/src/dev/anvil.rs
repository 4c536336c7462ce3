//! A local Anvil chain that is gone when its owner is, however the owner ends.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use alloy::{
    primitives::{Address, B256},
    providers::Provider,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

use super::{DevError, deployer, user};
use crate::{
    chain::{Endpoint, RootCertificates},
    client::Client,
};

/// The id of Anvil's chain.
pub const CHAIN_ID: u64 = 31337;
/// The address that Anvil listens at, unless another is asked for.
pub const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How the names of the folders of running chains begin.
pub(super) const SCRATCH_PREFIX: &str = "oraculum-dev-";
/// Blocks that one call mines: a busy machine does that well within the time of a call.
const MINE_BATCH: u64 = 500;
/// The time in which a chain must answer.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a command until standard input ends, which it does when whoever holds the other end is gone, even by SIGKILL;
/// then kills it and removes its folder.
const WATCHDOG: &str = r#"
scratch=$1; shift
"$@" </dev/null 2>&1 &
child=$!
exec >/dev/null 2>&1
cat
kill -KILL "$child"
wait "$child"
rm -rf "$scratch"
"#;

/// The variable that has the URL of a chain to fork, the configuration that names it, and its name there.
const FORK_VARIABLE: &str = "ORACULUM_DEV_FORKED";
const FORK_CONFIG: &str = "[rpc_endpoints]\nforked = \"${ORACULUM_DEV_FORKED}\"\n";
const FORK_ALIAS: &str = "forked";

/// How to start a chain.
#[derive(Clone, Debug, Default)]
pub struct AnvilOptions {
    /// The address to listen at; without it, `HOST`.
    pub host: Option<IpAddr>,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The chain's id; without it, that of the forked chain, or `CHAIN_ID`.
    pub chain_id: Option<u64>,
    /// Seconds between blocks, fractions allowed; without it, every transaction is a block.
    pub block_time: Option<f64>,
    /// Number of accounts with money, 2 at least; without it, Anvil's 10.
    pub accounts: Option<u16>,
    /// The chain to fork, and the block to do it at.
    pub fork: Option<Fork>,
    /// A file of Anvil's state that the chain begins with.
    pub load_state: Option<PathBuf>,
    /// Further arguments of Anvil.
    pub arguments: Vec<String>,
}

/// A chain whose state is read from elsewhere, as far as it is not written here.
#[derive(Clone, Debug)]
pub struct Fork {
    /// Where the chain is read.
    pub endpoint: Endpoint,
    /// The block to fork at; without it, the latest.
    pub block: Option<u64>,
}

/// An account with money, and the key that everybody knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DevAccount {
    /// The account's address.
    pub address: Address,
    /// The account's private key.
    pub private_key: B256,
}

/// A running chain. Dropped, it is gone with all its files.
#[derive(Debug)]
pub struct Anvil {
    client: Client,
    ws: Endpoint,
    port: u16,
    accounts: Vec<DevAccount>,
    has_block_time: bool,
    ended: watch::Receiver<bool>,
    /// Its standard input is what keeps Anvil alive.
    watchdog: Child,
    scratch: TempDir,
}

impl Anvil {
    /// Starts a chain and waits until it answers.
    ///
    /// # Errors
    /// `NoAnvil` without its binary; `PortTaken`; `AnvilStart` with its last words; `Account` if it does not answer as a chain.
    pub async fn start(options: &AnvilOptions) -> Result<Self, DevError> {
        let binary = find_binary()?;
        let failed = |reason: String| DevError::AnvilStart { reason };
        let host = options.host.unwrap_or(HOST);
        let scratch = tempfile::Builder::new().prefix(SCRATCH_PREFIX).tempdir().map_err(|e| failed(e.to_string()))?;
        let facts = scratch.path().join("anvil.json");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCHDOG, "sh"]).arg(scratch.path()).arg(&binary);
        command.args(arguments(options)).arg("--config-out").arg(&facts);
        command.arg("--cache-path").arg(scratch.path().join("anvil"));
        // A group of its own: Ctrl-C on the terminal is ours to act on, not Anvil's.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        if let Some(fork) = &options.fork {
            // A key in the URL is not to be seen among the arguments of a process.
            std::fs::write(scratch.path().join("foundry.toml"), FORK_CONFIG).map_err(|e| failed(e.to_string()))?;
            command.current_dir(scratch.path()).env(FORK_VARIABLE, fork.endpoint.url().as_str());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut watchdog = command.spawn().map_err(|error| failed(format!("cannot run /bin/sh: {error}")))?;
        let output = watchdog.stdout.take().ok_or_else(|| failed("it has no output".into()))?;
        let (listening, started) = oneshot::channel();
        let (end, ended) = watch::channel(false);
        std::thread::spawn(move || {
            drain(BufReader::new(output), listening);
            end.send_replace(true);
        });
        // From here on, dropping it cleans up.
        let guard = Guard { watchdog: Some(watchdog) };
        let port = match tokio::time::timeout(START_TIMEOUT, started).await {
            Ok(Ok(Ok(port))) => port,
            Ok(Ok(Err(reason))) if reason.to_lowercase().contains("address already in use") => {
                return Err(DevError::PortTaken { host, port: options.port });
            }
            Ok(Ok(Err(reason))) => return Err(failed(reason)),
            Ok(Err(_)) => return Err(failed("it ended".into())),
            Err(_) => return Err(failed(format!("it said nothing for {} s", START_TIMEOUT.as_secs()))),
        };
        let address = SocketAddr::new(reachable(host), port);
        let client =
            Client::connect(endpoint("http", address)?, expected_id(options), &RootCertificates::default()).await?;
        let ask = async |method: &'static str, parameters: Value| {
            client.ask(client.provider().raw_request::<_, Value>(method.into(), parameters)).await
        };
        // It would describe every call and every block.
        ask("anvil_setLoggingEnabled", json!([false])).await?;
        if options.fork.is_some() {
            // On public chains thieves have left code at these accounts (EIP-7702), which takes what is sent there.
            for account in [deployer().address(), user().address()] {
                ask("anvil_setCode", json!([account, "0x"])).await?;
            }
        }
        let accounts = read_accounts(&facts).map_err(failed)?;
        let watchdog = guard.release().ok_or_else(|| failed("it ended".into()))?;
        let ws = endpoint("ws", address)?;
        let has_block_time = options.block_time.is_some();
        Ok(Self { client, ws, port, accounts, has_block_time, ended, watchdog, scratch })
    }

    /// A connection to the chain.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The chain's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The chain's HTTP endpoint.
    pub fn http(&self) -> &Endpoint {
        self.client.endpoint()
    }

    /// The chain's WebSocket endpoint.
    pub fn ws(&self) -> &Endpoint {
        &self.ws
    }

    /// The accounts with money. The first deploys, the second asks.
    pub fn accounts(&self) -> &[DevAccount] {
        &self.accounts
    }

    /// Whether blocks come by the clock.
    pub fn has_block_time(&self) -> bool {
        self.has_block_time
    }

    /// A folder that is removed with the chain, however this process ends.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Mines a number of blocks at once.
    ///
    /// # Errors
    /// `Account`.
    pub async fn mine(&self, blocks: u64) -> Result<(), DevError> {
        for from in (0..blocks).step_by(MINE_BATCH as usize) {
            let portion = (blocks - from).min(MINE_BATCH);
            let mining = self.client.provider().raw_request::<_, serde_json::Value>("anvil_mine".into(), (portion,));
            self.client.ask(mining).await?;
        }
        Ok(())
    }

    /// Returns when Anvil has ended by itself.
    pub async fn ended(&self) {
        // An error means that the thread is gone, and it is with Anvil.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        stop(&mut self.watchdog);
    }
}

/// Ends the watchdog's input, and waits until it has cleaned up.
fn stop(watchdog: &mut Child) {
    drop(watchdog.stdin.take());
    let _ = watchdog.wait();
}

/// Cleans up while the start can still fail.
struct Guard {
    watchdog: Option<Child>,
}

impl Guard {
    fn release(mut self) -> Option<Child> {
        self.watchdog.take()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(watchdog) = &mut self.watchdog {
            stop(watchdog);
        }
    }
}

/// Reads Anvil's output to its end, and tells where it listens, or its last words.
fn drain(output: impl BufRead, listening: oneshot::Sender<Result<u16, String>>) {
    let mut listening = Some(listening);
    let mut last = String::from("it ended without a word");
    for line in output.split(b'\n') {
        let Ok(line) = line else { break };
        if listening.is_none() {
            continue;
        }
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        if let Some(address) = line.strip_prefix("Listening on ").and_then(|it| it.parse::<SocketAddr>().ok()) {
            let _ = listening.take().map(|listening| listening.send(Ok(address.port())));
        } else if !line.is_empty() {
            last = line;
        }
    }
    let _ = listening.take().map(|listening| listening.send(Err(last)));
}

/// What Anvil is told.
fn arguments(options: &AnvilOptions) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::new();
    let mut give = |name: &str, value: OsString| all.extend([name.into(), value]);
    give("--host", options.host.unwrap_or(HOST).to_string().into());
    give("--port", options.port.to_string().into());
    if let Some(id) = expected_id(options) {
        give("--chain-id", id.to_string().into());
    }
    if let Some(seconds) = options.block_time {
        give("--block-time", seconds.to_string().into());
    }
    if let Some(accounts) = options.accounts {
        give("--accounts", accounts.to_string().into());
    }
    if let Some(fork) = &options.fork {
        give("--fork-url", FORK_ALIAS.into());
        if let Some(block) = fork.block {
            give("--fork-block-number", block.to_string().into());
        }
    }
    if let Some(file) = &options.load_state {
        give("--load-state", file.into());
    }
    all.extend(options.arguments.iter().map(OsString::from));
    all
}

/// The chain's id where it is known before.
fn expected_id(options: &AnvilOptions) -> Option<u64> {
    options.chain_id.or_else(|| options.fork.is_none().then_some(CHAIN_ID))
}

/// The address at which this machine reaches what listens at `host`.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(host) if host.is_unspecified() => HOST,
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    }
}

/// The accounts that Anvil writes down with its other facts.
fn read_accounts(facts: &Path) -> Result<Vec<DevAccount>, String> {
    #[derive(Deserialize)]
    struct Facts {
        available_accounts: Vec<Address>,
        private_keys: Vec<B256>,
    }
    let text = std::fs::read(facts).map_err(|error| error.to_string())?;
    let facts: Facts =
        serde_json::from_slice(&text).map_err(|error| format!("its accounts cannot be read: {error}"))?;
    let pairs = facts.available_accounts.into_iter().zip(facts.private_keys);
    Ok(pairs.map(|(address, private_key)| DevAccount { address, private_key }).collect())
}

fn endpoint(scheme: &str, address: SocketAddr) -> Result<Endpoint, DevError> {
    format!("{scheme}://{address}").parse().map_err(|reason| DevError::AnvilStart { reason })
}

/// Anvil's binary: in `node_modules` of this folder, of the binary's, or of one above; else in PATH.
fn find_binary() -> Result<PathBuf, DevError> {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let packaged = format!("node_modules/@foundry-rs/anvil-{system}-{machine}/bin/anvil");
    super::find_upward(Path::new(&packaged))
        .or_else(|| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).map(|folder| folder.join("anvil")).find(|file| file.is_file())
        })
        .ok_or(DevError::NoAnvil)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port_of(text: &str) -> Result<u16, String> {
        let (listening, mut started) = oneshot::channel();
        drain(text.as_bytes(), listening);
        started.try_recv().unwrap()
    }

    #[test]
    fn the_port_is_read_from_what_anvil_prints() {
        assert_eq!(port_of("banner\n\nListening on 127.0.0.1:41377\neth_call\n"), Ok(41377));
        assert_eq!(port_of("Listening on [::1]:41378\n"), Ok(41378));
    }

    #[test]
    fn the_last_words_of_an_anvil_that_does_not_start_are_kept() {
        assert_eq!(port_of("banner\nError: Address already in use\n\n"), Err("Error: Address already in use".into()));
        assert!(port_of("").is_err());
    }
}
