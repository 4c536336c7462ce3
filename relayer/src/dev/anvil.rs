//! A local Anvil chain that is gone when its owner is, however the owner ends.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use alloy::providers::Provider;
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

use super::DevError;
use crate::{
    chain::{Endpoint, RootCertificates},
    client::Client,
};

/// The id of Anvil's chain.
pub const CHAIN_ID: u64 = 31337;

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

/// How to start a chain.
#[derive(Clone, Debug, Default)]
pub struct AnvilOptions {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Seconds between blocks, fractions allowed; without it, every transaction is a block.
    pub block_time: Option<f64>,
    /// Further arguments of Anvil.
    pub arguments: Vec<String>,
}

/// A running chain. Dropped, it is gone with all its files.
#[derive(Debug)]
pub struct Anvil {
    client: Client,
    ws: Endpoint,
    port: u16,
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
    /// `NoAnvil` without its binary; `AnvilStart` with its last words, such as that the port is taken; `Account` if it does not
    /// answer as a chain.
    pub async fn start(options: &AnvilOptions) -> Result<Self, DevError> {
        let binary = find_binary()?;
        let failed = |reason: String| DevError::AnvilStart { reason };
        let scratch = tempfile::Builder::new().prefix("oraculum-dev-").tempdir().map_err(|e| failed(e.to_string()))?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCHDOG, "sh"]).arg(scratch.path()).arg(&binary);
        command.args(["--host", "127.0.0.1", "--port", &options.port.to_string()]);
        command.args(["--chain-id", &CHAIN_ID.to_string(), "--cache-path"]).arg(scratch.path().join("anvil"));
        if let Some(seconds) = options.block_time {
            command.args(["--block-time", &seconds.to_string()]);
        }
        command.args(&options.arguments);
        // A group of its own: Ctrl-C on the terminal is ours to act on, not Anvil's.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
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
            Ok(Ok(Err(reason))) => return Err(failed(reason)),
            Ok(Err(_)) => return Err(failed("it ended".into())),
            Err(_) => return Err(failed(format!("it said nothing for {} s", START_TIMEOUT.as_secs()))),
        };
        let client = Client::connect(endpoint("http", port)?, Some(CHAIN_ID), &RootCertificates::default()).await?;
        // It would describe every call and every block.
        let quiet = client.provider().raw_request::<_, ()>("anvil_setLoggingEnabled".into(), (false,));
        client.ask(quiet).await?;
        let watchdog = guard.release().ok_or_else(|| failed("it ended".into()))?;
        let ws = endpoint("ws", port)?;
        Ok(Self { client, ws, port, has_block_time: options.block_time.is_some(), ended, watchdog, scratch })
    }

    /// A connection to the chain.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The chain's port on 127.0.0.1.
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
        if let Some(port) = line.strip_prefix("Listening on 127.0.0.1:").and_then(|port| port.parse().ok()) {
            let _ = listening.take().map(|listening| listening.send(Ok(port)));
        } else if !line.is_empty() {
            last = line;
        }
    }
    let _ = listening.take().map(|listening| listening.send(Err(last)));
}

fn endpoint(scheme: &str, port: u16) -> Result<Endpoint, DevError> {
    let url = format!("{scheme}://127.0.0.1:{port}");
    url.parse().map_err(|reason| DevError::AnvilStart { reason })
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
    }

    #[test]
    fn the_last_words_of_an_anvil_that_does_not_start_are_kept() {
        assert_eq!(port_of("banner\nError: Address already in use\n\n"), Err("Error: Address already in use".into()));
        assert!(port_of("").is_err());
    }
}
