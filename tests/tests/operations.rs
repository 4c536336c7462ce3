//! What an operator does and sees: models registered, metrics and probes, exit codes, a journal carried to another folder.

use std::{fs, process::Output, time::Duration};

use alloy::providers::Provider;
use oraculum_tests::{
    Res,
    anvil::Anvil,
    deployment::account,
    fixtures::one_node,
    models,
    node::{Node, binary},
    process::ToEnd,
};
use serde_json::{Value, json};
use tokio::process::Command;

async fn oraculum(node: &Node, arguments: &[&str]) -> Res<Output> {
    let mut command = Command::new(binary()?);
    command.args(arguments).arg("--config").arg(node.home().join("oraculum.toml"));
    command.to_end().await
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_registers_a_model_once_and_takes_no_name_from_others() -> Res<()> {
    let anvil = Anvil::start().await?;
    let (_, _, node) = one_node(&anvil, &anvil.local.ws_url(), &[]).await?;
    let (keystore, password) = (node.home().join("sender.json"), node.home().join("password"));
    let paid = ["--keystore", &keystore.to_string_lossy(), "--password-file", &password.to_string_lossy(), "--json"]
        .map(str::to_owned);
    let register = async |arguments: &[&str], paid: &[String]| {
        let paid = paid.iter().map(String::as_str);
        oraculum(
            &node,
            &["model", "register"].into_iter().chain(arguments.iter().copied()).chain(paid).collect::<Vec<_>>(),
        )
        .await
    };
    let first = register(&["credit", "--uri", "https://models.example.org/credit"], &paid).await?;
    let first: Value = serde_json::from_slice(&first.stdout).map_err(|_| told(&first))?;
    assert_eq!((&first["registered"], &first["named"]), (&json!(true), &json!(true)));
    assert_eq!(first["transactions"].as_array().map(Vec::len), Some(2));
    let again = register(&["credit"], &paid).await?;
    let again: Value = serde_json::from_slice(&again.stdout).map_err(|_| told(&again))?;
    assert_eq!(again["transactions"], json!([]));

    // Another card by the same name, from another account.
    let store = node.home().join("store");
    fs::create_dir_all(store.join("credit"))?;
    for file in fs::read_dir(models::folder().join("credit"))? {
        let file = file?;
        fs::copy(file.path(), store.join("credit").join(file.file_name()))?;
    }
    let card = store.join("credit/card.json");
    let mut text: Value = serde_json::from_str(&fs::read_to_string(&card)?)?;
    text["maxInputBytes"] = json!(text["maxInputBytes"].as_u64().ok_or("no limit")? + 1);
    fs::write(&card, text.to_string())?;
    // The model's id is the card's hash: what is wrong with the old one names the new one.
    let store = store.to_string_lossy().into_owned();
    let wrong = Command::new(binary()?).args(["model", "inspect", "credit", "--models", &store]).to_end().await?;
    let told_of = told(&wrong);
    let mut ids = told_of.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() == 66);
    let id = ids.find(|id| text["modelId"] != **id).ok_or_else(|| told_of.clone())?;
    text["modelId"] = json!(id);
    fs::write(&card, text.to_string())?;
    let other = node.home().join("other.json");
    oraculum::keys::store(
        &other,
        &account(5)?,
        &oraculum::keys::Password::from_file(&password)?,
        oraculum::keys::Cost::Light,
    )?;
    let mut theirs = paid.clone();
    theirs[1] = other.to_string_lossy().into_owned();
    let taken = register(&["credit", "--models", &store], &theirs).await?;
    assert_eq!(taken.status.code(), Some(1));
    assert!(told(&taken).contains("belongs to") && told(&taken).contains("--no-name"), "{}", told(&taken));
    let ours = register(&["credit", "--models", &store], &paid).await?;
    assert!(told(&ours).contains("--repoint"), "{}", told(&ours));
    let unnamed = register(&["credit", "--models", &store, "--no-name"], &theirs).await?;
    let unnamed: Value = serde_json::from_slice(&unnamed.stdout).map_err(|_| told(&unnamed))?;
    assert_eq!((&unnamed["registered"], &unnamed["named"]), (&json!(true), &json!(false)));
    assert_ne!(unnamed["modelId"], first["modelId"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_is_ready_and_counts_its_answers() -> Res<()> {
    let anvil = Anvil::start().await?;
    let (deployment, mut consumer, mut node) = one_node(&anvil, &anvil.local.ws_url(), &[]).await?;
    node.start().await?;
    let ids = consumer.ask(3).await?;
    consumer.settle(&deployment, &ids, 30).await?;
    assert_eq!(node.get("/live").await?.0, 200);
    let mut metrics = String::new();
    for _ in 0..100 {
        metrics = node.get("/metrics").await?.1;
        if metrics.lines().any(|line| line.contains("event=\"answered\"") && line.ends_with(" 3")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let has = |name: &str, value: &str| metrics.lines().any(|line| line.starts_with(name) && line.ends_with(value));
    assert!(has("oraculum_job_events_total{chain=\"31337\"", " 3"), "{metrics}");
    assert!(has("oraculum_endpoint_ready{", " 1.0"), "{metrics}");
    assert!(metrics.contains("oraculum_run_seconds_count{") && metrics.contains("provider=\"judge\""), "{metrics}");
    let (code, reasons) = node.get("/ready").await?;
    assert_eq!((code, reasons.as_str()), (200, "ready\n"));
    assert_eq!(node.stop().await?, Some(0));

    let home = node.home().join("copy.jsonl").to_string_lossy().into_owned();
    let exported = oraculum(&node, &["journal", "export", &home]).await?;
    assert!(exported.status.success(), "{}", told(&exported));
    node.forget()?;
    let imported = oraculum(&node, &["journal", "import", &home]).await?;
    assert!(imported.status.success(), "{}", told(&imported));
    let jobs = oraculum(&node, &["jobs", "list", "--json"]).await?;
    let jobs: Value = serde_json::from_slice(&jobs.stdout)?;
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(3));
    node.start().await?;
    let more = consumer.ask(2).await?;
    consumer.settle(&deployment, &more, 30).await?;
    assert_eq!(node.wasted(&deployment).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_deeper_than_is_rewound_ends_a_node_with_its_own_exit_code() -> Res<()> {
    let anvil = Anvil::start().await?;
    let extra = [("chain", "confirmations = 1"), ("chain", "reorg_depth = 2")];
    let (deployment, mut consumer, mut node) = one_node(&anvil, &anvil.local.ws_url(), &extra).await?;
    let mine = async |blocks: &str| {
        Res::Ok(deployment.provider.raw_request::<_, Value>("anvil_mine".into(), json!([blocks])).await?)
    };
    node.start().await?;
    let ids = consumer.ask(1).await?;
    consumer.settle(&deployment, &ids, 30).await?;
    mine("0x14").await?;
    // It has taken in what it will lose.
    let head = deployment.provider.get_block_number().await?;
    for _ in 0..100 {
        let taken = node.get("/metrics").await?.1;
        if taken.lines().any(|line| line.contains("block=\"taken\"") && line.ends_with(&format!(" {head}.0"))) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let _: Value = deployment.provider.raw_request("anvil_reorg".into(), json!([10, []])).await?;
    mine("0x2").await?;
    for _ in 0..300 {
        if node.log().contains("chain.reorg_depth") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(node.stop().await?, Some(8), "{}", node.log());
    Ok(())
}
