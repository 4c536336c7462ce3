//! The contracts as the tests call them, generated from the committed artifacts.

#![allow(missing_docs, clippy::all, unreachable_pub)] // generated code

pub use bench::BenchConsumer;
pub use coordinator::InferenceCoordinator;
pub use floor::RequestFloor;
pub use tensor::TensorHarness;

// A module each: contracts that share a type would define it twice.
mod coordinator {
    alloy::sol!(
        #[sol(rpc, all_derives)]
        InferenceCoordinator,
        "../contracts/artifacts/InferenceCoordinator.json"
    );
}
mod bench {
    alloy::sol!(
        #[sol(rpc)]
        BenchConsumer,
        "../contracts/artifacts/BenchConsumer.json"
    );
}
mod floor {
    alloy::sol!(
        #[sol(rpc)]
        RequestFloor,
        "../contracts/artifacts/RequestFloor.json"
    );
}
mod tensor {
    alloy::sol!(
        #[sol(rpc)]
        TensorHarness,
        "../contracts/artifacts/TensorHarness.json"
    );
}
