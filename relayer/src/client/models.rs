//! Makes a model known to a coordinator. Anybody may; it costs gas and no more.

use alloy::primitives::{Address, B256, U256};

use super::{Account, AccountError};
use crate::{
    coordinator::{self, abi::InferenceCoordinator as Coordinator},
    model::Model,
};

/// What becomes of the model's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// It is left alone.
    Leave,
    /// It is claimed, if it points nowhere.
    Claim,
    /// It is claimed, or moved if it is this account's and points to another model.
    Repoint,
}

/// What was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRegistration {
    /// Whether the model is new to the coordinator.
    pub registered: bool,
    /// Whether the name was claimed or moved.
    pub named: bool,
    /// The transactions, in order; none if nothing was to be done.
    pub transactions: Vec<B256>,
}

/// Why a model was not registered.
// Not transparent over `AccountError`, so that it stays visible to whoever walks the sources.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum RegisterError {
    #[error("{0}")]
    Account(#[from] AccountError),
    #[error("the name `{name}` belongs to {owner}; register with --no-name")]
    NameTaken { name: String, owner: Address },
    #[error("the name `{name}` points to {other}; --repoint moves it to {model}")]
    NamePointsElsewhere { name: String, other: B256, model: B256 },
}

/// Registers a model, and claims its name. `hint` is where others can fetch the model; it is public.
///
/// # Errors
/// `NameTaken` or `NamePointsElsewhere`, before anything is sent; `Account`.
pub async fn register_model(
    account: &Account,
    coordinator: Address,
    model: &Model,
    hint: String,
    naming: Naming,
) -> Result<ModelRegistration, RegisterError> {
    let client = account.client();
    let known = client.read(coordinator, &Coordinator::modelCall { modelId: model.id }).await?.registered;
    let claimed = client.read(coordinator, &Coordinator::resolveCall { name: model.name.clone() }).await?;
    let claims = naming != Naming::Leave && claimed.modelId != model.id;
    if claims && !claimed.owner.is_zero() {
        let name = model.name.clone();
        if claimed.owner != account.address() {
            return Err(RegisterError::NameTaken { name, owner: claimed.owner });
        }
        if naming != Naming::Repoint {
            return Err(RegisterError::NamePointsElsewhere { name, other: claimed.modelId, model: model.id });
        }
    }
    let mut transactions = Vec::new();
    if !known {
        let call = Coordinator::registerModelCall { card: coordinator::card(&model.card), hint };
        transactions.push(account.call(coordinator, &call, U256::ZERO).await?.transaction_hash);
    }
    if claims {
        let call = Coordinator::claimNameCall { name: model.name.clone(), modelId: model.id };
        transactions.push(account.call(coordinator, &call, U256::ZERO).await?.transaction_hash);
    }
    Ok(ModelRegistration { registered: !known, named: claims, transactions })
}
