//! `oraculum init`: a configuration to start from, and new keys.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use alloy::primitives::Address;
use clap::Args;

use super::{CommandResult, deployment_file::DeploymentFile, print_json, tell};
use crate::{
    chain::Endpoint,
    config,
    keys::{self, Cost, PasswordSource},
    text,
};

/// Write a documented oraculum.toml and new encrypted keys into a folder.
///
/// Nothing that exists is overwritten. The keys share one password of 12 characters or more, which comes from
/// --password-file, from ORACULUM_PASSWORD or from the terminal.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oraculum init my-node --rpc-url wss://rpc.example.org --chain-id 1 \\\n    \
                        --coordinator 0x5FbDB2315678afecb367f032d93F642f64180aa3")]
pub(super) struct InitArgs {
    /// The folder; it is made if it does not exist.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// An endpoint: http, https, ws or wss. May be given several times.
    #[arg(long)]
    rpc_url: Vec<Endpoint>,
    /// A file that tells of the deployment, such as deployments/1.json: in place of --chain-id and --coordinator.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["chain_id", "coordinator"])]
    deployment: Option<PathBuf>,
    /// The chain's id.
    #[arg(long, value_parser = super::chain_id)]
    chain_id: Option<u64>,
    /// The coordinator's address.
    #[arg(long, value_parser = text::address)]
    coordinator: Option<Address>,
    /// The account that will own the node's seats; without it a key for one is made too.
    #[arg(long, value_parser = text::address)]
    owner: Option<Address>,
    /// A file with the password of the new keys.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Print what was made as JSON.
    #[arg(long)]
    json: bool,
}

/// Makes the keystores, then the configuration, and tells where they are.
pub(super) fn run(args: &InitArgs) -> CommandResult {
    make(args, Cost::Standard)
}

fn make(args: &InitArgs, cost: Cost) -> CommandResult {
    let file = args.dir.join(config::FILE_NAME);
    let mut keystores =
        vec![("signer", args.dir.join("keys/signer.json")), ("sender", args.dir.join("keys/sender.json"))];
    if args.owner.is_none() {
        keystores.push(("owner", args.dir.join("keys/owner.json")));
    }
    // Checked before a password is asked for.
    for path in keystores.iter().map(|(_, path)| path).chain([&file]) {
        if path.symlink_metadata().is_ok() {
            return Err(format!("{} exists already and is left as it is; choose another folder", path.display()).into());
        }
    }

    let deployment = args.deployment.as_deref().map(DeploymentFile::read).transpose()?;
    let source = PasswordSource { argument: args.password_file.as_deref(), config: None };
    let password = source.new_password("the new keys")?;
    let mut addresses = serde_json::Map::new();
    let mut owner = args.owner;
    for (name, path) in &keystores {
        let address = keys::create(path, &password, cost)?.address();
        addresses.insert((*name).to_owned(), address.to_string().into());
        if *name == "owner" {
            owner = Some(address);
        }
    }
    write_config(args, deployment.as_ref(), owner, &file)?;

    if args.json {
        let mut report = serde_json::Map::new();
        report.insert("config".into(), file.display().to_string().into());
        addresses.entry("owner").or_insert_with(|| owner.unwrap_or_default().to_string().into());
        report.extend(addresses);
        return print_json(&report);
    }
    tell!("wrote {}", file.display());
    for (name, path) in &keystores {
        tell!("wrote {}: {name} {}", path.display(), addresses[*name].as_str().unwrap_or_default());
    }
    let config = file.display();
    tell!("next: fill in {config}, put models into its folder, send the owner the bond and the sender money for gas,");
    tell!("then `oraculum node register --config {config}`, `oraculum node join MODEL --config {config}` and");
    tell!("`oraculum run --config {config}`");
    Ok(())
}

