//! Models that come to a running local chain.

use std::collections::HashMap;

use alloy::primitives::B256;
use tokio::sync::watch;

use super::{Anvil, Deployment, DevError, NodeKeys, SEAT_BOND, deploy::Sender, deployer, parameters};
use crate::{
    client::Account,
    coordinator::{self, abi::InferenceCoordinator as Coordinator},
    model::{Model, ModelStore},
};

/// Registers each model that the node comes to serve, points its name to it, and gives the node a live seat on it, for as
/// long as it is polled. `tell` gets a line for each.
pub async fn follow(
    anvil: &Anvil,
    deployment: &Deployment,
    mut served: watch::Receiver<Vec<(String, B256)>>,
    tell: impl Fn(String),
) {
    let mut names: HashMap<String, B256> =
        deployment.models.iter().map(|model| (model.name.clone(), model.model_id)).collect();
    let store = ModelStore::new(&deployment.models_dir);
    while served.changed().await.is_ok() {
        let mut newest: HashMap<String, B256> = HashMap::new();
        for (name, id) in served.borrow_and_update().iter() {
            newest.entry(name.clone()).or_insert(*id);
        }
        for (name, id) in newest {
            if names.get(&name) == Some(&id) {
                continue;
            }
            let added = async {
                let model = store.open(&id.to_string())?;
                serve(anvil, deployment, &model).await
            };
            match added.await {
                Ok(()) => match names.insert(name.clone(), id) {
                    Some(before) => {
                        tell(format!("{name} {id} is served; {before} had the name, and is served by its id"))
                    }
                    None => tell(format!("{name} {id} is served")),
                },
                Err(error) => tell(format!("{name} {id} is not served: {error}")),
            }
        }
    }
}

/// Points a model's name to it. One that is new to the chain is registered, and gets a live seat of the first node.
async fn serve(anvil: &Anvil, deployment: &Deployment, model: &Model) -> Result<(), DevError> {
    let sender = |key| Sender { anvil, account: Account::new(anvil.client().clone(), key) };
    let (deployer, owner) = (sender(deployer()), sender(NodeKeys::new(0).owner));
    let (coordinator, model_id) = (deployment.coordinator, model.id);
    let what = format!("the model {}", model.name);
    let entry = anvil.client().read(coordinator, &Coordinator::modelCall { modelId: model_id }).await?;
    if !entry.registered {
        let card = Coordinator::registerModelCall { card: coordinator::card(&model.card), hint: String::new() };
        deployer.call(&what, coordinator, &card, 0).await?;
        let seat = Coordinator::joinSeatCall { modelId: model_id, expectedIndex: u32::MAX };
        let receipt = owner.call(&what, coordinator, &seat, SEAT_BOND).await?;
        let joined = receipt.logs().iter().find_map(|log| log.log_decode::<Coordinator::SeatJoined>().ok());
        let index = joined.map(|log| log.inner.index).unwrap_or_default();
        anvil.mine(u64::from(parameters().activationDelay)).await?;
        deployer.call(&what, coordinator, &Coordinator::activateSeatCall { modelId: model_id, index }, 0).await?;
    }
    // Last: whoever finds the model by its name is answered.
    let name = Coordinator::claimNameCall { name: model.name.clone(), modelId: model_id };
    deployer.call(&what, coordinator, &name, 0).await?;
    Ok(())
}
