//! One model in one session of ONNX Runtime, under settings that make it reproducible.

use ort::{
    ErrorCode,
    logging::LogLevel,
    session::{
        RunOptions, Session, SessionInputValue,
        builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder},
    },
};

use super::{
    providers,
    runtime::Runtime,
    sequences,
    values::{self, OutputError},
};
use crate::{
    engine::{
        backend::{ModelFailure, RunError, RunRequest},
        error::LoadError,
        profile::Device,
        providers::Execution,
    },
    model::graph::{PortKind, Signature},
    protocol::cast::ModelTensor,
    text,
};

/// Prepares a session on a device, of a model whose weights may lie in files of a folder.
pub(super) fn builder(
    runtime: &Runtime,
    device: Device,
    execution: &Execution,
    weights: Option<&str>,
) -> Result<SessionBuilder, ort::Error> {
    let builder = Session::builder(&runtime.environment)?
        .with_auto_device(AutoDevicePolicy::PreferCPU)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        .with_optimization_level(GraphOptimizationLevel::Level1)?
        .with_deterministic_compute(true)?
        // Patterns are kept per input shape, so a caller could grow them without end.
        .with_memory_pattern(false)?
        .with_log_level(LogLevel::Fatal)?
        // Bytes that look like the runtime's own format as well must not be read as that.
        .with_config_entry("session.load_model_format", "ONNX")?;
    let builder = match weights {
        Some(folder) => builder.with_config_entry("session.model_external_initializers_file_folder_path", folder)?,
        None => builder,
    };
    providers::place(builder, runtime, device, execution)
}

/// Characters of a message of the runtime at most: its reason may come last of four sentences.
const LONGEST_MESSAGE: usize = 1_000;

/// Message of the runtime in one line, without the places in its source, its code, and the path under which a file is
/// pinned.
pub(super) fn describe<R>(error: &ort::Error<R>) -> String {
    described(error.message())
}

/// A message of the runtime, wherever that runs, as `describe` tells it.
pub(in crate::engine::backends) fn described(message: &str) -> String {
    let told = message.rsplit_once("[ONNXRuntimeError] : ").and_then(|(_, rest)| rest.splitn(3, " : ").nth(2));
    text::cut(without_source(told.unwrap_or(message)), LONGEST_MESSAGE)
}

/// What the runtime says behind a place in its source: `failed:/…/model.cc:202 onnxruntime::Model::Model(…) What it says`.
fn without_source(message: &str) -> &str {
    let Some((_, place)) = message.split_once("/onnxruntime/core/") else { return message };
    place.split_once(") ").map_or(message, |(_, said)| said)
}

/// Why a session does not open.
pub(super) fn open_error(error: &ort::Error) -> LoadError {
    not_opened(describe(error))
}

/// Why a session does not open, by the runtime's described message.
pub(in crate::engine::backends) fn not_opened(reason: String) -> LoadError {
    // The runtime has no codes for these.
    const NEWER: [&str; 2] = ["Unsupported model IR version", "Current official support for domain"];
    if !NEWER.iter().any(|phrase| reason.contains(phrase)) {
        return LoadError::Session(reason);
    }
    // Of four sentences about an opset these two say it.
    let opset = reason.split_once("Opset ").and_then(|(_, rest)| rest.split_once(' '));
    let support = reason.split_once("Current official support for ").map(|(_, rest)| rest.trim_end_matches('.'));
    LoadError::TooNew(match opset.zip(support) {
        Some(((opset, _), support)) => format!("its opset is {opset}, and support for {support}"),
        None => reason,
    })
}

