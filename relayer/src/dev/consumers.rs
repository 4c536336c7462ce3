//! The example consumers, from their committed artifacts. A module each: contracts that share a type define it twice.

#![allow(missing_docs, clippy::all, unreachable_pub, reason = "generated code")]

pub use digit::DigitMint;
pub use iris::IrisClassifier;
pub use lending::LendingDesk;

mod iris {
    alloy::sol!(IrisClassifier, "../contracts/artifacts/IrisClassifier.json");
}

mod lending {
    alloy::sol!(LendingDesk, "../contracts/artifacts/LendingDesk.json");
}

mod digit {
    alloy::sol!(DigitMint, "../contracts/artifacts/DigitMint.json");
}
