//! What goes wrong around a node: reorganisations, lost connections, operators' mistakes, an empty purse.

use std::{process::Stdio, time::Duration};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    providers::Provider,
    rpc::types::Filter,
    sol_types::SolEvent,
};
use oraculum_tests::{
    Res,
    abi::InferenceCoordinator::{Claimed, Fulfilled, Requested},
    anvil::Anvil,
    consumer::Consumer,
    deployment::Deployment,
    fixtures::{one_node, until},
    node::{Node, binary},
    process::ToEnd,
    rpc::tcp_proxy::TcpProxy,
};
use serde_json::{Value, json};

/// The raw transaction and the height of the request or the answer of an id.
async fn settled_in(deployment: &Deployment, topic: B256, id: B256) -> Res<(B256, u64)> {
    let filter =
        Filter::new().address(*deployment.coordinator.address()).event_signature(topic).topic1(id).from_block(0);
    let logs = deployment.provider.get_logs(&filter).await?;
    let log = logs.first().ok_or("no such log")?;
    Ok((log.transaction_hash.ok_or("no hash")?, log.block_number.ok_or("no number")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_a_reorganisation_undoes_is_given_again() -> Res<()> {
    let anvil = Anvil::start().await?;
    // Final at once: the worst case, in which the node has forgotten the transaction.
    for confirmations in ["confirmations = 10", "confirmations = 0"] {
        let (deployment, mut consumer, mut node) =
            one_node(&anvil, &anvil.local.ws_url(), &[("chain", confirmations)]).await?;
        node.start().await?;
        let ids = consumer.ask(3).await?;
        consumer.settle(&deployment, &ids, 30).await?;
        let ids = consumer.ask(1).await?;
        consumer.settle(&deployment, &ids, 30).await?;
        let (_, answered) = settled_in(&deployment, Fulfilled::SIGNATURE_HASH, ids[0]).await?;
        let depth = deployment.provider.get_block_number().await? + 1 - answered;
        deployment.rpc("anvil_reorg", json!([depth, []])).await?;
        // The reorganisation shows with the next block.
        deployment.mine(1).await?;
        let settled = consumer.settle(&deployment, &ids, 30).await;
        assert!(settled.is_ok(), "{confirmations}: {:?}\n{}", settled.err(), node.log());
        let more = consumer.ask(5).await?;
        let settled = consumer.settle(&deployment, &more, 30).await;
        assert!(settled.is_ok(), "{confirmations}: {:?}\n{}", settled.err(), node.log());
        assert_eq!(node.wasted(&deployment).await?, Vec::<String>::new());
        assert_eq!(node.stop().await?, Some(0));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_reorganisation_moves_is_answered_in_its_new_block() -> Res<()> {
    let anvil = Anvil::start().await?;
    let (deployment, mut consumer, mut node) =
        one_node(&anvil, &anvil.local.ws_url(), &[("chain", "confirmations = 10")]).await?;
    node.start().await?;
    let ids = consumer.ask(1).await?;
    let before = consumer.settle(&deployment, &ids, 30).await?[&ids[0]].clone();
    let (transaction, asked) = settled_in(&deployment, Requested::SIGNATURE_HASH, ids[0]).await?;
    let raw: Bytes =
        serde_json::from_value(deployment.rpc("eth_getRawTransactionByHash", json!([transaction])).await?)?;
    let depth = deployment.provider.get_block_number().await? + 1 - asked;
    deployment.rpc("anvil_reorg", json!([depth, [[raw, 0]]])).await?;
    deployment.mine(1).await?;
    let settled = consumer.settle(&deployment, &ids, 30).await;
    assert!(settled.is_ok(), "{:?}\n{}", settled.err(), node.log());
    let after = &settled?[&ids[0]];
    assert_eq!(after.asked_at, before.asked_at, "the same request");
    assert_ne!(after.asked_in, before.asked_in, "in another block");
    assert_eq!(node.wasted(&deployment).await?, Vec::<String>::new());
    assert_eq!(node.stop().await?, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_made_anew_and_nothing_is_missed() -> Res<()> {
    let anvil = Anvil::start().await?;
    let proxy = TcpProxy::to(anvil.local.port).await?;
    for url in [proxy.local.ws_url(), proxy.local.http_url()] {
        let pace = [("chain", "poll_interval = 0.05\nrequest_timeout = 2")];
        let (deployment, mut consumer, mut node) = one_node(&anvil, &url, &pace).await?;
        node.start().await?;
        let ids = consumer.ask(3).await?;
        consumer.settle(&deployment, &ids, 30).await?;
        for _ in 0..2 {
            proxy.cut();
            let ids = consumer.ask(5).await?;
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            proxy.mend();
            let settled = consumer.settle(&deployment, &ids, 30).await;
            assert!(settled.is_ok(), "{url}: {:?}\n{}", settled.err(), node.log());
        }
        assert_eq!(node.wasted(&deployment).await?, Vec::<String>::new());
        assert_eq!(node.stop().await?, Some(0), "{}", node.log());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cannot_succeed_ends_with_one_line_that_names_the_remedy() -> Res<()> {
    let anvil = Anvil::start().await?;
    let (deployment, consumer, mut node) = one_node(&anvil, &anvil.local.http_url(), &[]).await?;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let (no_contract, consumer) = (Address::repeat_byte(9).to_string(), consumer.address().to_string());
    let (down, down_ws) = (format!("http://127.0.0.1:{closed}/secret"), format!("ws://127.0.0.1:{closed}/secret"));
    let password = node.home().join("wrong");
    std::fs::write(&password, "wrong")?;
    let password = password.display().to_string();
    for (variables, words) in [
        (vec![("ORACULUM_CHAIN_RPC_URLS", down.as_str())], "check `chain.rpc_urls`"),
        (vec![("ORACULUM_CHAIN_RPC_URLS", down_ws.as_str())], "check `chain.rpc_urls`"),
        (vec![("ORACULUM_CHAIN_CHAIN_ID", "5")], "correct `chain.rpc_urls` or `chain.chain_id`"),
        (vec![("ORACULUM_CHAIN_COORDINATOR", no_contract.as_str())], "there is no contract at"),
        (vec![("ORACULUM_CHAIN_COORDINATOR", consumer.as_str())], "does not answer as an Oraculum coordinator"),
        (vec![("ORACULUM_PASSWORD", "wrong")], "wrong password"),
        (vec![("ORACULUM_KEYS_PASSWORD_FILE", password.as_str())], "wrong password"),
        (vec![("ORACULUM_NODE_MODELS_DIR", "nowhere")], "`oraculum model add`"),
        (vec![("ORACULUM_ENGINE_RUNTIME", "/nowhere/libonnxruntime.so")], "libonnxruntime.so"),
        (vec![("ORACULUM_CHAIN_NONSENSE", "1")], "ORACULUM_CHAIN_NONSENSE"),
    ] {
        let mut command = node.command()?;
        command.env("ORACULUM_CHAIN_START_TIMEOUT", "0.5").env("ORACULUM_LOG", "error");
        let output = command.envs(variables.clone()).stderr(Stdio::piped()).to_end().await?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_some_and(|code| code > 0), "{variables:?}: {told}");
        assert!(told.contains(words), "{variables:?} should say `{words}`: {told}");
        assert!(!told.contains("panicked") && !told.contains("secret"), "{variables:?}: {told}");
        assert_eq!(told.trim().lines().count(), 1, "{variables:?}: {told}");
    }
    // A second process on the same journal.
    node.start().await?;
    until("the journal is there", async || Ok(node.home().join("data/status").exists())).await?;
    let output = node.command()?.env("ORACULUM_LOG", "error").stderr(Stdio::piped()).to_end().await?;
    assert!(String::from_utf8_lossy(&output.stderr).contains("in use by another process"));
    assert_eq!(node.stop().await?, Some(0));
    drop(deployment);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_registration_or_seat_says_so_and_answers_once_it_has_them() -> Res<()> {
    let anvil = Anvil::start().await?;
    let deployment = Deployment::deploy(&anvil.local.ws_url()).await?;
    let mut consumer = Consumer::new(&deployment, &["iris"]).await?;
    let mut node = Node::new(&deployment, &anvil.local.ws_url(), 0, &[])?;
    node.start().await?;
    until("both are said", async || {
        let log = node.log();
        Ok(log.contains("oraculum node register") && log.contains("oraculum node join"))
    })
    .await?;
    deployment.seat(1, &node.signer, &consumer.ids()).await?;
    let ids = consumer.ask(3).await?;
    let settled = consumer.settle(&deployment, &ids, 30).await;
    assert!(settled.is_ok(), "{:?}\n{}", settled.err(), node.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_money_stops_and_goes_on_when_it_is_funded() -> Res<()> {
    let anvil = Anvil::start().await?;
    let (deployment, mut consumer, mut node) = one_node(&anvil, &anvil.local.ws_url(), &[]).await?;
    deployment.rpc("anvil_setBalance", json!([node.sender, "0x0"])).await?;
    node.start().await?;
    let ids = consumer.ask(3).await?;
    until("it says so", async || Ok(node.log().contains("cannot pay for gas"))).await?;
    assert!(consumer.answers(&deployment).await?.is_empty());
    deployment.rpc("anvil_setBalance", json!([node.sender, U256::from(10u64).pow(U256::from(18))])).await?;
    let settled = consumer.settle(&deployment, &ids, 30).await;
    assert!(settled.is_ok(), "{:?}\n{}", settled.err(), node.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pay_is_claimed_once_even_if_the_journal_is_lost_before() -> Res<()> {
    let anvil = Anvil::start().await?;
    let (deployment, mut consumer, mut node) = one_node(&anvil, &anvil.local.ws_url(), &[]).await?;
    node.start().await?;
    let ids = consumer.ask(20).await?;
    consumer.settle(&deployment, &ids, 30).await?;
    node.kill().await?;
    node.forget()?;
    node.start().await?;
    let ids = consumer.ask(20).await?;
    consumer.settle(&deployment, &ids, 30).await?;
    // Past the vesting, and past the wait for a full batch.
    let filter = Filter::new().address(*deployment.coordinator.address()).event_signature(Claimed::SIGNATURE_HASH);
    until("all forty are paid", async || {
        deployment.mine(40).await?;
        let logs = deployment.provider.get_logs(&filter.clone().from_block(0)).await?;
        let paid = logs.iter().filter_map(|log| Some(Claimed::decode_log(&log.inner).ok()?.requestIds.len()));
        Ok(paid.sum::<usize>() == 40)
    })
    .await
    .map_err(|error| format!("{error}\n{}", node.log()))?;
    assert_eq!(node.wasted(&deployment).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_shown_by_a_running_node_and_by_a_stopped_ones_journal() -> Res<()> {
    let anvil = Anvil::start().await?;
    let (deployment, mut consumer, mut node) = one_node(&anvil, &anvil.local.ws_url(), &[]).await?;
    let config = node.home().join("oraculum.toml");
    let jobs = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(binary()?);
        command.arg("jobs").args(arguments).arg("--config").arg(&config).arg("--json");
        command.to_end().await
    };
    node.start().await?;
    let ids = consumer.ask(4).await?;
    consumer.settle(&deployment, &ids, 30).await?;
    for running in [true, false] {
        if !running {
            assert_eq!(node.stop().await?, Some(0));
        }
        let listed: Value = serde_json::from_slice(&jobs(&["list"]).await?.stdout)?;
        assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(4), "{listed}");
        let shown: Value = serde_json::from_slice(&jobs(&["show", &ids[0].to_string()]).await?.stdout)?;
        assert_eq!(shown["id"], json!(ids[0]));
        assert_eq!(shown["job"]["task"]["request"]["consumer"], json!(consumer.address()));
        assert!(!jobs(&["show", &B256::ZERO.to_string()]).await?.status.success());
    }
    Ok(())
}
