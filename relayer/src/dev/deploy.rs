//! Deploys everything to a local chain, and makes nodes that can answer at once.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::{
    primitives::{Address, B256, Bytes, TxKind, U256, aliases::U96},
    providers::Provider,
    rpc::types::TransactionReceipt,
    signers::SignerSync,
    sol_types::{SolCall, SolConstructor},
};
use serde::{Deserialize, Serialize};

use super::{
    Anvil, DevError, NodeKeys,
    consumers::{DigitMint, IrisClassifier, LendingDesk},
    deployer, user,
};
use crate::{
    client::Account, config::Settings, coordinator::abi::InferenceCoordinator as Coordinator,
    protocol::statement::Domain,
};

/// The bond of a seat: 0.01 ETH.
pub const SEAT_BOND: u128 = 10_000_000 * GWEI;
/// Wei in a gwei.
const GWEI: u128 = 1_000_000_000;
/// Wei in an ether.
const ETHER: u128 = 1_000_000_000 * GWEI;
/// Wei per unit of the currency of the lending desk's model: 5,000 of them are 0.5 ETH.
const LENDING_UNIT: U96 = U96::from_limbs([100_000_000_000_000, 0]);

/// What to deploy.
#[derive(Clone, Debug)]
pub struct DeployOptions {
    /// The folder of models, one folder with a card.json each.
    pub models_dir: PathBuf,
    /// Number of nodes; each gets a live seat on every model.
    pub nodes: usize,
    /// The coordinator's parameters.
    pub parameters: Coordinator::Parameters,
}

/// Parameters as short as the contracts allow, but for a window of 4 blocks: with one block a slow machine would often
/// find its turn over.
pub fn parameters() -> Coordinator::Parameters {
    Coordinator::Parameters {
        window: 4,
        activationDelay: 8,
        vesting: 32,
        exitDelay: 8_032,
        parameterDelay: 7_200,
        maxCallbackGas: 2_000_000,
        maxQuorum: 1,
        seatBondGwei: (SEAT_BOND / GWEI) as u64,
    }
}

/// What was deployed, and where. As JSON it holds addresses and no key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// The chain's HTTP endpoint.
    pub rpc_url: String,
    /// The chain's WebSocket endpoint.
    pub ws_url: String,
    /// The chain's id.
    pub chain_id: u64,
    /// The address of the coordinator.
    pub coordinator: Address,
    /// The block in which it was deployed.
    pub deployment_block: u64,
    /// The account that owns the deployment.
    pub deployer: Address,
    /// An account with money on the chain and in the coordinator, to ask with.
    pub user: Address,
    /// The models, by name.
    pub models: Vec<DeployedModel>,
    /// The example consumers; each may spend from the user's balance.
    pub consumers: Consumers,
    /// The nodes. Each has a live seat on every model.
    pub nodes: Vec<NodeAddresses>,
    /// The folder of models.
    pub models_dir: PathBuf,
}

/// A registered model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeployedModel {
    /// The name that it is registered by.
    pub name: String,
    /// The hash of its card.
    pub model_id: B256,
}

/// The example consumers, of those whose model is deployed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumers {
    /// The contract that classifies irises.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iris_classifier: Option<Address>,
    /// The contract that prices loans with a credit model. The user is a member, and it has money to lend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lending_desk: Option<Address>,
    /// The contract that mints drawings of digits which the model recognizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digit_mint: Option<Address>,
}

impl Consumers {
    /// All that are deployed, by the contract's name.
    pub fn named(&self) -> Vec<(&'static str, Address)> {
        let all = [
            ("IrisClassifier", self.iris_classifier),
            ("LendingDesk", self.lending_desk),
            ("DigitMint", self.digit_mint),
        ];
        all.into_iter().filter_map(|(name, address)| Some((name, address?))).collect()
    }
}

/// A node's accounts.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct NodeAddresses {
    /// The account that owns the seats.
    pub owner: Address,
    /// The key that signs answers.
    pub signer: Address,
    /// The account that pays for gas.
    pub sender: Address,
}

impl Deployment {
    /// The id of a model by its name.
    pub fn model(&self, name: &str) -> Option<B256> {
        self.models.iter().find(|model| model.name == name).map(|model| model.model_id)
    }

