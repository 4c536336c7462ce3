//! A sample of the ONNX backend suite, `tests/conformance/sample.jsonl`, on the device.

use std::{
    fs,
    time::{Duration, Instant},
};

use alloy::primitives::hex;
use oraculum::{
    client::{JsonInput, Ports, input_from_json},
    engine::{LoadError, OnnxEngine, Provider, Source},
    model::{ModelFile, graph::OutputSpec},
    oip::{self, OipTensor},
    text,
};
use oraculum_tests::Res;
use serde::Deserialize;
use serde_json::Value;

use super::verdict;
use crate::{Verdict, arguments::Arguments, measure::Difference};

const SAMPLE: &str = "tests/conformance/sample.jsonl";
/// Time for which cases are begun.
const TIME: Duration = Duration::from_secs(50);
/// Cases that one engine runs.
const TOGETHER: usize = 16;

#[derive(Deserialize)]
struct Case {
    case: String,
    model: String,
    request: Value,
    expected: Vec<OipTensor>,
    rtol: f64,
    atol: f64,
}

/// What came of a case.
enum Outcome {
    Passed,
    /// The device has no kernel for it.
    NotTaken,
    Failed(String),
}

pub(crate) async fn run(arguments: &Arguments) -> Res<Verdict> {
    let (began, mut passed, mut not_taken, mut failed, mut left) = (Instant::now(), 0, Vec::new(), Vec::new(), 0);
    let mut engine = OnnxEngine::start(arguments.engine_here()).await?;
    for (number, line) in fs::read_to_string(SAMPLE)?.lines().enumerate() {
        if number % TOGETHER == TOGETHER - 1 {
            // It keeps what it has loaded.
            engine = OnnxEngine::start(arguments.engine_here()).await?;
        }
        let case: Case = serde_json::from_str(line)?;
        if began.elapsed() > TIME {
            left += 1;
            continue;
        }
        let name = case.case.trim_start_matches("test_").to_owned();
        match one(arguments, &engine, case).await? {
            Outcome::Passed => passed += 1,
            Outcome::NotTaken => not_taken.push(name),
            Outcome::Failed(reason) => failed.push((name, reason)),
        }
    }
    println!(
        "One case of each operator, a few of those with many kernels; differences are judged as the suite does.\n"
    );
    println!("| | cases |\n|---|---:|");
    println!("| run on {} and right | {passed} |", arguments.subject());
    println!("| of which it takes no or only a part | {} |", not_taken.len());
    println!("| wrong | {} |", failed.len());
    println!("| not begun, for want of time | {left} |");
    if !not_taken.is_empty() {
        println!("\nNot taken: {}.", not_taken.join(", "));
    }
    for (name, reason) in &failed {
        println!("- `{name}`: {}", text::cut(&text::one_line(reason), 300));
    }
    Ok(verdict(failed.is_empty() && passed > 0))
}

async fn one(arguments: &Arguments, engine: &OnnxEngine, case: Case) -> Res<Outcome> {
    let source = Source::file(ModelFile::in_memory(hex::decode(&case.model)?));
    let id = source.id;
    let model = match engine.load(source).await {
        Ok(model) => model,
        Err(LoadError::Session(_)) if arguments.provider() != Provider::Cpu => return Ok(Outcome::NotTaken),
        Err(error) => return Ok(Outcome::Failed(error.to_string())),
    };
    let ports = Ports::from(model.signature.as_ref());
    let JsonInput { packed, mask, .. } = input_from_json(case.request.to_string().as_bytes(), &ports)?;
    let ran = match engine.run_off_chain(id, packed, mask).await {
        Ok(ran) => ran,
        Err(error) => return Ok(Outcome::Failed(error.to_string())),
    };
    if let Some(failure) = ran.failure {
        return Ok(Outcome::Failed(failure.to_string()));
    }
    let found = oip::unpack_outputs(&ran.output, model.signature.outputs.iter().map(OutputSpec::name))?;
    if found.len() != case.expected.len() {
        return Ok(Outcome::Failed(format!("{} outputs in place of {}", found.len(), case.expected.len())));
    }
    for (found, expected) in found.iter().zip(&case.expected) {
        let difference = Difference::of(&numbers(found), &numbers(expected), case.atol, case.rtol);
        let name = text::shown(&found.name);
        if found.shape != expected.shape {
            let told = format!("`{name}` has shape {:?} in place of {:?}", found.shape, expected.shape);
            return Ok(Outcome::Failed(told));
        }
        if difference.beyond > 0 {
            let (beyond, count, largest) = (difference.beyond, difference.count, difference.largest);
            return Ok(Outcome::Failed(format!(
                "{beyond} of {count} numbers of `{name}` differ, by {largest:.1e} at most"
            )));
        }
    }
    Ok(Outcome::Passed)
}

fn numbers(tensor: &OipTensor) -> Vec<f64> {
    let number = |value: &Value| match value {
        Value::Bool(is) => f64::from(*is),
        // Infinities and NaN are texts.
        Value::String(text) => text.parse().unwrap_or(f64::NAN),
        value => value.as_f64().unwrap_or(f64::NAN),
    };
    tensor.data.as_array().into_iter().flatten().map(number).collect()
}
