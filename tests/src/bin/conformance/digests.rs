//! The judge alone, to compare its hosts: digests of what it makes of a case's inputs.
//!
//! A case has a file `inputs` with a line for each run: a JSON array of `{"type", "dims", "data"}`, ONNX's number of the type, the
//! shape, and little-endian elements in hexadecimal; of strings an array of them, one hexadecimal text each.
//! `tests/conformance/digests.mjs` is another host of the same cases.

use std::{fs, path::Path};

use alloy::hex;
use oraculum_judge::{DType, Judge, Limits, Tensor, digest};
use oraculum_tests::Res;
use serde::Deserialize;
use serde_json::{Value, json};

/// All memory that WebAssembly has less a page, and no limit of time: bits are compared here, not limits.
const LIMITS: Limits = Limits { memory: 4_294_901_760, fuel: u64::MAX / 2 };

#[derive(Deserialize)]
struct Input {
    r#type: u32,
    dims: Vec<u32>,
    data: Elements,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Elements {
    Bytes(String),
    Strings(Vec<String>),
}

impl Input {
    fn tensor(self) -> Res<Tensor> {
        Ok(match self.data {
            Elements::Bytes(bytes) => {
                let dtype = DType::from_onnx(self.r#type).ok_or("an input has a type that the judge does not know")?;
                Tensor::new(dtype, self.dims, hex::decode(bytes)?)?
            }
            Elements::Strings(strings) => {
                let strings: Res<_> = strings.iter().map(|text| Ok(String::from_utf8(hex::decode(text)?)?)).collect();
                Tensor::strings(self.dims, strings?)?
            }
        })
    }
}

/// Opens the judge, its code compiled for a target or else this machine.
pub(crate) fn open(cache: &Path, target: Option<&str>) -> Res<Judge> {
    let npm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node_modules/onnxruntime-web");
    let file = fs::read(npm.join("dist/ort-wasm-simd-threaded.wasm"))?;
    Ok(Judge::open_for(&file, Some(cache), target)?)
}

/// `{"outputs", "fuel"}` of a case: the digest of the outputs of all its runs in one session, and what loading and they took in
/// instructions.
pub(crate) fn of(judge: &Judge, case: &Path) -> Res<Value> {
    let mut session = judge.load(&fs::read(case.join("model.onnx"))?, LIMITS)?;
    let mut fuel = session.load_fuel();
    let mut outputs = Vec::new();
    for line in fs::read_to_string(case.join("inputs"))?.lines() {
        let inputs: Vec<Input> = serde_json::from_str(line)?;
        let inputs = inputs.into_iter().map(Input::tensor).collect::<Res<Vec<_>>>()?;
        outputs.extend(session.run_all(&inputs)?);
        fuel += session.run_fuel();
    }
    Ok(json!({ "outputs": digest(&outputs), "fuel": fuel }))
}
