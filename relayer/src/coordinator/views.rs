//! Views of the coordinator.

use alloy::{
    primitives::{Address, B256, U256},
    sol_types::SolCall,
};

use super::abi::{self, InferenceCoordinator as Coordinator};
use crate::{
    chain::{At, Call, Chain, ChainError},
    protocol::sortition::Seat,
};

/// Failure to read the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The endpoint failed, or the view reverted.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The contract at the address is no coordinator.
    #[error("the contract at {0} does not answer as an Oraculum coordinator: check `chain.coordinator`")]
    NotACoordinator(Address),
}

/// Reader of one coordinator's views, at the latest block.
#[derive(Debug)]
pub struct Views<'a, C> {
    chain: &'a C,
    coordinator: Address,
}

impl<'a, C: Chain> Views<'a, C> {
    /// Makes a reader of the coordinator at an address.
    pub fn new(chain: &'a C, coordinator: Address) -> Self {
        Self { chain, coordinator }
    }

    /// Reads any view.
    ///
    /// # Errors
    /// `NotACoordinator` where the answer cannot be decoded; `Chain` with what the endpoint failed with.
    pub async fn read<Q: SolCall + Send + Sync>(&self, query: Q) -> Result<Q::Return, ReadError> {
        let call =
            Call { from: None, to: Some(self.coordinator), data: query.abi_encode().into(), gas: None, block: None };
        let answer = self.chain.call(&call, At::Latest).await?;
        Q::abi_decode_returns(&answer).map_err(|_| ReadError::NotACoordinator(self.coordinator))
    }

    /// Reads the present seats of a model; `None` if the model is not registered.
    ///
    /// # Errors
    /// As `read`.
    pub async fn seats(&self, model: B256) -> Result<Option<Vec<Seat>>, ReadError> {
        use futures::{StreamExt, TryStreamExt};
        let known = self.read(Coordinator::modelCall { modelId: model }).await?;
        if !known.registered {
            return Ok(None);
        }
        let reads: Vec<_> =
            (0..known.seatCount).map(|index| self.read(Coordinator::seatCall { modelId: model, index })).collect();
        let seats: Vec<_> = futures::stream::iter(reads).buffered(16).try_collect().await?;
        let seat =
            |seat: &Coordinator::seatReturn| Seat { signer: seat.signer, from: seat.from.to(), until: seat.until.to() };
        Ok(Some(seats.iter().map(seat).collect()))
    }

    /// Reads the parameters of a version.
    ///
    /// # Errors
    /// As `read`.
    pub async fn parameters(&self, version: u16) -> Result<abi::Parameters, ReadError> {
        self.read(Coordinator::parametersCall { version }).await
    }

    /// Reads a request's status word.
    ///
    /// # Errors
    /// As `read`.
    pub async fn status(&self, id: B256) -> Result<U256, ReadError> {
        self.read(Coordinator::statusOfCall { requestId: id }).await
    }
}
