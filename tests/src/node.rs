//! Real nodes: `oraculum run` in a process of its own, with its own keystores, journal and configuration.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use alloy::{primitives::Address, providers::Provider, signers::local::PrivateKeySigner};
use oraculum::keys::{self, Password};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

use crate::{
    Res,
    deployment::{Deployment, account},
    models,
};

/// The binary that `cargo build` made for this profile.
///
/// # Errors
/// If it is not there.
pub fn binary() -> Res<PathBuf> {
    let here = std::env::current_exe()?;
    let profile = here.ancestors().find(|folder| folder.join("deps").is_dir()).ok_or("no build folder")?;
    let binary = profile.join("oraculum");
    if !binary.is_file() {
        return Err(format!("{} is missing: run `cargo build` first", binary.display()).into());
    }
    Ok(binary)
}

/// A node's home: configuration, keystores and journal. The process can be started, killed and started again.
#[derive(Debug)]
pub struct Node {
    home: TempDir,
    /// The key that signs its answers.
    pub signer: PrivateKeySigner,
    /// The account that pays for its gas.
    pub sender: Address,
    process: Option<Child>,
}

impl Node {
    /// The home of node 0, 1 or 2, whose owner is `KEYS[1 + number]` and whose sender is `KEYS[4 + number]`.
    /// `url` may be several, joined by commas; `extra` are further lines of configuration by section, such as `("chain", "confirmations = 5")`.
    ///
    /// # Errors
    /// If the home cannot be written.
    pub fn new(deployment: &Deployment, url: &str, number: usize, extra: &[(&str, &str)]) -> Res<Self> {
        let home = tempfile::tempdir()?;
        let password = home.path().join("password");
        fs::write(&password, "correct horse battery staple")?;
        let secret = Password::from_file(&password)?;
        let signer = keys::create(&home.path().join("signer.json"), &secret, keys::Cost::Light)?;
        let sender = account(4 + number)?;
        keys::store(&home.path().join("sender.json"), &sender, &secret, keys::Cost::Light)?;
        let mut text = String::new();
        for (section, lines) in [
            (
                "chain",
                format!(
                    "rpc_urls = {:?}\nchain_id = {}\ncoordinator = \"{}\"\n",
                    url.split(',').collect::<Vec<_>>(),
                    deployment.domain.chain_id,
                    deployment.domain.coordinator
                ),
            ),
            (
                "node",
                format!(
                    "owner = \"{}\"\nmodels_dir = \"{}\"\n",
                    account(1 + number)?.address(),
                    models::folder().display()
                ),
            ),
            // What the tests' requests pay is next to nothing.
            ("policy", "margin_percent = -100\n".into()),
            ("keys", "signer = \"signer.json\"\nsenders = [\"sender.json\"]\npassword_file = \"password\"\n".into()),
        ] {
            text += &format!("[{section}]\n{lines}");
            for (_, line) in extra.iter().filter(|(of, _)| *of == section) {
                text += &format!("{line}\n");
            }
        }
        for (section, lines) in extra.iter().filter(|(of, _)| !["chain", "node", "policy", "keys"].contains(of)) {
            text += &format!("[{section}]\n{lines}\n");
        }
        fs::write(home.path().join("oraculum.toml"), text)?;
        Ok(Self { home, signer, sender: sender.address(), process: None })
    }

    /// Where its files are.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The command that starts it.
    ///
    /// # Errors
    /// If the binary is not there.
    pub fn command(&self) -> Res<Command> {
        self.command_with(&[])
    }

