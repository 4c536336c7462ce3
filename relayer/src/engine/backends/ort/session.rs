//! One model in one session of ONNX Runtime, under settings that make it reproducible.

use ort::{
    ErrorCode,
    ep::{CUDA, ExecutionProvider, cuda::ConvAlgorithmSearch},
    logging::LogLevel,
    session::{
        RunOptions, Session, SessionInputValue,
        builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder},
    },
};

use super::{
    runtime::Runtime,
    values::{self, OutputError},
};
use crate::{engine::profile::Device, protocol::cast::ModelTensor};

/// Prepares a session on a target. What CUDA cannot run is an error there, not work for the CPU.
pub(in crate::engine) fn builder(runtime: &Runtime, target: Device) -> Result<SessionBuilder, ort::Error> {
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
    Ok(match target {
        Device::Cpu => builder,
        Device::Cuda(device) => {
            let cuda = CUDA::default()
                .with_device_id(i32::try_from(device).unwrap_or(i32::MAX))
                .with_tf32(false)
                .with_conv_algorithm_search(ConvAlgorithmSearch::Default);
            builder.with_disable_cpu_fallback()?.with_execution_providers([cuda.build().error_on_failure()])?
        }
    })
}

/// Whether the loaded library was built with CUDA at all. Some builds know of the provider and come without its library.
pub(in crate::engine) fn has_cuda(runtime: &Runtime) -> bool {
    let library = match std::env::consts::OS {
        "windows" => "onnxruntime_providers_cuda.dll",
        _ => "libonnxruntime_providers_cuda.so",
    };
    runtime.path.with_file_name(library).exists() && CUDA::is_available().unwrap_or(false)
}

/// What the runtime says, without the place in its source and its code.
pub(in crate::engine) fn describe<R>(error: &ort::Error<R>) -> String {
    let message = error.message();
    let told = message.rsplit_once("[ONNXRuntimeError] : ").and_then(|(_, rest)| rest.splitn(3, " : ").nth(2));
    told.unwrap_or(message).trim().to_owned()
}

/// Why a run gave nothing.
#[derive(Clone, Debug)]
pub(in crate::engine) enum RunError {
    /// The model fails on this input, here.
    Failed(String),
    /// An output is no packed tensor, on any machine.
    NotTensor {
        output: usize,
        reason: String,
    },
    OutOfMemory(String),
    Device(String),
    Runtime(String),
}

/// Runs a session; the outputs that are wanted, with their numbers.
pub(in crate::engine) fn run(
    session: &mut Session,
    target: Device,
    inputs: Vec<ModelTensor>,
    wanted: &[usize],
    options: &RunOptions,
) -> Result<Vec<(usize, ModelTensor)>, RunError> {
    let inputs: Vec<SessionInputValue<'static>> = inputs
        .into_iter()
        .map(values::to_runtime)
        .collect::<Result<_, _>>()
        .map_err(|error| RunError::Runtime(describe(&error)))?;
    let outputs = session.run_with_options(inputs.as_slice(), options).map_err(|error| classify(&error, target))?;
    let outputs: Vec<_> = outputs.iter().map(|(_, value)| value).collect();
    wanted
        .iter()
        .map(|output| {
            let value = outputs.get(*output).ok_or_else(|| RunError::Runtime(format!("output {output} is missing")))?;
            values::from_runtime(value).map(|tensor| (*output, tensor)).map_err(|error| match error {
                OutputError::NotTensor(reason) => RunError::NotTensor { output: *output, reason },
                OutputError::Runtime(error) => RunError::Runtime(describe(&error)),
            })
        })
        .collect()
}

/// The one place where the runtime's messages are read: it has no codes for these.
fn classify(error: &ort::Error, target: Device) -> RunError {
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
        return RunError::OutOfMemory(message());
    }
    match error.code() {
        ErrorCode::ExecutionProviderFailure | ErrorCode::EngineError | ErrorCode::DeviceReset => {
            RunError::Device(message())
        }
        _ if target != Device::Cpu && says(&DEVICE) => RunError::Device(message()),
        _ => RunError::Failed(message()),
    }
}
