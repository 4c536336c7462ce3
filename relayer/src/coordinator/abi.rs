//! The ABI of the coordinator, of the probe and of consumers, generated from the committed artifacts.

#![allow(missing_docs, clippy::all, unreachable_pub, reason = "generated code")]

alloy::sol!(
    #[sol(all_derives)]
    #[allow(missing_docs, reason = "generated code")]
    InferenceCoordinator,
    "../contracts/artifacts/InferenceCoordinator.json"
);

alloy::sol!(
    #[sol(all_derives)]
    #[allow(missing_docs, reason = "generated code")]
    Probe,
    "../contracts/artifacts/Probe.json"
);

alloy::sol!(
    #[sol(all_derives)]
    #[allow(missing_docs, reason = "generated code")]
    InferenceConsumer,
    "../contracts/artifacts/InferenceConsumer.json"
);

alloy::sol!(
    #[sol(all_derives)]
    #[allow(missing_docs, reason = "generated code")]
    TensorError,
    "../contracts/artifacts/TensorError.json"
);

pub use InferenceCoordinator::{
    Agreement, Ask, Attestation, Fulfillment, ModelCard, Parameters, Request, Result, SeatRef,
};