fn write_config(
    args: &InitArgs,
    deployment: Option<&DeploymentFile>,
    owner: Option<Address>,
    file: &Path,
) -> CommandResult {
    let text = |value: &dyn std::fmt::Display| serde_json::Value::from(value.to_string()).to_string();
    let mut values = Vec::new();
    if !args.rpc_url.is_empty() {
        let urls: serde_json::Value = args.rpc_url.iter().map(|endpoint| endpoint.url().as_str()).collect();
        values.push(("chain.rpc_urls", urls.to_string()));
    }
    let chain_id = args.chain_id.or(deployment.map(|deployment| deployment.chain_id));
    values.extend(chain_id.map(|id| ("chain.chain_id", id.to_string())));
    let coordinator = args.coordinator.or(deployment.map(|deployment| deployment.coordinator));
    values.extend(coordinator.map(|address| ("chain.coordinator", text(&address))));
    values.extend(deployment.map(|deployment| ("chain.deployment_block", deployment.deployment_block.to_string())));
    values.extend(owner.map(|address| ("node.owner", text(&address))));

    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    // The endpoint may carry a secret.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(file)
        .and_then(|mut opened| opened.write_all(config::example(&values).as_bytes()))
        .map_err(|error| format!("cannot write {}: {error}", file.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn args(folder: &Path, password: &str) -> InitArgs {
        let password_file = folder.join("password");
        std::fs::write(&password_file, password).unwrap();
        InitArgs {
            dir: folder.join("node"),
            rpc_url: ["wss://rpc.example.org/key", "http://b"].map(|url| url.parse().unwrap()).to_vec(),
            deployment: None,
            chain_id: Some(1),
            coordinator: Some(Address::repeat_byte(1)),
            owner: None,
            password_file: Some(password_file),
            json: true,
        }
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let args = args(folder.path(), "correct horse\n");
        make(&args, Cost::Light).unwrap();
        let file = args.dir.join(config::FILE_NAME);
        let settings = Settings::parse(&std::fs::read_to_string(&file).unwrap(), &file, []).unwrap();
        assert_eq!(settings.chain.rpc_urls, args.rpc_url);
        assert_eq!((settings.chain.chain_id, settings.chain.coordinator), (1, Address::repeat_byte(1)));
        keys::Keys::load(&settings.keys, args.password_file.as_deref(), &keys::TypedPasswords::default()).unwrap();
        let owner = keys::decrypt(&args.dir.join("keys/owner.json"), &password(&args)).unwrap();
        assert_eq!(settings.node.owner, owner.address());
    }

    #[test]
    fn a_deployments_file_stands_for_chain_and_coordinator() {
        let folder = tempfile::tempdir().unwrap();
        let (deployment, coordinator) = (folder.path().join("7.json"), crate::dev::COORDINATOR);
        let json = format!(r#"{{"chainId":7,"coordinator":"{coordinator}","deploymentBlock":3}}"#);
        std::fs::write(&deployment, json).unwrap();
        let args = InitArgs {
            deployment: Some(deployment),
            chain_id: None,
            coordinator: None,
            ..args(folder.path(), "correct horse")
        };
        make(&args, Cost::Light).unwrap();
        let chain = Settings::load(&args.dir.join(config::FILE_NAME)).unwrap().chain;
        assert_eq!((chain.chain_id, chain.coordinator, chain.deployment_block), (7, coordinator, 3));
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let args = args(folder.path(), "correct horse");
        std::fs::create_dir_all(args.dir.join("keys")).unwrap();
        std::fs::write(args.dir.join("keys/sender.json"), "mine").unwrap();
        let error = make(&args, Cost::Light).unwrap_err().to_string();
        assert!(error.contains("sender.json exists already"), "{error}");
        assert!(!args.dir.join(config::FILE_NAME).exists() && !args.dir.join("keys/signer.json").exists());
    }

    #[test]
    fn an_empty_password_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let args = args(folder.path(), "\n");
        assert!(make(&args, Cost::Light).unwrap_err().to_string().contains("is empty"));
        assert!(!args.dir.exists());
    }

    fn password(args: &InitArgs) -> keys::Password {
        keys::Password::from_file(args.password_file.as_deref().unwrap()).unwrap()
    }
}
