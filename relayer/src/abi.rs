//! The coordinator's ABI, generated from the committed artifact.

#![allow(missing_docs, clippy::all, unreachable_pub)]

alloy::sol!(
    #[sol(all_derives)]
    #[allow(missing_docs)]
    InferenceCoordinator,
    "../contracts/artifacts/InferenceCoordinator.json"
);

pub use InferenceCoordinator::{
    Agreement, Ask, Attestation, Fulfilment, ModelCard, Parameters, Request, Result, SeatRef,
};
