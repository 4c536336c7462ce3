//! The walks of a node runner, with the commands that the guide has: a leaked key is replaced, and a second node earns its
//! first fee.

use std::{
    fs::{self, File},
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use oraculum::keys::{self, Password};
use oraculum_tests::{
    Res,
    anvil::Anvil,
    consumer::FEE,
    deployment::account,
    fixtures::{one_node, until},
    models,
    node::{Node, binary},
    process::ToEnd,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

/// A command of a node, to be waited for.
fn command(node: &Node, arguments: &[&str]) -> Res<Command> {
    let mut command = Command::new(binary()?);
    command.args(arguments).arg("--config").arg(node.home().join("oraculum.toml")).kill_on_drop(true);
    Ok(command)
}

/// What a command said, if it did not fail.
fn succeeded(output: &Output) -> Res<String> {
    if output.status.success() { Ok(told(output)) } else { Err(told(output).into()) }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A leaked key is replaced by two commands. The node answers with the new one on the same journal, and all that it answered
/// with the old one is still its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_key_is_replaced_by_two_commands_and_the_journal_goes_on() -> Res<()> {
    let anvil = Anvil::start().await?;
    let (deployment, mut consumer, mut node) = one_node(&anvil, &anvil.local.ws_url(), &[]).await?;
    let password = Password::from_file(&node.home().join("password"))?;
    keys::store(&node.home().join("keys/owner.json"), &account(1)?, &password, keys::Cost::Light)?;
    node.start_up().await?;
    let before = consumer.ask(2).await?;
    consumer.settle(&deployment, &before, 30).await?;
    let model = consumer.ids()[0];

    succeeded(&command(&node, &["node", "revoke"])?.to_end().await?)?;
    assert!(deployment.coordinator.seat(model, 0).call().await?.signer.is_zero());

    let mut rekey = command(&node, &["node", "rekey"])?.stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(rekey.stderr.take().ok_or("no standard error")?).lines();
    let mut told = String::new();
    while let Some(line) = lines.next_line().await? {
        // Nobody makes blocks here, as the command says.
        if line.contains("cast rpc anvil_mine") {
            deployment.mine(8).await?;
        }
        told += &format!("{line}\n");
    }
    assert!(rekey.wait().await?.success(), "{told}");
    assert!(told.contains("cast rpc anvil_mine") && told.contains("restart the node"), "{told}");

    assert_eq!(node.stop().await?, Some(0));
    node.start_up().await?;
    assert!(node.log().contains("the journal goes on with another signing key"), "{}", node.log());
    let after = consumer.ask(2).await?;
    consumer.settle(&deployment, &after, 30).await?;
    let listed = command(&node, &["jobs", "list", "--json"])?.to_end().await?;
    let listed: Value = serde_json::from_slice(&listed.stdout)?;
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(4));
    let log = node.log();
    assert_eq!(log.lines().filter(|line| line.contains("answered; the fee is in ETH model=iris/v1 id=0x")).count(), 4);
    assert!(log.contains("serving the node's status address=http://127.0.0.1:"), "{log}");
    assert_eq!(node.wasted(&deployment).await?, Vec::<String>::new());

    // The pay of all four is the owner's, whichever key signed.
    deployment.mine(40).await?;
    assert_eq!(node.stop().await?, Some(0));
    assert!(!node.log().contains("ERROR"), "{}", node.log());
    succeeded(&command(&node, &["node", "claim"])?.to_end().await?)?;
    let status = command(&node, &["node", "status", "--json"])?.to_end().await?;
    let status: Value = serde_json::from_slice(&status.stdout)?;
    assert_eq!((&status["vestingWei"], &status["claimable"]), (&json!("0"), &json!(0)));
    assert_eq!(status["balanceWei"], json!((4 * FEE).to_string()));
    Ok(())
}

/// A running `oraculum dev`, and what it printed.
struct Dev {
    deployment: Value,
    _process: tokio::process::Child,
}

impl Dev {
    async fn start() -> Res<Self> {
        let mut process = Command::new(binary()?)
            .args(["dev", "--json", "--port", "0", "--models"])
            .arg(models::folder())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let mut text = String::new();
        while let Some(line) = lines.next_line().await? {
            text += &line;
            if let Ok(deployment) = serde_json::from_str(&text) {
                return Ok(Self { deployment, _process: process });
            }
        }
        Err("dev ended before it was ready".into())
    }

    fn named(&self, key: &str) -> Res<&str> {
        self.deployment[key].as_str().ok_or_else(|| format!("dev does not print {key}").into())
    }
}

/// A second node beside `oraculum dev`, by the commands of the guide: keys, money, registration, a seat, and the first fee.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_beside_dev_earns_its_first_fee() -> Res<()> {
    let dev = Dev::start().await?;
    let (url, coordinator) = (dev.named("rpcUrl")?, dev.named("coordinator")?);
    let home = tempfile::tempdir()?;
    let oraculum = |arguments: &[&str]| -> Res<Command> {
        let mut command = Command::new(binary()?);
        command.args(arguments).current_dir(home.path()).env("ORACULUM_PASSWORD", "correct horse battery staple");
        command.kill_on_drop(true);
        Ok(command)
    };
    let cast = |arguments: &[&str]| {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/tool"));
        command.arg("cast").args(arguments).args(["--rpc-url", url]);
        command
    };
    let init = ["init", ".", "--rpc-url", url, "--chain-id", "31337", "--coordinator", coordinator, "--json"];
    let made = oraculum(&init)?.to_end().await?;
    succeeded(&made)?;
    let made: Value = serde_json::from_slice(&made.stdout)?;
    copy(&models::folder().join("iris"), &home.path().join("models/iris"))?;
    // Without money the commands say how much is missing, and where.
    let poor = oraculum(&["node", "register"])?.to_end().await?;
    assert!(told(&poor).contains("it holds 0 ETH, and the transaction needs"), "{}", told(&poor));
    for role in ["owner", "sender"] {
        let address = made[role].as_str().ok_or("no address")?;
        succeeded(&cast(&["rpc", "anvil_setBalance", address, "0xde0b6b3a7640000"]).to_end().await?)?;
    }
    succeeded(&oraculum(&["node", "register"])?.to_end().await?)?;
    let mut join = oraculum(&["node", "join", "iris/v1"])?.stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(join.stderr.take().ok_or("no output")?).lines();
    // It names the command that makes the blocks which are missing.
    let mine = loop {
        let line = lines.next_line().await?.ok_or("join does not say how to make blocks")?;
        if let Some((_, command)) = line.split_once("`cast rpc ") {
            break command.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
        }
    };
    succeeded(&cast(&["rpc", &mine[0], &mine[1]]).to_end().await?)?;
    assert!(join.wait().await?.success());

    let status = oraculum(&["node", "status"])?.to_end().await?;
    let status = String::from_utf8(status.stdout)?;
    for says in ["sender     0x", ": live; is drawn, counts; bond 0.01", "next seat  needs a bond of 0.01"] {
        assert!(status.contains(says), "{says}: {status}");
    }
    let log = File::create(home.path().join("log"))?;
    let mut node = oraculum(&["run"])?.stderr(log).spawn()?;
    let logged = || fs::read_to_string(home.path().join("log")).unwrap_or_default();
    until("the node has read the chain", async || Ok(logged().contains("caught up with the chain"))).await?;
    // The draw is even between two seats: a hundred questions pass one by with a chance of 2^-100.
    for _ in 0..100 {
        if logged().contains("answered; the fee is in ETH model=iris/v1") {
            break;
        }
        let mut ask = oraculum(&["request", "--model", "iris/v1", "--input", "[[5.1,3.5,1.4,0.2]]"])?;
        ask.args(["--fee", "0.001", "--rpc-url", url, "--coordinator", coordinator]);
        succeeded(&ask.env("ORACULUM_MODELS", home.path().join("models")).to_end().await?)?;
    }
    until("it earned", async || Ok(logged().contains("answered; the fee is in ETH model=iris/v1"))).await?;
    let pid = node.id().ok_or("the node ended")?;
    Command::new("kill").arg(pid.to_string()).status().await?;
    assert_eq!(node.wait().await?.code(), Some(0));
    assert!(!logged().contains("ERROR"), "{}", logged());
    let status = oraculum(&["node", "status", "--json"])?.to_end().await?;
    let status: Value = serde_json::from_slice(&status.stdout)?;
    let wei = |key: &str| status[key].as_str().and_then(|text| text.parse::<u128>().ok()).unwrap_or_default();
    assert!(wei("vestingWei") + wei("claimableWei") + wei("balanceWei") >= 1_000_000_000_000_000, "{status}");
    Ok(())
}

