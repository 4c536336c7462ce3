use super::{
    super::{AnvilOptions, COORDINATOR, find_upward},
    *,
};

async fn chain(block_time: Option<f64>) -> (Anvil, Deployment) {
    let anvil = Anvil::start(&AnvilOptions { block_time, ..Default::default() }).await.unwrap();
    let models_dir = find_upward(Path::new("onnx-models")).unwrap();
    let options = DeployOptions { models_dir, nodes: 2, parameters: parameters() };
    let deployment = deploy(&anvil, &options).await.unwrap();
    (anvil, deployment)
}

#[tokio::test]
async fn a_local_deployment_can_be_asked_at_once() {
    let (anvil, deployment) = chain(None).await;
    assert_eq!(deployment.coordinator, COORDINATOR);
    assert_eq!(deployment.models.len(), 4);
    for model in &deployment.models {
        let name = Coordinator::resolveCall { name: model.name.clone() };
        assert_eq!(anvil.client().read(COORDINATOR, &name).await.unwrap().modelId, model.model_id);
        let call = Coordinator::modelCall { modelId: model.model_id };
        let entry = anvil.client().read(COORDINATOR, &call).await.unwrap();
        assert!(entry.registered && entry.seatCount == 2 && entry.liveSeats == 2, "{}", model.name);
    }
    let balance = Coordinator::balanceOfCall { token: Address::ZERO, account: deployment.user };
    assert_eq!(anvil.client().read(COORDINATOR, &balance).await.unwrap(), U256::from(10 * ETHER));
    let json = serde_json::to_value(&deployment).unwrap();
    assert_eq!(json["coordinator"], "0x5fbdb2315678afecb367f032d93f642f64180aa3");
    for consumer in ["irisClassifier", "lendingDesk", "digitMint"] {
        assert!(json["consumers"][consumer].is_string(), "{consumer}");
    }
    let settings = deployment.settings(&anvil, 1, anvil.scratch()).unwrap();
    assert_eq!(settings.node.owner, deployment.nodes[1].owner);
}

#[tokio::test]
async fn the_address_of_an_example_depends_on_no_other_models() {
    let (_all, everything) = chain(None).await;
    let folder = tempfile::tempdir().unwrap();
    let store = crate::model::ModelStore::new(folder.path());
    let shipped = find_upward(Path::new("onnx-models")).unwrap();
    for name in ["digits", "language"] {
        store.stage(&shipped.join(name)).unwrap().install(false).unwrap();
    }
    let anvil = Anvil::start(&AnvilOptions::default()).await.unwrap();
    let options = DeployOptions { models_dir: folder.path().to_owned(), nodes: 1, parameters: parameters() };
    let some = deploy(&anvil, &options).await.unwrap().consumers;
    assert!(some.digit_mint.is_some() && some.digit_mint == everything.consumers.digit_mint);
    assert_eq!((some.iris_classifier, some.lending_desk), (None, None));
}

#[tokio::test]
async fn deploying_does_not_wait_for_slow_blocks() {
    let (anvil, deployment) = chain(Some(3600.0)).await;
    let call = Coordinator::modelCall { modelId: deployment.models[0].model_id };
    assert_eq!(anvil.client().read(deployment.coordinator, &call).await.unwrap().liveSeats, 2);
}

#[tokio::test]
async fn a_chain_is_gone_with_its_files_when_it_is_dropped() {
    let anvil = Anvil::start(&AnvilOptions::default()).await.unwrap();
    let (scratch, port) = (anvil.scratch().to_owned(), anvil.port());
    assert!(scratch.exists());
    drop(anvil);
    assert!(!scratch.exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_to_be_and_leaves_nothing() {
    let first = Anvil::start(&AnvilOptions::default()).await.unwrap();
    let error = Anvil::start(&AnvilOptions { port: first.port(), ..Default::default() }).await.unwrap_err();
    assert!(matches!(error, DevError::PortTaken { port, .. } if port == first.port()), "{error}");
}

#[tokio::test]
async fn what_the_coordinator_refuses_is_explained_and_not_sent() {
    let (anvil, deployment) = chain(None).await;
    let account = Account::new(anvil.client().clone(), user());
    let call = Coordinator::joinSeatCall { modelId: deployment.models[0].model_id, expectedIndex: u32::MAX };
    let error = account.call(deployment.coordinator, &call, U256::from(SEAT_BOND)).await.unwrap_err().to_string();
    assert!(error.contains("has no signing key; `oraculum node register` first"), "{error}");
    let nonce = anvil.client().provider().get_transaction_count(account.address()).await.unwrap();
    // The deposit and three allowances.
    assert_eq!(nonce, 4);
}

#[tokio::test]
async fn accounts_without_money_and_addresses_without_contract_are_named() {
    let anvil = Anvil::start(&AnvilOptions::default()).await.unwrap();
    let poor = Account::new(anvil.client().clone(), alloy::signers::local::PrivateKeySigner::random());
    let error = poor.submit(TxKind::Create, Bytes::from_static(&[0]), U256::from(1)).await.unwrap_err().to_string();
    assert!(error.contains("too little ETH") && error.contains("holds 0 ETH"), "{error}");
    let nothing = Address::repeat_byte(7);
    let error = poor.call(nothing, &Coordinator::pausedCall {}, U256::ZERO).await.unwrap_err().to_string();
    assert!(error.starts_with("there is no contract at 0x0707"), "{error}");
    let error = anvil.client().read(nothing, &Coordinator::pausedCall {}).await.unwrap_err().to_string();
    assert!(error.starts_with("there is no contract at 0x0707"), "{error}");
    let wrong = crate::client::Client::connect(anvil.http().clone(), Some(1), &Default::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(wrong.contains("is chain 31337, not chain 1"), "{wrong}");
}
