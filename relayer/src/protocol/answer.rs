//! An answer as its event tells it: `outcome u8 ‖ count u8 ‖ seat u32[count] ‖ output`.

use alloy::primitives::Bytes;

use super::Outcome;

/// Bytes of a seat.
const SEAT: usize = 4;
/// Bytes before the seats.
const HEAD: usize = 2;

/// The bytes of `Fulfilled`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// What was found.
    pub outcome: Outcome,
    /// The signers' seats, 4 bytes each, ascending by rank.
    pub seats: Bytes,
    /// Packed tensors; empty unless `Ok`.
    pub output: Bytes,
}

/// Bytes that no coordinator emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnouncedError {
    /// The outcome is none.
    #[error(transparent)]
    UnknownOutcome(#[from] super::UnknownOutcome),
    /// The bytes end before the seats do.
    #[error("an answer of {0} bytes ends before its seats do")]
    Truncated(usize),
}

impl Announced {
    /// Takes the bytes of an event apart.
    ///
    /// # Errors
    /// `UnknownOutcome`, or `Truncated`.
    pub fn decode(answer: &Bytes) -> Result<Self, AnnouncedError> {
        let [outcome, count, ..] = answer[..] else { return Err(AnnouncedError::Truncated(answer.len())) };
        let end = HEAD + SEAT * usize::from(count);
        if answer.len() < end {
            return Err(AnnouncedError::Truncated(answer.len()));
        }
        Ok(Self { outcome: outcome.try_into()?, seats: answer.slice(HEAD..end), output: answer.slice(end..) })
    }

    /// The bytes of the event, of 255 seats at most.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let count = u8::try_from(self.seats.len() / SEAT).unwrap_or(u8::MAX);
        [&[self.outcome as u8, count][..], &self.seats, &self.output].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_before_its_seats_is_refused() {
        for bytes in [&[][..], &[0], &[0, 1], &[0, 1, 0, 0, 0], &[0, 2, 0, 0, 0, 1, 0, 0, 0]] {
            let answer = Bytes::copy_from_slice(bytes);
            assert_eq!(Announced::decode(&answer), Err(AnnouncedError::Truncated(bytes.len())));
        }
        assert!(matches!(Announced::decode(&Bytes::from_static(&[3, 0])), Err(AnnouncedError::UnknownOutcome(_))));
        let none = Announced::decode(&Bytes::from_static(&[1, 0])).unwrap();
        assert_eq!((none.outcome, none.seats.len(), none.output.len()), (Outcome::BadInput, 0, 0));
    }
}
