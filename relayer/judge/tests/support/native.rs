//! The native ONNX Runtime of the same version, with one thread.

use oraculum_judge::{DType, Data, Tensor};
use ort::{
    environment::Environment,
    session::{Session, SessionInputValue, builder::GraphOptimizationLevel},
};

use super::{f32s, repository};

pub(crate) type Result<T> = std::result::Result<T, ort::Error>;

/// The environment of native sessions.
pub(crate) fn environment() -> Environment {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let library = format!("node_modules/onnxruntime-node/bin/napi-v6/linux/{arch}/libonnxruntime.so.1");
    let environment = ort::init_from(repository().join(library)).unwrap().with_telemetry(false).build().unwrap();
    environment.set_log_level(ort::logging::LogLevel::Fatal);
    environment
}

/// The outputs of a model, natively.
pub(crate) fn run(environment: &Environment, file: &[u8], inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let mut session = Session::builder(environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_optimization_level(GraphOptimizationLevel::Level1)?
        .commit_from_memory(file)?;
    let inputs = inputs.iter().map(value).collect::<Result<Vec<_>>>()?;
    let outputs = session.run(inputs.as_slice())?;
    let tensor = |dtype, dims: &ort::value::Shape, bytes| {
        Tensor::new(dtype, dims.iter().map(|dim| *dim as u32).collect(), bytes).unwrap()
    };
    let read = |value: &ort::value::DynValue| {
        if let Ok((dims, floats)) = value.try_extract_tensor::<f32>() {
            return Ok(tensor(DType::F32, dims, floats.iter().flat_map(|float| float.to_le_bytes()).collect()));
        }
        if let Ok((dims, integers)) = value.try_extract_tensor::<i32>() {
            return Ok(tensor(DType::I32, dims, integers.iter().flat_map(|integer| integer.to_le_bytes()).collect()));
        }
        if let Ok((dims, bools)) = value.try_extract_tensor::<bool>() {
            return Ok(tensor(DType::Bool, dims, bools.iter().map(|bit| u8::from(*bit)).collect()));
        }
        let (dims, integers) = value.try_extract_tensor::<i64>()?;
        Ok(tensor(DType::I64, dims, integers.iter().flat_map(|integer| integer.to_le_bytes()).collect()))
    };
    outputs.iter().map(|(_, value)| read(&value)).collect()
}

fn value(tensor: &Tensor) -> Result<SessionInputValue<'static>> {
    let dims: Vec<i64> = tensor.dims().iter().map(|dim| i64::from(*dim)).collect();
    let Data::Bytes(bytes) = tensor.data() else { return Err(ort::Error::new("a string")) };
    Ok(match tensor.dtype() {
        DType::I64 => {
            let integers = bytes.as_chunks::<8>().0.iter().map(|word| i64::from_le_bytes(*word));
            ort::value::Tensor::from_array((dims, integers.collect::<Vec<_>>()))?.into()
        }
        DType::U8 => ort::value::Tensor::from_array((dims, bytes.clone()))?.into(),
        _ => ort::value::Tensor::from_array((dims, f32s(tensor)))?.into(),
    })
}