/// The deploy script writes a file, from which `init` makes a configuration that reaches the coordinator. A second deployment
/// does not overwrite it, and is not sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_deploy_script_writes_is_what_init_reads() -> Res<()> {
    // No other chain of these tests has this id, by which the file is called.
    let anvil = Anvil::with(&["--chain-id", "31339"]).await?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (file, url) = (root.join("deployments/31339.json"), anvil.local.http_url());
    let _ = fs::remove_file(&file);
    let deploy = async || {
        let mut command = Command::new("../scripts/tool");
        command.args(["forge", "script", "script/Deploy.s.sol", "--rpc-url", &url, "--broadcast", "--unlocked"]);
        let owner = account(0)?.address().to_string();
        command.args(["--sender", &owner]).env("ORACULUM_OWNER", &owner).env("ORACULUM_DEV", "true");
        let output = command.current_dir(root.join("contracts")).to_end().await?;
        Res::Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned() + &told(&output)))
    };
    let (deployed, said) = deploy().await?;
    assert!(deployed && said.contains("deployments/31339.json"), "{said}");
    let (again, said) = deploy().await?;
    assert!(!again && said.contains("AlreadyWritten"), "{said}");
    let home = tempfile::tempdir()?;
    let mut init = Command::new(binary()?);
    init.arg("init").arg(home.path()).args(["--rpc-url", &url, "--deployment"]).arg(&file);
    succeeded(&init.env("ORACULUM_PASSWORD", "correct horse battery staple").to_end().await?)?;
    fs::remove_file(&file)?;
    let mut status = Command::new(binary()?);
    status.args(["node", "status", "--json", "--config"]).arg(home.path().join("oraculum.toml"));
    let output = status.to_end().await?;
    let status: Value = serde_json::from_slice(&output.stdout).map_err(|_| told(&output))?;
    assert_eq!(status["nextBondWei"], "10000000000000000");
    Ok(())
}

/// An endpoint that dies makes a node not ready within seconds, over HTTP and over a WebSocket. The bound is a wide one:
/// how soon it is depends on the machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_endpoint_dies_is_not_ready() -> Res<()> {
    for is_http in [true, false] {
        let anvil = Anvil::start().await?;
        let url = if is_http { anvil.local.http_url() } else { anvil.local.ws_url() };
        let (_, _, mut node) = one_node(&anvil, &url, &[]).await?;
        node.start_up().await?;
        until("it is ready", async || Ok(node.get("/ready").await?.0 == 200)).await?;
        drop(anvil);
        tokio::time::timeout(Duration::from_secs(10), async {
            while node.get("/ready").await?.0 == 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Res::Ok(())
        })
        .await??;
        let health = command(&node, &["health"])?.to_end().await?;
        assert_eq!(health.status.code(), Some(1), "{}", told(&health));
        assert!(told(&health).contains("the node is not ready: "), "{}", told(&health));
        succeeded(&command(&node, &["health", "--live"])?.to_end().await?)?;
        assert_eq!(node.stop().await?, Some(0));
        assert!(!node.log().contains("ERROR"), "{}", node.log());
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Res<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}
