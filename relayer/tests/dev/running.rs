//! A dev with its flags, and the commands that find it.

use std::{
    io::BufReader,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json as value};

use super::{Dev, IRIS, failure, json, oraculum, rpc};

#[test]
fn other_commands_find_the_dev_that_runs_and_ask_which_if_several_do() {
    let dev = Dev::start(&[]);
    let id = json(&dev.beside(&IRIS))["id"].clone();
    assert_eq!(json(&dev.beside(&["jobs", "list", "--json"]))["jobs"][0]["id"], id);
    assert_eq!(json(&dev.beside(&["jobs", "show", id.as_str().unwrap(), "--json"]))["id"], id);
    assert!(json(&dev.beside(&["pnl", "--json"])).is_array());

    // Two in one folder of temporary files; what is named wins, and a configuration that is named does, too.
    let mut second = oraculum();
    second.args(["dev", "--json", "--port", "0", "--chain-id", "1338"]).env("TMPDIR", dev.temporary.path());
    let mut second = second.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(second.stdout.take().unwrap());
    let other: Value = serde_json::Deserializer::from_reader(output).into_iter().next().unwrap().unwrap();
    assert_eq!(other["chainId"], 1338);
    for arguments in [&IRIS[..], &["jobs", "list"]] {
        let (code, told) = failure(&dev.beside(arguments));
        assert_eq!(code, Some(2), "{told}");
        let url = other["rpcUrl"].as_str().unwrap();
        assert!(told.contains("choose one with --rpc-url") && told.contains(dev.url()) && told.contains(url), "{told}");
    }
    let named = ["--rpc-url", other["rpcUrl"].as_str().unwrap()];
    json(&dev.beside(&[&IRIS[..], &named].concat()));
    assert_eq!(
        json(&dev.beside(&[&["jobs", "list", "--json"][..], &named].concat()))["jobs"].as_array().unwrap().len(),
        1
    );
    let (code, told) = failure(&dev.beside(&["jobs", "list", "--config", "/nowhere/oraculum.toml"]));
    assert!(code == Some(3) && told.contains("/nowhere/oraculum.toml"), "{told}");
    second.kill().unwrap();
    second.wait().unwrap();
    // Its chain ends a moment later, and is no choice any more.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !dev.beside(&["jobs", "list"]).status.success() {
        assert!(Instant::now() < deadline, "the dev that was killed is still a choice");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn without_a_running_dev_the_flags_are_named() {
    let nothing = tempfile::tempdir().unwrap();
    let (code, told) = failure(&oraculum().args(IRIS).env("TMPDIR", nothing.path()).output().unwrap());
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("no `oraculum dev` runs here") && told.contains("--rpc-url and --coordinator"), "{told}");
}

