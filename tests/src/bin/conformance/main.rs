//! Runs the cases of a conformance suite, all in one process: through the product, which is JSON, packed tensors, the engine,
//! packed tensors, JSON, as `oraculum infer MODEL --inputs -` does; or in the judge alone.
//!
//! The program reads `FOLDER/CASE/model.onnx` and `FOLDER/CASE/requests`, an Open Inference Protocol request on each line; a line
//! that begins with `#` says instead why no request can be made. It prints a line of JSON for each case:
//! `{"case", "outputs": [[tensor…]…]}` with the outputs of each request, or `{"case", "error"}`. For `--digests` see `digests.rs`.
//! `tests/conformance/run.py` and `matrix.py` write the cases and judge what comes out.

mod digests;

use std::{
    env, fs,
    io::{Write, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use oraculum::{
    client::{JsonInput, Ports, input_from_json},
    engine::{EngineOptions, Inference, OnnxEngine, Provider, Source},
    model::{ModelFile, graph::OutputSpec},
    oip::{self, OipTensor},
};
use oraculum_tests::Res;
use serde_json::{Value, json};

/// Runs the cases of a conformance suite.
#[derive(Parser)]
struct Arguments {
    /// Folder with a folder for each case
    folder: PathBuf,
    /// Cases to run; else all
    cases: Vec<String>,
    /// Have the canonical judge run the models, in place of native ONNX Runtime
    #[arg(long, conflicts_with = "digests")]
    judge: bool,
    /// Print digests of the outputs of the canonical judge alone; its compiled code is kept in this folder
    #[arg(long, value_name = "CACHE")]
    digests: Option<PathBuf>,
    /// Compile the judge for a target, such as x86_64-unknown-linux-gnu, in place of this machine
    #[arg(long, requires = "digests")]
    target: Option<String>,
}

fn main() -> ExitCode {
    // The process of a model is this program, too.
    if env::args_os().nth(1).is_some_and(|first| first == "worker") {
        return oraculum::cli::main();
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Res<()> {
    let mut cases = arguments.cases.clone();
    if cases.is_empty() {
        for entry in fs::read_dir(&arguments.folder)? {
            cases.push(entry?.file_name().to_string_lossy().into_owned());
        }
        cases.sort();
    }
    let print = |name: &str, result: Res<(&str, Value)>| -> Res<()> {
        let mut line = json!({ "case": name });
        let (key, value) = result.unwrap_or_else(|error| ("error", error.to_string().into()));
        line[key] = value;
        Ok(writeln!(stdout(), "{line}")?)
    };
    if let Some(cache) = &arguments.digests {
        let judge = digests::open(cache, arguments.target.as_deref())?;
        return cases.iter().try_for_each(|name| {
            print(name, digests::of(&judge, &arguments.folder.join(name)).map(|digest| ("digest", digest)))
        });
    }
    let runtime = tokio::runtime::Runtime::new()?;
    cases.iter().try_for_each(|name| {
        let outputs = runtime.block_on(through_the_product(&arguments.folder.join(name), arguments.judge));
        print(name, outputs.map(|outputs| ("outputs", json!(outputs))))
    })
}

/// Loads a case's model and runs it on each of its requests.
async fn through_the_product(case: &Path, judge: bool) -> Res<Vec<Vec<OipTensor>>> {
    // An engine for each: it keeps what it has loaded.
    let engine = OnnxEngine::start(EngineOptions { provider: Provider::Cpu, ..EngineOptions::default() }).await?;
    let file = ModelFile::of_path(&case.join("model.onnx"))?;
    let source = if judge { Source::judged(file) } else { Source::file(file) };
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
