//! The consumer, generated from its committed artifact.

#![allow(missing_docs, clippy::all, unreachable_pub, reason = "generated code")]

alloy::sol!(
    #[allow(missing_docs, reason = "generated code")]
    BenchConsumer,
    "../../contracts/artifacts/BenchConsumer.json"
);
