//! Whether this machine's judge gives the bits of every other: models with recorded digests, run before anything is judged.

use sha2::{Digest, Sha256};

use crate::{DType, Judge, JudgeError, Limits, Tensor};

/// A built-in model, by the name that `models/digests.txt` has for it.
struct Model {
    name: &'static str,
    file: &'static [u8],
    /// Input of type f32, in bits of its elements; `None` for a model without inputs.
    input: Option<&'static [f32]>,
}

macro_rules! model {
    ($name:literal, $input:expr) => {
        Model { name: $name, file: include_bytes!(concat!("../models/", $name, ".onnx")), input: $input }
    };
}

static MODELS: [Model; 11] = [
    model!("bitcast", None),
    model!("casts", None),
    model!("control", Some(&[0.125, -0.5, 0.3, 0.9])),
    model!("float16", None),
    model!("float32", None),
    model!("float64", None),
    model!("integers", None),
    model!("layers", None),
    model!("nans", None),
    model!("recurrent", None),
    model!("strings", None),
];

/// Recorded digests, as `sha256sum` writes them: of the outputs, not of the files.
pub(crate) static DIGESTS: &str = include_str!("../models/digests.txt");

/// Reason for which the judge on this machine must not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelfTestError {
    /// Outputs differ from those of other machines.
    #[error(
        "this machine's judge is broken: the outputs of its model `{model}` are {computed}, not {recorded}; do not judge here, and \
         report the processor"
    )]
    Differs {
        /// Name of the built-in model.
        model: &'static str,
        /// Digest of its outputs here.
        computed: String,
        /// Digest of its outputs everywhere else.
        recorded: String,
    },
    /// A built-in model was not run.
    #[error("the judge does not run its model `{model}`: {error}")]
    Failed {
        /// Name of the built-in model.
        model: &'static str,
        /// What happened.
        error: JudgeError,
    },
}

/// SHA-256 of outputs as traces encode them, one after another, in hexadecimal.
#[must_use]
pub fn digest(outputs: &[Tensor]) -> String {
    let mut bytes = Vec::new();
    outputs.iter().for_each(|output| output.encode(&mut bytes));
    hex::encode(Sha256::digest(&bytes))
}

impl Judge {
    /// Runs the built-in models, and compares their outputs with the recorded digests.
    ///
    /// # Errors
    /// `Differs` where an output has other bits; `Failed` where a model does not run.
    pub fn self_test(&self) -> Result<(), SelfTestError> {
        for model in &MODELS {
            let computed =
                self.run_built_in(model).map_err(|error| SelfTestError::Failed { model: model.name, error })?;
            let recorded = recorded(model.name);
            if computed != recorded {
                return Err(SelfTestError::Differs { model: model.name, computed, recorded: recorded.to_owned() });
            }
        }
        Ok(())
    }

    fn run_built_in(&self, model: &Model) -> Result<String, JudgeError> {
        let input = model.input.map(|values| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Tensor::new(DType::F32, vec![values.len() as u32], bytes)
        });
        let input = input.transpose().map_err(|error| JudgeError::Input(error.to_string()))?;
        let mut session = self.load(model.file, Limits::DEFAULT)?;
        Ok(digest(&session.run_all(&input.into_iter().collect::<Vec<_>>())?))
    }
}

/// The recorded digest of a model's outputs; empty if none is recorded, which equals none.
fn recorded(name: &str) -> &'static str {
    let mut lines = DIGESTS.lines().filter_map(|line| line.split_once("  "));
    lines.find(|(_, model)| *model == name).map_or("", |(digest, _)| digest)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::judge::unshared;

    /// The real file, its memory no longer shared.
    pub(crate) fn wasm() -> Vec<u8> {
        let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../node_modules/onnxruntime-web/dist");
        unshared(&std::fs::read(dist.join("ort-wasm-simd-threaded.wasm")).unwrap()).unwrap()
    }

    pub(crate) fn cache() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp/judge")
    }

    #[test]
    fn every_built_in_model_has_a_recorded_digest() {
        for model in &MODELS {
            assert_eq!(recorded(model.name).len(), 64, "{}", model.name);
        }
        assert_eq!(recorded("another"), "");
    }

    /// What a compiler would be given that takes `f32x4.max` for `f32x4.min`: one bit of the instruction.
    pub(crate) fn broken(mut wasm: Vec<u8>) -> Vec<u8> {
        let code = 0x1_0000..13_000_000;
        let sites: Vec<usize> = code.filter(|at| wasm[*at..].starts_with(&[0xfd, 0xe9, 0x01])).collect();
        assert!(sites.len() > 10, "{}", sites.len());
        for site in sites {
            wasm[site + 1] ^= 1;
        }
        wasm
    }

    #[test]
    fn a_compiler_that_gets_one_instruction_wrong_is_found_out() {
        let judge = Judge::compile(broken(wasm()), Some(&cache()), None, || {}).unwrap();
        let error = judge.self_test().unwrap_err();
        assert!(matches!(error, SelfTestError::Differs { .. }), "{error}");
    }
}
