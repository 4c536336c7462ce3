//! Model cards: everything that names a model. `modelId = keccak256(abi.encode(card))`.

use std::{fmt, str::FromStr};

use alloy::{
    primitives::{Address, B256, keccak256},
    sol,
    sol_types::SolValue,
};

/// `contracts/src/types/ModelCard.sol`, field by field: the binding of the coordinator, which has the struct, stands on a floor
/// above. End-to-end tests hold the ids of both to each other.
mod abi {
    #![allow(missing_docs, reason = "generated code")]
    super::sol! {
        struct Agreement {
            uint8 kind;
            uint128 atol;
            uint128 rtol;
            uint128 gap;
        }
        struct ModelCard {
            bytes32 fileHash;
            bytes32 detailsHash;
            bytes32 profileHash;
            Agreement[] agreement;
            address verifier;
            uint32 maxInputBytes;
            uint32 maxOutputBytes;
        }
    }
}

/// A tolerance in units of 1e-18. As text, a plain decimal number with up to 18 decimals, such as `0.00001`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tolerance(pub u128);

const UNIT: u128 = 1_000_000_000_000_000_000;

impl Tolerance {
    /// Nearest f64 of the tolerance.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / UNIT as f64
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / UNIT, self.0 % UNIT);
        match fraction {
            0 => write!(f, "{whole}"),
            _ => write!(f, "{whole}.{}", format!("{fraction:018}").trim_end_matches('0')),
        }
    }
}

/// A text that is no tolerance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no tolerance: write a plain decimal number with up to 18 decimals, such as 0.00001")]
pub struct InvalidTolerance(pub String);

impl FromStr for Tolerance {
    type Err = InvalidTolerance;

    fn from_str(text: &str) -> Result<Self, InvalidTolerance> {
        let invalid = || InvalidTolerance(text.to_owned());
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() && fraction.len() <= 18 => (whole, fraction),
            Some(_) => return Err(invalid()),
            None => (text, ""),
        };
        // `u128::from_str` would take a sign.
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        format!("{whole}{fraction:0<18}").parse().map(Self).map_err(|_| invalid())
    }
}

/// Rule by which two outputs of a model agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Agreement {
    /// Every element is equal: for profiles of the exact lane, and for graphs of integers.
    Exact,
    /// |a − b| ≤ atol + rtol·|b| + one output quantum for every element, b being the re-computed value.
    Elementwise {
        /// Tolerance in the unit of the output.
        atol: Tolerance,
        /// The tolerance relative to |b|.
        rtol: Tolerance,
    },
    /// The same element of each row is the largest; no verdict where the two largest are closer than `gap`.
    Argmax {
        /// The gap under which there is no verdict.
        gap: Tolerance,
    },
}

/// Card of a model, whose hash names the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelCard {
    /// SHA-256 of the ONNX file.
    pub file_hash: B256,
    /// SHA-256 of the canonical JSON document that describes inputs, outputs, probes and licence.
    pub details_hash: B256,
    /// SHA-256 of the reference profile string on which disputes are judged.
    pub profile_hash: B256,
    /// One per output of the model, 1 to 16.
    pub agreement: Vec<Agreement>,
    /// Zero, or a contract that accepts a proof in place of audits.
    pub verifier: Address,
    /// The largest input, 1 to 131,072 bytes.
    pub max_input_bytes: u32,
    /// The largest output, 1 to 131,072 bytes; a larger one is `Unrepresentable`.
    pub max_output_bytes: u32,
}

impl ModelCard {
    /// The hash of the card.
    pub fn model_id(&self) -> B256 {
        let agreement = self
            .agreement
            .iter()
            .map(|agreement| {
                let (kind, atol, rtol, gap) = match *agreement {
                    Agreement::Exact => (0, 0, 0, 0),
                    Agreement::Elementwise { atol, rtol } => (1, atol.0, rtol.0, 0),
                    Agreement::Argmax { gap } => (2, 0, 0, gap.0),
                };
                abi::Agreement { kind, atol, rtol, gap }
            })
            .collect();
        let card = abi::ModelCard {
            fileHash: self.file_hash,
            detailsHash: self.details_hash,
            profileHash: self.profile_hash,
            agreement,
            verifier: self.verifier,
            maxInputBytes: self.max_input_bytes,
            maxOutputBytes: self.max_output_bytes,
        };
        keccak256(card.abi_encode())
    }
}

#[cfg(test)]
mod tests;
