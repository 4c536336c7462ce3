//! The example consumers, from their committed artifacts. A module each: contracts that share a type define it twice.

#![allow(missing_docs, clippy::all, unreachable_pub)]

pub use iris::IrisClassifier;

mod iris {
    alloy::sol!(IrisClassifier, "../contracts/artifacts/IrisClassifier.json");
}
