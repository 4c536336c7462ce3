//! The trace of a run: values from inside the model that a seed draws, which only who ran it on these inputs knows.

use sha3::{Digest, Keccak256};

use crate::{Judge, JudgeError, Limits, Tensor, onnx::Names};

/// Values that a trace has.
const DRAWS: u32 = 8;

/// Values of a model that a trace may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// Names, in the file's order.
    names: Vec<String>,
}

/// The trace of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The drawn values, encoded one after another; empty without candidates, or after a limit.
    pub bytes: Vec<u8>,
    /// The limit or failure, of the traced run only, for which the trace is empty.
    pub reason: Option<JudgeError>,
}

impl Trace {
    /// `keccak256(seed ‖ trace)`.
    #[must_use]
    pub fn digest(&self, seed: [u8; 32]) -> [u8; 32] {
        Keccak256::new().chain_update(seed).chain_update(&self.bytes).finalize().into()
    }
}

impl Candidates {
    /// Names of the candidates, in the file's order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Places of the candidates that a seed draws, in the order of the draws; none without candidates.
    #[must_use]
    pub fn draw(&self, seed: [u8; 32]) -> Vec<usize> {
        let count = self.names.len() as u128;
        let place = |draw: u32| {
            let hash = Keccak256::new().chain_update(seed).chain_update(draw.to_be_bytes()).finalize();
            // The hash as a number, modulo the count.
            hash.iter().fold(0, |rest, byte| (rest << 8 | u128::from(*byte)) % count) as usize
        };
        if count == 0 { Vec::new() } else { (0..DRAWS).map(place).collect() }
    }
}

impl Judge {
    /// The values that a trace of this model may have: outputs of top-level nodes that depend on an input, and that are
    /// tensors of known types.
    ///
    /// `limits` are those of plain runs.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn candidates(&self, model: &[u8], limits: Limits) -> Result<Candidates, JudgeError> {
        let names = Names::read(model).map_err(|error| JudgeError::Load(error.to_string()))?;
        let session = self.load_with_outputs(model, &names.dependent, limits.traced())?;
        let tensors: std::collections::HashSet<&str> =
            session.outputs().iter().filter(|port| port.dtype.is_some()).map(|port| port.name.as_str()).collect();
        Ok(Candidates { names: names.dependent.into_iter().filter(|name| tensors.contains(name.as_str())).collect() })
    }

    /// Runs the model on inputs in a fresh instance, with twice the fuel and all memory, and keeps what the seed draws.
    ///
    /// The plain run decides what the answer is: it must have ended well before.
    ///
    /// # Errors
    /// `StackExhausted` and `HostMemory`, which say nothing about the run. All else gives an empty trace.
    pub fn trace(
        &self,
        model: &[u8],
        candidates: &Candidates,
        limits: Limits,
        seed: [u8; 32],
        inputs: &[Tensor],
    ) -> Result<Trace, JudgeError> {
        let draws = candidates.draw(seed);
        let mut drawn = draws.clone();
        drawn.sort_unstable();
        drawn.dedup();
        if drawn.is_empty() {
            return Ok(Trace { bytes: Vec::new(), reason: None });
        }
        let traced = || {
            let names: Vec<String> = drawn.iter().map(|place| candidates.names[*place].clone()).collect();
            let mut session = self.load_with_outputs(model, &names, limits.traced())?;
            let port = |name: &String| session.outputs().iter().position(|port| port.name == *name);
            let wanted: Option<Vec<_>> = names.iter().map(port).collect();
            session
                .run(inputs, &wanted.ok_or_else(|| JudgeError::Load("the candidates are another model's".to_owned()))?)
        };
        let tensors = match traced() {
            Ok(tensors) => tensors,
            Err(error) if error.is_host() => return Err(error),
            Err(error) => return Ok(Trace { bytes: Vec::new(), reason: Some(error) }),
        };
        let mut bytes = Vec::new();
        for place in draws {
            if let Ok(place) = drawn.binary_search(&place) {
                tensors[place].encode(&mut bytes);
            }
        }
        Ok(Trace { bytes, reason: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(count: usize) -> Candidates {
        Candidates { names: (0..count).map(|place| place.to_string()).collect() }
    }

    #[test]
    fn a_seed_draws_eight_places_among_the_candidates() {
        assert!(candidates(0).draw([7; 32]).is_empty());
        assert_eq!(candidates(1).draw([7; 32]), [0; 8]);
        let draws = candidates(5).draw([7; 32]);
        assert_eq!(draws.len(), 8);
        assert!(draws.iter().all(|place| *place < 5));
        assert_ne!(draws, candidates(5).draw([8; 32]));
    }

    #[test]
    fn the_digest_covers_seed_and_trace() {
        let trace = |bytes: &[u8]| Trace { bytes: bytes.to_vec(), reason: None };
        let digest = trace(b"abc").digest([1; 32]);
        assert_ne!(digest, trace(b"abd").digest([1; 32]));
        assert_ne!(digest, trace(b"abc").digest([2; 32]));
    }
}