/// Runs a session; returns the outputs that are wanted, each with its position.
///
/// # Errors
/// `RunError::OutOfMemory`, `Device` or `Runtime`.
pub(super) fn run(
    session: &mut Session,
    signature: &Signature,
    device: Device,
    request: RunRequest,
    options: &RunOptions,
) -> Result<Result<Vec<(usize, ModelTensor)>, ModelFailure>, RunError> {
    let RunRequest { inputs, wanted, .. } = request;
    let inputs = match to_runtime(signature, inputs)? {
        Ok(inputs) => inputs,
        Err(failure) => return Ok(Err(failure)),
    };
    let outputs = match session.run_with_options(inputs.as_slice(), options) {
        Ok(outputs) => outputs,
        Err(error) => return classify(&error, device).map(Err),
    };
    let outputs: Vec<_> = outputs.iter().map(|(_, value)| value).collect();
    let mut tensors = Vec::with_capacity(wanted.len());
    // Number of the signature's first output that stands for a port.
    let mut first = 0;
    for (position, port) in signature.output_ports.iter().enumerate() {
        let missing = || RunError::Runtime(format!("output {position} is missing"));
        let own = first..first + port.kind.tensors();
        first = own.end;
        if !wanted.iter().any(|output| own.contains(output)) {
            continue;
        }
        let value = outputs.get(position).ok_or_else(missing)?;
        let read = match port.kind {
            PortKind::Sequence(element) => {
                values::sequence_from_runtime(value, element).map(|(data, shapes)| vec![data, shapes])
            }
            PortKind::Tensor | PortKind::Other => values::from_runtime(value).map(|tensor| vec![tensor]),
        };
        match read {
            Ok(read) => tensors.extend(own.zip(read).filter(|(output, _)| wanted.contains(output))),
            Err(OutputError::NotTensor(reason)) => {
                return Ok(Err(ModelFailure::NotTensor { output: own.start, reason }));
            }
            Err(OutputError::Runtime(error)) => return Err(RunError::Runtime(describe(&error))),
        }
    }
    Ok(Ok(tensors))
}

/// Hands inputs to the runtime; the failure of what stands for no sequence.
fn to_runtime(
    signature: &Signature,
    inputs: Vec<ModelTensor>,
) -> Result<Result<Vec<SessionInputValue<'static>>, ModelFailure>, RunError> {
    let runtime = |error: ort::Error| RunError::Runtime(describe(&error));
    let mut inputs = inputs.into_iter();
    let mut values = Vec::with_capacity(signature.input_ports.len());
    for port in &signature.input_ports {
        let missing = || RunError::Runtime(format!("input {} is missing", text::shown(&port.name)));
        let tensor = inputs.next().ok_or_else(missing)?;
        let value = if let PortKind::Sequence(_) = port.kind {
            match sequences::split(&tensor, &inputs.next().ok_or_else(missing)?) {
                Ok(elements) => values::sequence_to_runtime(elements).map_err(runtime)?,
                Err(reason) => {
                    let reason = format!("the sequence `{}` cannot be given: {reason}", text::shown(&port.name));
                    return Ok(Err(ModelFailure::Failed(reason)));
                }
            }
        } else {
            values::to_runtime(tensor).map_err(runtime)?.into_dyn()
        };
        values.push(value.into());
    }
    Ok(Ok(values))
}

/// Reads the runtime's messages, which has no codes for these; nothing else does.
fn classify(error: &ort::Error, device: Device) -> Result<ModelFailure, RunError> {
    const MEMORY: [&str; 7] = [
        "bad_alloc",
        "bad allocation",
        "allocate memory",
        "out of memory",
        "OUT_OF_MEMORY",
        "BFCArena",
        "CUBLAS_STATUS_ALLOC_FAILED",
    ];
    const DEVICE: [&str; 5] = ["CUDA failure", "CUDA error", "CUDNN", "CUBLAS", "cudaError"];
    let message = error.message();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
    let message = || describe(error);
    if says(&MEMORY) {
        return Err(RunError::OutOfMemory(message()));
    }
    match error.code() {
        ErrorCode::ExecutionProviderFailure | ErrorCode::EngineError | ErrorCode::DeviceReset => {
            Err(RunError::Device(message()))
        }
        _ if device != Device::Cpu && says(&DEVICE) => Err(RunError::Device(message())),
        _ => Ok(ModelFailure::Failed(message())),
    }
}

#[cfg(test)]
mod tests {
    use super::without_source;

    #[test]
    fn a_place_in_the_runtimes_source_is_left_out() {
        let message = "Load model from /proc/self/fd/9 failed:/onnxruntime_src/onnxruntime/core/graph/model.cc:202 \
                       onnxruntime::Model::Model(onnx::ModelProto&&, bool) Unsupported model IR version: 99";
        assert_eq!(without_source(message), "Unsupported model IR version: 99");
        assert_eq!(
            without_source("Fatal error: NoSuchOperator(-1) is not registered"),
            "Fatal error: NoSuchOperator(-1) is not registered"
        );
    }
}
