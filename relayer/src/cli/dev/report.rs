//! What `oraculum dev` prints once it is ready.

use std::{path::Path, time::Duration};

use alloy::primitives::{U256, utils::format_ether};
use serde::Serialize;

use crate::{
    cli::{CommandResult, as_text, print, print_json},
    dev::{DevAccount, running::RunningDev},
};

/// All that a user has to know; what `--json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report<'a> {
    #[serde(flatten)]
    pub(super) running: &'a RunningDev,
    /// The accounts with money, with keys that everybody knows.
    pub(super) accounts: &'a [DevAccount],
    /// The user's balance in the coordinator, from which the consumers may take their fees.
    #[serde(serialize_with = "as_text")]
    pub(super) prepaid_wei: U256,
    /// The file in which chain and node are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<&'a Path>,
}

impl Report<'_> {
    /// Prints it, for people or as JSON.
    pub(super) fn print(&self, json: bool, took: Duration) -> CommandResult {
        if json {
            return print_json(self);
        }
        print(&self.lines(took).join("\n"))
    }

    fn lines(&self, took: Duration) -> Vec<String> {
        let deployment = &self.running.deployment;
        let end = match self.state {
            Some(file) => format!("ends it and keeps it in {}", file.display()),
            None => "ends everything".to_owned(),
        };
        let mut lines = vec![
            format!("ready in {:.1} s; Ctrl-C {end}", took.as_secs_f64()),
            String::new(),
            "Accounts and private keys. Everybody knows these keys: on a public chain, whatever they hold is stolen at once."
                .to_owned(),
        ];
        for (index, DevAccount { address, private_key }) in self.accounts.iter().enumerate() {
            let role = match address {
                address if *address == deployment.deployer => "  owns the contracts",
                address if *address == deployment.user => "  you",
                _ => "",
            };
            lines.push(format!("  ({index}) {address}  {private_key}{role}"));
        }
        lines.push(String::new());
        let mut line = |name: &str, value: &str| lines.push(format!("  {name:<16} {value}"));
        line("endpoint", &format!("{} (chain {})", deployment.rpc_url, deployment.chain_id));
        line("coordinator", &deployment.coordinator.to_string());
        for (name, address) in deployment.consumers.named() {
            line(name, &address.to_string());
        }
        for model in &deployment.models {
            line(&model.name, &model.model_id.to_string());
        }
        for node in &deployment.nodes {
            line("node's owner", &node.owner.to_string());
        }
        line("node's status", &format!("{0}/ready, {0}/metrics", self.running.status_url));
        let ether = format_ether(self.prepaid_wei);
        let ether = ether.trim_end_matches('0').trim_end_matches('.');
        line(
            "you prepaid",
            &format!("{ether} ETH in the coordinator; each of the contracts above may take 0.01 ETH of it per request"),
        );
        lines.push(String::new());
        lines.extend(self.example());
        lines
    }

    /// What to paste next.
    fn example(&self) -> Vec<String> {
        let deployment = &self.running.deployment;
        let (user, url) = (deployment.user, &deployment.rpc_url);
        let mut lines = Vec::new();
        if deployment.model("iris/v1").is_some() {
            lines.push("Ask from the command line, and see what became of it:".to_owned());
            lines.push("  oraculum request --model iris/v1 --input '[[5.1,3.5,1.4,0.2]]'".to_owned());
            lines.push("  oraculum jobs list".to_owned());
        }
        if let Some(consumer) = deployment.consumers.iris_classifier {
            lines
                .push("Ask from a contract, and read what it stored (1 setosa, 2 versicolor, 3 virginica):".to_owned());
            lines.push(format!(
                "  cast send {consumer} 'classify(int32[4])' '[51,35,14,2]' --value 0.0001ether --from {user} --unlocked --rpc-url {url}"
            ));
            lines.push(format!("  cast call {consumer} 'latest()(uint8,uint48)' --rpc-url {url}"));
        }
        lines
    }
}
