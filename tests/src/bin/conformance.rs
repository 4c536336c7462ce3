//! Runs the cases of a conformance suite through the product, all in one process: JSON, packed tensors, the engine, packed
//! tensors, JSON, as `oraculum infer MODEL --inputs -` does.
//!
//! `conformance FOLDER` reads `FOLDER/CASE/model.onnx` and `FOLDER/CASE/requests`, an Open Inference Protocol request on each
//! line; a line that begins with `#` says instead why no request can be made. It prints a line of JSON for each case:
//! `{"case", "outputs": [[tensor…]…]}` with the outputs of each request, or `{"case", "error"}`.
//! `tests/conformance/run.py` writes the cases and judges the outputs.

use std::{
    env, fs,
    io::{Write, stdout},
    path::{Path, PathBuf},
};

use oraculum::{
    client::{JsonInput, Ports, input_from_json},
    engine::{EngineOptions, Inference, OnnxEngine, Provider, Source},
    model::{ModelFile, graph::OutputSpec},
    oip::{self, OipTensor},
};
use oraculum_tests::Res;
use serde_json::json;

#[tokio::main]
async fn main() -> Res<()> {
    let folder = env::args_os().nth(1).ok_or("usage: conformance FOLDER")?;
    let mut cases: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    cases.sort();
    let mut out = stdout().lock();
    for case in cases {
        let name = case.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let line = match run(&case).await {
            Ok(outputs) => json!({ "case": name, "outputs": outputs }),
            Err(error) => json!({ "case": name, "error": error.to_string() }),
        };
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Loads a case's model and runs it on each of its requests.
async fn run(case: &Path) -> Res<Vec<Vec<OipTensor>>> {
    // An engine for each: it keeps what it has loaded.
    let engine = OnnxEngine::start(EngineOptions { provider: Provider::Cpu, ..EngineOptions::default() }).await?;
    let source = Source::file(ModelFile::of_path(&case.join("model.onnx"))?);
    let id = source.id;
    let model = engine.load(source).await?;
    let ports = Ports::from(model.signature.as_ref());
    let mut answers = Vec::new();
    for request in fs::read_to_string(case.join("requests"))?.lines() {
        if let Some(reason) = request.strip_prefix("# ") {
            return Err(reason.into());
        }
        let JsonInput { packed, mask, .. } = input_from_json(request.as_bytes(), &ports)?;
        let Inference { outcome, output, failure, .. } = engine.run_off_chain(id, packed, mask).await?;
        if let Some(failure) = failure {
            return Err(format!("{outcome}: {failure}").into());
        }
        answers.push(oip::unpack_outputs(&output, model.signature.outputs.iter().map(OutputSpec::name))?);
    }
    Ok(answers)
}