#[test]
fn a_state_file_lets_chain_and_node_go_on_where_they_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain.json");
    let state = ["--state", file.to_str().unwrap()];
    let mut dev = Dev::start(&[&state[..], &["--chain-id", "7"]].concat());
    let before = json(&dev.beside(&IRIS))["id"].clone();
    dev.signal("-INT");
    assert!(dev.process.wait().unwrap().success());
    dev.expect_nothing_left();

    let again = Dev::start(&state);
    assert_eq!(
        (&again.deployment["coordinator"], &again.deployment["chainId"]),
        (&dev.deployment["coordinator"], &7.into())
    );
    let jobs = |dev: &Dev| json(&dev.beside(&["jobs", "list", "--json"]))["jobs"].as_array().unwrap().len();
    assert_eq!(jobs(&again), 1);
    assert_eq!(json(&again.beside(&["jobs", "show", before.as_str().unwrap(), "--json"]))["id"], before);
    json(&again.beside(&IRIS));
    assert_eq!(jobs(&again), 2);
    // Killed, it leaves the file as it was.
    let kept = std::fs::read(&file).unwrap();
    drop(again);
    assert_eq!(std::fs::read(&file).unwrap(), kept);

    let one_model = folder.path().join("models");
    std::fs::create_dir(&one_model).unwrap();
    std::os::unix::fs::symlink(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models/iris"),
        one_model.join("iris"),
    )
    .unwrap();
    // A model that is new in the folder comes to the chain that goes on.
    let early = folder.path().join("early.json");
    let few = ["--state", early.to_str().unwrap()];
    let mut dev = Dev::start(&[&few[..], &["--models", one_model.to_str().unwrap()]].concat());
    dev.signal("-INT");
    assert!(dev.process.wait().unwrap().success());
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = oraculum();
    command.stderr(log.reopen().unwrap());
    let dev = Dev::start_by(command, &few);
    let told = || std::fs::read_to_string(log.path()).unwrap();
    let is_served = |model: &str| told().lines().any(|line| line.starts_with(model) && line.ends_with("is served"));
    for _ in 0..600 {
        if is_served("credit/v1") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(is_served("credit/v1") && !is_served("iris/v1"), "{}", told());
    drop(dev);

    let refused = |arguments: &[&str]| {
        let output = oraculum().args(["dev", "--port", "0"]).args(state).args(arguments).output().unwrap();
        assert!(!output.status.success());
        failure(&output).1
    };
    let told = refused(&["--models", one_model.to_str().unwrap()]);
    assert!(told.contains("its model credit/v1") && told.contains("begin anew with another --state file"), "{told}");
    let told = refused(&["--chain-id", "8"]);
    assert!(told.contains("it is of chain 7, not of chain 8"), "{told}");
    let mut other: Value = serde_json::from_slice(&kept).unwrap();
    other["oraculum"]["coordinatorCode"] = format!("0x{}", "07".repeat(32)).into();
    std::fs::write(&file, other.to_string()).unwrap();
    assert!(refused(&[]).contains("another version"));
    std::fs::write(&file, "{").unwrap();
    assert!(refused(&[]).contains("it is no state of Anvil"));
}

#[test]
fn a_chain_is_forked_with_its_id_and_the_url_is_among_no_arguments() {
    let first = Dev::start(&["--chain-id", "4242"]);
    let known = "0x00000000000000000000000000000000000000aa";
    rpc(first.url(), "anvil_setBalance", value!([known, "0x7"]));
    let fork = Dev::start(&["--fork-url", first.url(), "--accounts", "3"]);
    assert_eq!(fork.deployment["chainId"], 4242);
    assert_eq!(fork.deployment["accounts"].as_array().unwrap().len(), 3);
    assert_eq!(rpc(fork.url(), "eth_getBalance", value!([known, "latest"])), "0x7");
    // The deployer has made contracts on the forked chain, so that the coordinator is at another address.
    assert_ne!(fork.deployment["coordinator"], first.deployment["coordinator"]);
    json(&fork.beside(&IRIS));
    let list = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let anvils = list.lines().filter(|line| line.contains("--config-out") && line.contains("--fork-url"));
    anvils.for_each(|line| assert!(!line.contains(first.url()), "{line}"));
}

#[test]
fn a_port_that_is_taken_is_named_with_the_flag() {
    let dev = Dev::start(&[]);
    let port = dev.url().rsplit_once(':').unwrap().1;
    let (code, told) = failure(&oraculum().args(["dev", "--port", port]).output().unwrap());
    assert_eq!(code, Some(1));
    assert!(told.contains(&format!("port {port} of 127.0.0.1 is taken")) && told.contains("--port 0"), "{told}");
}

#[test]
fn what_dev_prints_has_keys_that_own_the_accounts_and_a_status_that_answers() {
    let dev = Dev::start(&["--host", "0.0.0.0"]);
    assert!(dev.url().starts_with("http://127.0.0.1:"), "{}", dev.url());
    for account in dev.deployment["accounts"].as_array().unwrap() {
        let key: alloy::signers::local::PrivateKeySigner = account["privateKey"].as_str().unwrap().parse().unwrap();
        assert_eq!(key.address(), account["address"].as_str().unwrap().parse::<alloy::primitives::Address>().unwrap());
    }
    assert_eq!(dev.deployment["accounts"][1]["address"], dev.deployment["user"]);
    assert_eq!(dev.deployment["prepaidWei"], "10000000000000000000");
    let status = dev.deployment["statusUrl"].as_str().unwrap().strip_prefix("http://").unwrap();
    std::net::TcpStream::connect(status).unwrap();
    assert_eq!(dev.deployment["pid"], dev.process.id());
}
