//! What a node spends and earns, and what it answers for: batches, the ledger, several keys, and a policy that changes while it
//! runs.

use std::fs;

use alloy::{
    network::TransactionResponse,
    primitives::{Address, B256},
    providers::Provider,
    rpc::types::TransactionReceipt,
};
use oraculum::keys::{self, Password};
use oraculum_tests::{
    Res,
    anvil::Anvil,
    consumer::Consumer,
    deployment::{Deployment, account},
    fixtures::{one_node, until},
    node::{Node, binary},
    process::ToEnd,
};
use serde_json::{Value, json};

/// Asks in one block, and mines a block a second from then on.
async fn ask_in_one_block(deployment: &Deployment, consumer: &mut Consumer, count: usize) -> Res<Vec<B256>> {
    deployment.rpc("evm_setAutomine", json!([false])).await?;
    let posted = consumer.post(count).await?;
    deployment.rpc("anvil_mine", json!(["0x1"])).await?;
    let mut ids = Vec::new();
    for sent in posted {
        ids.push(Deployment::requested(&sent.get_receipt().await?)?.0);
    }
    deployment.rpc("evm_setIntervalMining", json!([1])).await?;
    Ok(ids)
}

/// The receipts of all transactions of an account.
async fn receipts(deployment: &Deployment, sender: Address) -> Res<Vec<TransactionReceipt>> {
    let mut receipts = Vec::new();
    for number in 0..=deployment.provider.get_block_number().await? {
        let Some(block) = deployment.provider.get_block(number.into()).full().await? else { continue };
        for transaction in block.transactions.txns().filter(|one| one.from() == sender) {
            let hash = transaction.tx_hash();
            receipts.push(deployment.provider.get_transaction_receipt(hash).await?.ok_or("no receipt")?);
        }
    }
    Ok(receipts)
}

/// Runs a command of the binary on a node's configuration; its JSON.
async fn ask_binary(node: &Node, words: &[&str]) -> Res<Value> {
    let mut command = tokio::process::Command::new(binary()?);
    command.args(words).arg("--json").arg("--config").arg(node.home().join("oraculum.toml"));
    Ok(serde_json::from_slice(&command.to_end().await?.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_block_share_transactions_and_the_ledger_agrees_with_the_chain() -> Res<()> {
    let anvil = Anvil::start().await?;
    // Without a wait the pace of the machine would decide how many answers meet in a batch.
    let policy = [("policy", "max_batch = 16"), ("policy", "batch_wait = 0.3")];
    let (deployment, mut consumer, mut node) = one_node(&anvil, &anvil.local.ws_url(), &policy).await?;
    node.start().await?;
    let ids = ask_in_one_block(&deployment, &mut consumer, 60).await?;
    consumer.settle(&deployment, &ids, 60).await.map_err(|error| format!("{error}\n{}", node.log()))?;
    assert_eq!(node.wasted(&deployment).await?, Vec::<String>::new());
    let sent = receipts(&deployment, node.sender).await?;
    eprintln!("60 requests of one block were answered in {} transactions", sent.len());
    assert!(sent.len() < 30, "{}", sent.len());

    let spent: u128 = sent.iter().map(|one| u128::from(one.gas_used) * one.effective_gas_price).sum();
    for running in [true, false] {
        if running {
            until("the ledger holds all sixty", async || {
                let ledger = ask_binary(&node, &["pnl"]).await?;
                Ok(ledger.as_array().into_iter().flatten().filter_map(|day| day["answers"].as_i64()).sum::<i64>() == 60)
            })
            .await
            .map_err(|error| format!("{error}\n{}", node.log()))?;
        } else {
            node.stop().await?;
        }
        let ledger = ask_binary(&node, &["pnl"]).await?;
        let sum = |key: &str| {
            let days = ledger.as_array().into_iter().flatten();
            days.filter_map(|day| day[key].as_str()?.parse::<i128>().ok()).sum::<i128>()
        };
        assert_eq!(sum("spentWei"), i128::try_from(spent)?, "{ledger}");
        assert_eq!(sum("profitWei"), sum("earnedWei") - sum("spentWei"));
        let per_answer = sum("earnedWei") / 60;
        assert!(per_answer > 0 && per_answer * 60 == sum("earnedWei"), "{ledger}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_sending_keys_share_the_work() -> Res<()> {
    let anvil = Anvil::start().await?;
    let (deployment, mut consumer, mut node) =
        one_node(&anvil, &anvil.local.ws_url(), &[("policy", "max_batch = 2")]).await?;
    let config = node.home().join("oraculum.toml");
    let secret = Password::from_file(&node.home().join("password"))?;
    keys::store(&node.home().join("second.json"), &account(5)?, &secret, keys::Cost::Light)?;
    let text = fs::read_to_string(&config)?.replace("[\"sender.json\"]", "[\"sender.json\", \"second.json\"]");
    fs::write(&config, text)?;
    node.start().await?;
    let ids = ask_in_one_block(&deployment, &mut consumer, 30).await?;
    consumer.settle(&deployment, &ids, 60).await.map_err(|error| format!("{error}\n{}", node.log()))?;
    for sender in [node.sender, account(5)?.address()] {
        let sent = receipts(&deployment, sender).await?;
        assert!(sent.len() >= 3 && sent.iter().all(TransactionReceipt::status), "{sender}: {}", sent.len());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_read_again_on_sighup_holds_at_once_and_a_bad_file_changes_nothing() -> Res<()> {
    let anvil = Anvil::start().await?;
    let above_fee_cap = ("policy", "min_fee = \"79000000000000000000000000000\"");
    let (deployment, mut consumer, mut node) = one_node(&anvil, &anvil.local.ws_url(), &[above_fee_cap]).await?;
    let config = node.home().join("oraculum.toml");
    node.start().await?;
    let refused = consumer.ask(1).await?[0];
    until("the request is skipped", async || {
        Ok(ask_binary(&node, &["jobs", "show", &refused.to_string()]).await.is_ok_and(|job| job["state"] == "skipped"))
    })
    .await
    .map_err(|error| format!("{error}\n{}", node.log()))?;
    let job = ask_binary(&node, &["jobs", "show", &refused.to_string()]).await?;
    assert!(job.to_string().contains("unprofitable"), "{job}");

    let text = fs::read_to_string(&config)?;
    let hang_up = async |text: &str, says: &str| {
        fs::write(&config, text)?;
        let pid = node.pid().ok_or("the node ended")?.to_string();
        let told = node.log().matches(says).count();
        tokio::process::Command::new("kill").args(["-HUP", &pid]).status().await?;
        until(says, async || Ok(node.log().matches(says).count() > told))
            .await
            .map_err(|error| format!("{error}\n{}", node.log()))?;
        Res::Ok(())
    };
    let cheap = text.replace(above_fee_cap.1, "min_fee = \"1\"");
    hang_up(&cheap, "read the configuration again").await?;
    let ids = consumer.ask(1).await?;
    consumer.settle(&deployment, &ids, 30).await.map_err(|error| format!("{error}\n{}", node.log()))?;

    hang_up(&cheap.replace("min_fee = \"1\"", "min_fee = 1"), "the configuration cannot be read again").await?;
    hang_up(&format!("{cheap}\n[engine]\nqueue = 7\n"), "engine.queue").await?;
    let ids = consumer.ask(1).await?;
    consumer.settle(&deployment, &ids, 30).await.map_err(|error| format!("{error}\n{}", node.log()))?;
    assert_eq!(node.stop().await?, Some(0));
    Ok(())
}
