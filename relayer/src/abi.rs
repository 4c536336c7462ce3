//! The ABI of the coordinator and of the probe, generated from the committed artifacts.

#![allow(missing_docs, clippy::all, unreachable_pub)]

alloy::sol!(
    #[sol(all_derives)]
    #[allow(missing_docs)]
    InferenceCoordinator,
    "../contracts/artifacts/InferenceCoordinator.json"
);

alloy::sol!(
    #[sol(all_derives)]
    #[allow(missing_docs)]
    Probe,
    "../contracts/artifacts/Probe.json"
);

pub use InferenceCoordinator::{
    Agreement, Ask, Attestation, Fulfilment, ModelCard, Parameters, Request, Result, SeatRef,
};
