use alloy::signers::local::PrivateKeySigner;

use super::*;
use crate::{
    client::SeatState,
    config::example,
    dev::{self, Anvil, AnvilOptions, DeployOptions},
    keys::{self, Password},
};

struct Fixture {
    anvil: Anvil,
    folder: tempfile::TempDir,
}

impl Fixture {
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
        keys::store(&folder.path().join("keys/owner.json"), &owner, &password, keys::Cost::Light).unwrap();
        keys::store(&folder.path().join("keys/other.json"), &PrivateKeySigner::random(), &password, keys::Cost::Light)
            .unwrap();
        keys::create(&folder.path().join("keys/signer.json"), &password, keys::Cost::Light).unwrap();
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
            typed: TypedPasswords::default(),
        };
        args.run().await.map_err(|error| error.to_string())
    }

    async fn owned(&self) -> OwnedSeats {
        let settings = Settings::load(&self.folder.path().join(FILE_NAME)).unwrap();
        OwnedSeats::read(self.anvil.client(), &settings).await.unwrap()
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
    let fixture = Fixture::new().await;
    let error = fixture.run(join(true)).await.unwrap_err();
    assert!(error.contains("run `oraculum node register` first"), "{error}");
    fixture.run(NodeCommand::Register { uri: String::new() }).await.unwrap();
    fixture.run(join(true)).await.unwrap();
    let owned = fixture.owned().await;
    assert_eq!(owned.seats.len(), 1);
    let seat = &owned.seats[0];
    assert!(!seat.live && !seat.is_leaving() && seat.bond == U256::from(dev::SEAT_BOND));
    assert_eq!(seat.state(owned.head, seat.signer), SeatState::Activating { from: seat.from });

    fixture.anvil.mine(8).await.unwrap();
    fixture.run(join(false)).await.unwrap();
    let owned = fixture.owned().await;
    assert_eq!(owned.seats.len(), 1, "joining again takes no second seat");
    assert!(owned.seats[0].live);
    fixture.run(NodeCommand::Status).await.unwrap();

    fixture.run(leave()).await.unwrap();
    assert!(fixture.owned().await.seats[0].is_leaving());
    let error = fixture.run(leave()).await.unwrap_err();
    assert!(error.contains("has no seat on iris/v1 that could leave"), "{error}");
    // The exit delay is too long to mine here: that it is too early for the bond is said, and is no failure.
    fixture.run(NodeCommand::Claim { withdraw: true }).await.unwrap();
    assert_eq!(fixture.owned().await.seats.len(), 1);
}

#[tokio::test]
async fn wrong_keys_and_unknown_models_are_named() {
    let fixture = Fixture::new().await;
    let register = || NodeCommand::Register { uri: String::new() };
    let error = fixture.run_with(register(), Some("keys/other.json")).await.unwrap_err();
    assert!(error.contains("but the node's owner is") && error.contains("--keystore"), "{error}");
    let error = fixture.run_with(register(), Some("keys/none.json")).await.unwrap_err();
    assert!(error.starts_with("there is no keystore at"), "{error}");
    fixture.run(register()).await.unwrap();
    let command = NodeCommand::Join { models: vec!["nothing/v1".into()], no_wait: true };
    let error = fixture.run(command).await.unwrap_err();
    assert!(error.contains("no model has the name `nothing/v1`"), "{error}");
    let command = NodeCommand::Join { models: vec![B256::repeat_byte(1).to_string()], no_wait: true };
    let error = fixture.run(command).await.unwrap_err();
    assert!(error.contains("is not registered with this coordinator"), "{error}");
}

#[tokio::test]
async fn a_revocation_reaches_every_seat_of_the_key() {
    let fixture = Fixture::new().await;
    let revoke = || NodeCommand::Revoke { by_key: false };
    let error = fixture.run(revoke()).await.unwrap_err();
    assert!(error.contains("has no signing key, and no seat with a revoked one"), "{error}");
    fixture.run(NodeCommand::Register { uri: String::new() }).await.unwrap();
    let models = vec!["iris/v1".into(), "digits/v1".into()];
    fixture.run(NodeCommand::Join { models, no_wait: true }).await.unwrap();
    fixture.run(NodeCommand::Leave { model: "digits/v1".into() }).await.unwrap();
    fixture.run(revoke()).await.unwrap();
    let owned = fixture.owned().await;
    assert_eq!(owned.seats.len(), 2);
    // The one that leaves as well: requests in flight still count on it.
    assert!(owned.seats.iter().all(|seat| seat.signer.is_zero()), "{:?}", owned.seats);
    let error = fixture.run(revoke()).await.unwrap_err();
    assert!(error.contains("no seat with a revoked one"), "{error}");
    // The key itself has no ETH here, so its own transaction fails before it is sent.
    assert!(fixture.run(NodeCommand::Revoke { by_key: true }).await.is_err());
}

/// The seats that answer, wait for their activation or leave are all rid of the key, and all but the last get the next one.
#[tokio::test]
async fn a_key_is_replaced_on_every_seat_and_keeps_the_nodes_address() {
    let fixture = Fixture::new().await;
    let rekey = || NodeCommand::Rekey { uri: None, no_wait: true };
    fixture.run(NodeCommand::Register { uri: "https://node.example.org".into() }).await.unwrap();
    fixture.run(join(true)).await.unwrap();
    fixture.anvil.mine(8).await.unwrap();
    let models = vec!["iris/v1".into(), "digits/v1".into()];
    fixture.run(NodeCommand::Join { models, no_wait: true }).await.unwrap();
    let first = fixture.owned().await.seats[0].signer;
    fixture.run(NodeCommand::Revoke { by_key: false }).await.unwrap();
    assert!(fixture.owned().await.seats.iter().all(|seat| seat.signer.is_zero()));
    fixture.run(rekey()).await.unwrap();
    let owned = fixture.owned().await;
    let signer = keys::address_of(&fixture.folder.path().join("keys/signer.json")).unwrap().unwrap();
    assert_ne!(signer, first);
    assert_eq!(owned.seats.iter().map(|seat| seat.signer).collect::<Vec<_>>(), [signer, signer]);
    assert_eq!(keys::address_of(&fixture.folder.path().join("keys/signer.old-1.json")).unwrap(), Some(first));
    let settings = Settings::load(&fixture.folder.path().join(FILE_NAME)).unwrap();
    let uri = crate::client::registered_uri(fixture.anvil.client(), &settings).await.unwrap();
    assert_eq!(uri, "https://node.example.org");
}
