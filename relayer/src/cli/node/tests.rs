use alloy::signers::local::PrivateKeySigner;

use super::*;
use crate::{
    config::example,
    dev::{self, Anvil, AnvilOptions, DeployOptions},
    keys::Password,
};

struct Bench {
    anvil: Anvil,
    folder: tempfile::TempDir,
}

impl Bench {
    /// A deployment without nodes, and the configuration and keys of one.
    async fn new() -> Self {
        let anvil = Anvil::start(&AnvilOptions::default()).await.unwrap();
        let models_dir = dev::find_upward(Path::new("onnx-models")).unwrap();
        let options = DeployOptions { models_dir, nodes: 0, parameters: dev::parameters() };
        let deployment = dev::deploy(&anvil, &options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "x").unwrap();
        let password = Password::from_file(&folder.path().join("password")).unwrap();
        let owner = dev::deployer();
        keys::store(&folder.path().join("keys/owner.json"), &owner, &password).unwrap();
        keys::store(&folder.path().join("keys/other.json"), &PrivateKeySigner::random(), &password).unwrap();
        keys::create(&folder.path().join("keys/signer.json"), &password).unwrap();
        let text = |value: &dyn std::fmt::Display| format!("\"{value}\"");
        let config = example(&[
            ("chain.rpc_urls", format!("[\"{}\"]", anvil.http())),
            ("chain.coordinator", text(&deployment.coordinator)),
            ("node.owner", text(&owner.address())),
        ]);
        std::fs::write(folder.path().join(FILE_NAME), config).unwrap();
        Self { anvil, folder }
    }

    async fn run(&self, command: NodeCommand) -> Result<(), String> {
        self.run_with(command, None).await
    }

    async fn run_with(&self, command: NodeCommand, keystore: Option<&str>) -> Result<(), String> {
        let args = NodeArgs {
            command,
            config: self.folder.path().join(FILE_NAME),
            keystore: keystore.map(|name| self.folder.path().join(name)),
            password_file: Some(self.folder.path().join("password")),
            json: false,
        };
        args.run().await.map_err(|error| error.to_string())
    }

    async fn survey(&self) -> Survey {
        let settings = Settings::load(&self.folder.path().join(FILE_NAME)).unwrap();
        Survey::new(self.anvil.client(), &settings).await.unwrap()
    }
}

fn join(no_wait: bool) -> NodeCommand {
    NodeCommand::Join { models: vec!["iris/v1".into()], no_wait }
}

fn leave() -> NodeCommand {
    NodeCommand::Leave { model: "iris/v1".into() }
}

#[tokio::test]
async fn a_node_registers_joins_once_and_leaves() {
    let bench = Bench::new().await;
    let error = bench.run(join(true)).await.unwrap_err();
    assert!(error.contains("`oraculum node register` first"), "{error}");
    bench.run(NodeCommand::Register { uri: String::new() }).await.unwrap();
    bench.run(join(true)).await.unwrap();
    let survey = bench.survey().await;
    assert_eq!(survey.seats.len(), 1);
    let seat = &survey.seats[0];
    assert!(!seat.live && !seat.is_leaving() && seat.bond == U256::from(dev::SEAT_BOND));
    assert!(seat.state(survey.head, seat.signer).starts_with("waits for block"));

    bench.anvil.mine(8).await.unwrap();
    bench.run(join(false)).await.unwrap();
    let survey = bench.survey().await;
    assert_eq!(survey.seats.len(), 1, "joining again takes no second seat");
    assert!(survey.seats[0].live);
    bench.run(NodeCommand::Status).await.unwrap();

    bench.run(leave()).await.unwrap();
    assert!(bench.survey().await.seats[0].is_leaving());
    let error = bench.run(leave()).await.unwrap_err();
    assert!(error.contains("has no seat on iris/v1 that could leave"), "{error}");
    // The exit delay is too long to mine here: that it is too early for the bond is said, and is no failure.
    bench.run(NodeCommand::Claim { withdraw: true }).await.unwrap();
    assert_eq!(bench.survey().await.seats.len(), 1);
}

#[tokio::test]
async fn wrong_keys_and_unknown_models_are_named() {
    let bench = Bench::new().await;
    let register = || NodeCommand::Register { uri: String::new() };
    let error = bench.run_with(register(), Some("keys/other.json")).await.unwrap_err();
    assert!(error.contains("but the node's owner is") && error.contains("--keystore"), "{error}");
    let error = bench.run_with(register(), Some("keys/none.json")).await.unwrap_err();
    assert!(error.starts_with("there is no keystore at"), "{error}");
    bench.run(register()).await.unwrap();
    let command = NodeCommand::Join { models: vec!["nothing/v1".into()], no_wait: true };
    let error = bench.run(command).await.unwrap_err();
    assert!(error.contains("no model has the name `nothing/v1`"), "{error}");
    let command = NodeCommand::Join { models: vec![B256::repeat_byte(1).to_string()], no_wait: true };
    let error = bench.run(command).await.unwrap_err();
    assert!(error.contains("is not registered with this coordinator"), "{error}");
}
