//! The protocol (`docs/protocol.md`) as pure functions: no I/O, no clock, no global state.
//!
//! The contracts implement the same page independently; `tests/vectors/` holds both to each other.

use std::fmt;

pub mod agreement;
pub mod answer;
pub mod card;
pub mod cast;
pub mod difference;
mod exact;
pub mod payout;
pub mod request;
pub mod sortition;
pub mod statement;
pub mod status;
pub mod tensor;
#[cfg(test)]
mod vectors;

/// Outcome of a request. Every outcome is attested and paid; only `Ok` carries an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum Outcome {
    /// The model ran and its output fits the asked format.
    Ok = 0,
    /// The input fails under the model's reference profile: wrong shape, type, count or value.
    BadInput = 1,
    /// The model ran and its output cannot be written: NaN, infinity, overflow of the format, or too large.
    Unrepresentable = 2,
}

impl TryFrom<u8> for Outcome {
    type Error = UnknownOutcome;

    fn try_from(code: u8) -> Result<Self, UnknownOutcome> {
        match code {
            0 => Ok(Self::Ok),
            1 => Ok(Self::BadInput),
            2 => Ok(Self::Unrepresentable),
            _ => Err(UnknownOutcome(code)),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "Ok",
            Self::BadInput => "BadInput",
            Self::Unrepresentable => "Unrepresentable",
        })
    }
}

/// A number that stands for no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no outcome: 0 is Ok, 1 BadInput, 2 Unrepresentable")]
pub struct UnknownOutcome(pub u8);

/// Format in which a request wants its outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct OutputFormat {
    /// Bytes of each element of a float output, as signed fixed-point: 1, 2, 4, 8 or 16; 0 keeps the float type.
    pub width: u8,
    /// Decimals of that fixed-point (value = integer / 10^decimals), at most 36, and 0 where the width is 0.
    pub decimals: u8,
    /// Outputs wanted, bit i for output i of the model; 0 means all.
    pub mask: u16,
}

impl OutputFormat {
    /// Every output, in the model's own types.
    pub const NATIVE: Self = Self { width: 0, decimals: 0, mask: 0 };

    /// Tells whether the contracts accept this format.
    pub fn is_valid(self) -> bool {
        match self.width {
            0 => self.decimals == 0,
            1 | 2 | 4 | 8 | 16 => self.decimals <= tensor::MAX_DECIMALS,
            _ => false,
        }
    }

    /// Tells whether output `index` is asked for.
    pub fn wants(self, index: usize) -> bool {
        self.mask == 0 || (index < 16 && self.mask >> index & 1 == 1)
    }
}