    /// The command that starts one process for this and other nodes.
    ///
    /// # Errors
    /// If the binary is not there.
    pub fn command_with(&self, others: &[&Self]) -> Res<Command> {
        let mut command = Command::new(binary()?);
        command.arg("run");
        for node in [&[self], others].concat() {
            command.arg("--config").arg(node.home.path().join("oraculum.toml"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }

    /// Starts the process; its log goes to a file in its home.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub async fn start(&mut self) -> Res<()> {
        self.spawn(&mut self.command()?)
    }

    /// Starts one process for this and other nodes.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub async fn start_with(&mut self, others: &[&Self]) -> Res<()> {
        self.spawn(&mut self.command_with(others)?)
    }

    /// Starts the process and waits until it has read the chain.
    ///
    /// # Errors
    /// If the process cannot be started, or ends before.
    pub async fn start_up(&mut self) -> Res<()> {
        let before = self.log().len();
        self.start().await?;
        while !self.log()[before..].contains("caught up with the chain") {
            if self.ended()? {
                return Err("the node ended at its start".into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Starts the process; it dies when it passes a crash point of `oraculum::failpoint` for the `count`-th time.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub async fn start_to_crash(&mut self, point: &str, count: u32) -> Res<()> {
        self.spawn(self.command()?.env("ORACULUM_CRASH_AT", format!("{point}:{count}")))
    }

    /// Starts the process; a stage panics whenever it passes a crash point for another `every` times.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub async fn start_to_panic(&mut self, point: &str, every: u32) -> Res<()> {
        self.spawn(self.command()?.env("ORACULUM_PANIC_AT", format!("{point}:{every}")))
    }

    fn spawn(&mut self, command: &mut Command) -> Res<()> {
        let log = File::options().create(true).append(true).open(self.home.path().join("log"))?;
        self.process = Some(command.stderr(log).spawn()?);
        Ok(())
    }

    /// SIGKILL: no chance to tidy up.
    ///
    /// # Errors
    /// If the process cannot be killed.
    pub async fn kill(&mut self) -> Res<()> {
        if let Some(mut process) = self.process.take()
            && process.try_wait()?.is_none()
        {
            process.kill().await?;
        }
        Ok(())
    }

    /// SIGTERM, and the exit code it ends with.
    ///
    /// # Errors
    /// If it has ended before, or does not end within 20 seconds.
    pub async fn stop(&mut self) -> Res<Option<i32>> {
        let Some(mut process) = self.process.take() else { return Ok(None) };
        let id = process.id().ok_or("the node ended by itself")?;
        Command::new("kill").arg(id.to_string()).status().await?;
        Ok(tokio::time::timeout(Duration::from_secs(20), process.wait()).await??.code())
    }

    /// The exit code with which the process ends by itself.
    ///
    /// # Errors
    /// If it does not run, or does not end in that time.
    pub async fn ends_within(&mut self, time: Duration) -> Res<Option<i32>> {
        let process = self.process.as_mut().ok_or("the node does not run")?;
        Ok(tokio::time::timeout(time, process.wait()).await.map_err(|_| "the node did not end")??.code())
    }

    /// Whether the process has ended by itself.
    ///
    /// # Errors
    /// If the process cannot be asked.
    pub fn ended(&mut self) -> Res<bool> {
        Ok(match &mut self.process {
            Some(process) => process.try_wait()?.is_some(),
            None => true,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Child::id)
    }

    /// What it serves at a path while it runs: the status code and the body.
    ///
    /// # Errors
    /// If it cannot be reached, or gives no HTTP response within 20 seconds.
    pub async fn get(&self, path: &str) -> Res<(u16, String)> {
        let address = fs::read_to_string(self.home.path().join("data/status"))?;
        let mut stream = TcpStream::connect(address.trim()).await?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await?;
        let mut reply = String::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut reply)).await??;
        let (head, body) = reply.split_once("\r\n\r\n").ok_or("no HTTP")?;
        Ok((head.split_whitespace().nth(1).ok_or("no status")?.parse()?, body.to_owned()))
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Deletes its journal.
    ///
    /// # Errors
    /// If it cannot be deleted.
    pub fn forget(&self) -> Res<()> {
        match fs::remove_dir_all(self.home.path().join("data")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// What is wrong with the transactions of its sender, if anything is: one that reverted, or that the coordinator
    /// skipped.
    ///
    /// # Errors
    /// If a call fails.
    pub async fn wasted(&self, deployment: &Deployment) -> Res<Vec<String>> {
        let mut wasted = Vec::new();
        let head = deployment.provider.get_block_number().await?;
        for number in 0..=head {
            let Some(block) = deployment.provider.get_block(number.into()).full().await? else { continue };
            for transaction in block.transactions.txns().filter(|one| one.inner.signer() == self.sender) {
                let hash = *transaction.inner.tx_hash();
                let receipt = deployment.provider.get_transaction_receipt(hash).await?.ok_or("no receipt")?;
                let skipped = crate::consumer::skipped(receipt.logs());
                if !receipt.status() || skipped > 0 {
                    wasted.push(format!("{hash} in block {number}: success {}, {skipped} skipped", receipt.status()));
                }
            }
        }
        Ok(wasted)
    }
}