    /// The settings of the node with a number; its journal is in `data_dir`.
    ///
    /// # Errors
    /// `Configuration` if the deployment has an address that no node can be configured with.
    pub fn settings(&self, anvil: &Anvil, node: usize, data_dir: &Path) -> Result<Settings, DevError> {
        let owner = NodeKeys::new(node).owner.address();
        let mut settings = Settings::new(data_dir, anvil.ws(), self.chain_id, self.coordinator, owner)?;
        settings.chain.deployment_block = self.deployment_block;
        settings.chain.poll_interval = Duration::from_millis(200);
        settings.node.models_dir = self.models_dir.clone();
        settings.node.data_dir = data_dir.to_owned();
        // Gas costs nothing here.
        settings.policy.margin_percent = -100;
        Ok(settings)
    }
}

/// Deploys everything. The nodes' seats are live when this returns.
///
/// # Errors
/// `NoModels` or `Model` for the folder of models; `Deploy` with the step that failed; `Account` or `Signing`.
pub async fn deploy(anvil: &Anvil, options: &DeployOptions) -> Result<Deployment, DevError> {
    let models = super::models::read(&options.models_dir)?;
    let deployer = Sender { anvil, account: Account::new(anvil.client().clone(), deployer()) };
    let user = Sender { anvil, account: Account::new(anvil.client().clone(), user()) };

    let first =
        Coordinator::constructorCall { firstOwner: deployer.account.address(), first: options.parameters.clone() };
    let receipt = deployer.create("the coordinator", &Coordinator::BYTECODE, &first, 0).await?;
    let coordinator = created(&receipt);
    let mut deployment = Deployment {
        rpc_url: anvil.http().to_string(),
        ws_url: anvil.ws().to_string(),
        chain_id: anvil.client().chain_id(),
        coordinator,
        deployment_block: receipt.block_number.unwrap_or_default(),
        deployer: deployer.account.address(),
        user: user.account.address(),
        models: Vec::new(),
        consumers: Consumers::default(),
        nodes: Vec::new(),
        models_dir: options.models_dir.clone(),
    };

    deployment.models =
        models.iter().map(|model| DeployedModel { name: model.name.clone(), model_id: model.id }).collect();
    // Before all else that this account does: their addresses depend on nothing but its nonce.
    deployment.consumers = deploy_consumers(&deployer, &deployment).await?;
    for model in &models {
        let card = Coordinator::registerModelCall { card: crate::coordinator::card(&model.card), hint: String::new() };
        let what = || format!("the model {}", model.name);
        deployer.call(&what(), coordinator, &card, 0).await?;
        let name = Coordinator::claimNameCall { name: model.name.clone(), modelId: model.id };
        deployer.call(&what(), coordinator, &name, 0).await?;
    }
    let mut seats = Vec::new();
    for node in 0..options.nodes {
        let keys = NodeKeys::new(node);
        seats.extend(join(anvil, &deployment, node, &keys).await?);
        let NodeKeys { owner, signer, sender } = keys;
        deployment.nodes.push(NodeAddresses {
            owner: owner.address(),
            signer: signer.address(),
            sender: sender.address(),
        });
    }
    anvil.mine(u64::from(options.parameters.activationDelay)).await?;
    for (model, index) in seats {
        let activate = Coordinator::activateSeatCall { modelId: model, index };
        deployer.call(&format!("seat {index} of {model}"), coordinator, &activate, 0).await?;
    }

    if let Some(desk) = deployment.consumers.lending_desk {
        let member = LendingDesk::setMemberCall { account: deployment.user, member: true };
        deployer.call("the LendingDesk's member", desk, &member, 0).await?;
    }
    let deposit = Coordinator::depositCall { account: user.account.address() };
    user.call("the user's deposit", coordinator, &deposit, 10 * ETHER).await?;
    for (_, consumer) in deployment.consumers.named() {
        let cap = U96::from(ETHER / 100);
        user.call("the user's allowance", coordinator, &Coordinator::allowCall { consumer, cap }, 0).await?;
    }
    Ok(deployment)
}

/// Deploys the example consumers whose model is there, each with a nonce of its own whether the others are there or not.
async fn deploy_consumers(deployer: &Sender<'_>, deployment: &Deployment) -> Result<Consumers, DevError> {
    let coordinator_ = deployment.coordinator;
    let iris = deployment.model("iris/v1").map(|model| {
        let constructor = IrisClassifier::constructorCall { coordinator_, modelId_: model };
        (&*IrisClassifier::BYTECODE, constructor.abi_encode(), 0)
    });
    let desk = deployment.model("credit/v1").map(|model| {
        let constructor = LendingDesk::constructorCall { coordinator_, creditModel_: model, unit_: LENDING_UNIT };
        (&*LendingDesk::BYTECODE, constructor.abi_encode(), 100 * ETHER)
    });
    let mint = deployment.model("digits/v1").map(|model| {
        let constructor = DigitMint::constructorCall { coordinator_, digitsModel_: model };
        (&*DigitMint::BYTECODE, constructor.abi_encode(), 0)
    });
    let mut made = Vec::new();
    for (what, contract) in [("IrisClassifier", iris), ("LendingDesk", desk), ("DigitMint", mint)] {
        made.push(match contract {
            Some((bytecode, arguments, value)) => {
                let input = [bytecode, &arguments[..]].concat();
                let receipt = deployer.send(what, TxKind::Create, input.into(), value).await?;
                Some(created(&receipt))
            }
            None => {
                // A contract without code takes the nonce.
                deployer.send(what, TxKind::Create, Bytes::from_static(&[0]), 0).await?;
                None
            }
        });
    }
    Ok(Consumers { iris_classifier: made[0], lending_desk: made[1], digit_mint: made[2] })
}

/// Makes a node, and takes a seat on every model; the seats are not live yet.
async fn join(
    anvil: &Anvil,
    deployment: &Deployment,
    node: usize,
    keys: &NodeKeys,
) -> Result<Vec<(B256, u32)>, DevError> {
    for account in [&keys.owner, &keys.sender] {
        let balance = (account.address(), U256::from(1000 * ETHER));
        let funding = anvil.client().provider().raw_request::<_, serde_json::Value>("anvil_setBalance".into(), balance);
        anvil.client().ask(funding).await?;
    }
    let what = format!("node {node}");
    let owner = Sender { anvil, account: Account::new(anvil.client().clone(), keys.owner.clone()) };
    let domain = Domain { chain_id: deployment.chain_id, coordinator: deployment.coordinator };
    let proof = keys.signer.sign_hash_sync(&domain.signer_digest(keys.owner.address()))?;
    let register = Coordinator::registerNodeCall {
        signer: keys.signer.address(),
        signature: proof.as_bytes().into(),
        uri: String::new(),
    };
    owner.call(&what, deployment.coordinator, &register, 0).await?;
    let mut seats = Vec::new();
    for model in &deployment.models {
        let seat = Coordinator::joinSeatCall { modelId: model.model_id, expectedIndex: u32::MAX };
        let receipt = owner.call(&what, deployment.coordinator, &seat, SEAT_BOND).await?;
        let joined = receipt.logs().iter().find_map(|log| log.log_decode::<Coordinator::SeatJoined>().ok());
        seats.extend(joined.map(|log| (model.model_id, log.inner.index)));
    }
    Ok(seats)
}

/// An account on a chain whose blocks it need not wait for.
pub(super) struct Sender<'a> {
    pub(super) anvil: &'a Anvil,
    pub(super) account: Account,
}

impl Sender<'_> {
    async fn send(&self, what: &str, to: TxKind, input: Bytes, value: u128) -> Result<TransactionReceipt, DevError> {
        let failed = |error| DevError::Deploy { what: what.to_owned(), error };
        let hash = self.account.submit(to, input, U256::from(value)).await.map_err(failed)?;
        if self.anvil.has_block_time() {
            self.anvil.mine(1).await?;
        }
        self.account.client().receipt(hash).await.map_err(failed)
    }

    pub(super) async fn call<C: SolCall>(
        &self,
        what: &str,
        to: Address,
        call: &C,
        value: u128,
    ) -> Result<TransactionReceipt, DevError> {
        self.send(what, to.into(), call.abi_encode().into(), value).await
    }

    async fn create<C: SolConstructor>(
        &self,
        what: &str,
        bytecode: &Bytes,
        constructor: &C,
        value: u128,
    ) -> Result<TransactionReceipt, DevError> {
        let input = [bytecode.as_ref(), &constructor.abi_encode()].concat();
        self.send(what, TxKind::Create, input.into(), value).await
    }
}

/// Where a contract was made. A creation that succeeded always says so.
fn created(receipt: &TransactionReceipt) -> Address {
    receipt.contract_address.unwrap_or_default()
}

#[cfg(test)]
mod tests;
