//! Execution providers in ONNX Runtime: their libraries, and the sessions that run on them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::{
    ep::{
        ArenaExtendStrategy, CUDA, ExecutionProvider, ExecutionProviderDispatch, TensorRT, cuda::ConvAlgorithmSearch,
    },
    session::builder::SessionBuilder,
};

use super::runtime::{self, Runtime};
use crate::{
    engine::{
        backends::folder,
        device::Device,
        error::LoadError,
        providers::{
            ArenaGrowth, ConvolutionSearch, CudaOptions, Execution, PluginOptions, Preload, ProviderOptions,
            TensorrtOptions,
        },
    },
    model::graph::{OutputSpec, Signature},
    protocol::cast::{ElementType, TensorSpec},
    text,
};

/// Length of a plugin's name at most: the binding has room for no longer one.
const MAX_NAME: usize = 100;
/// Characters of a message of the runtime at most.
const LONGEST_MESSAGE: usize = 500;

/// Makes the provider of a device ready for sessions in this process, once or again; the name of a plugin's provider. What
/// `preload` names is loaded, so a process that is to open no files afterwards can.
///
/// # Errors
/// What is missing or wrong, in one line.
pub(in crate::engine) fn load(
    runtime: &Runtime,
    device: Device,
    execution: &Execution,
) -> Result<Option<String>, String> {
    preload(&execution.preload)?;
    match device {
        Device::Cpu | Device::Judge => Ok(None),
        Device::Cuda(_) => is_built_with(runtime, "CUDA", CUDA::is_available()),
        Device::Tensorrt(_) => {
            if let Some(cache) = &execution.options.tensorrt.cache {
                let unusable =
                    |error| format!("engine.tensorrt.cache: {}: {error}; name another folder", cache.display());
                folder::make_private(cache).map_err(unusable)?;
            }
            is_built_with(runtime, "TensorRT", TensorRT::is_available())
        }
        Device::Plugin(_) => register(runtime, &execution.options.plugin).map(Some),
    }
}

fn is_built_with(runtime: &Runtime, name: &str, available: ort::Result<bool>) -> Result<Option<String>, String> {
    match available {
        Ok(true) => Ok(None),
        _ => Err(format!("{} was built without {name}", runtime.library.path.display())),
    }
}

/// Loads libraries, so that those who ask for them by name find them loaded. They stay loaded.
fn preload(libraries: &[Preload]) -> Result<(), String> {
    let load = |library: &Preload| {
        ort::util::preload_dylib(library.path.as_path()).map_err(|error| runtime::loader_said(&error))
    };
    let mut left: Vec<&Preload> = libraries.iter().collect();
    loop {
        let failed: Vec<_> = left.iter().filter_map(|library| Some((*library, load(library).err()?))).collect();
        if failed.len() == left.len() {
            let reason =
                failed.iter().find(|(library, _)| library.is_required).map(|(_, reason)| text::one_line(reason));
            return reason.map_or(Ok(()), Err);
        }
        // One may need another that came later.
        left = failed.into_iter().map(|(library, _)| library).collect();
    }
}

/// Names of the providers in libraries that are registered: a process can register each once only.
static REGISTERED: Mutex<BTreeMap<PathBuf, BTreeSet<String>>> = Mutex::new(BTreeMap::new());

/// Registers a plugin's library; the name of its provider.
fn register(runtime: &Runtime, plugin: &PluginOptions) -> Result<String, String> {
    let path = plugin.library.as_deref().ok_or("no library is named: write engine.plugin.library")?;
    let shown = path.display();
    let found = path.canonicalize().map_err(|error| format!("{shown}: {error}; correct engine.plugin.library"))?;
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    let names = match registered.get(&found) {
        Some(names) => names.clone(),
        None => {
            let before = names(runtime);
            let name = found.file_stem().map_or_else(|| "plugin".into(), |name| name.to_string_lossy());
            runtime.environment.register_ep_library(name, &found).map_err(|error| not_a_plugin(path, &error))?;
            let new = names(runtime).difference(&before).cloned().collect::<BTreeSet<_>>();
            registered.insert(found, new.clone());
            new
        }
    };
    let listed = || names.iter().map(|name| text::shown(name)).collect::<Vec<_>>().join(", ");
    match (&plugin.name, names.first()) {
        (_, None) => Err(format!("{shown} offers no device on this machine")),
        (Some(name), _) if names.contains(name) => Ok(name.clone()),
        (Some(name), _) => Err(format!(
            "{shown} has no provider `{}`: write one of {} into engine.plugin.name (--plugin-name)",
            text::shown(name),
            listed()
        )),
        (None, Some(name)) if names.len() == 1 => Ok(name.clone()),
        (None, _) => Err(format!(
            "{shown} has several providers: write one of {} into engine.plugin.name (--plugin-name)",
            listed()
        )),
    }
}

fn not_a_plugin(path: &Path, error: &ort::Error) -> String {
    let told = text::cut(error.message(), LONGEST_MESSAGE);
    format!("{} is no provider's library for this ONNX Runtime: {}", path.display(), text::one_line(&told))
}

/// Names of the providers that have devices.
fn names(runtime: &Runtime) -> BTreeSet<String> {
    let names = runtime.environment.devices().filter_map(|device| Some(device.ep().ok()?.to_owned()));
    names.filter(|name| name.len() <= MAX_NAME).collect()
}

/// Refuses a model that would bring a provider down. A plugin is given no strings: one was seen to take them for numbers, and the
/// process ended.
///
/// # Errors
/// `LoadError::Session` with the reason.
pub(in crate::engine) fn check(device: Device, signature: &Signature) -> Result<(), LoadError> {
    let outputs = signature.outputs.iter().filter_map(|output| match output {
        OutputSpec::Tensor(spec) => Some(spec),
        OutputSpec::Other { .. } => None,
    });
    let is_text = |spec: &&TensorSpec| spec.element == ElementType::String;
    match signature.inputs.iter().chain(outputs).find(is_text) {
        Some(spec) if matches!(device, Device::Plugin(_)) => {
            let reason =
                format!("`{}` holds strings, which a provider that is a plugin is not given", text::shown(&spec.name));
            Err(LoadError::Session(reason))
        }
        _ => Ok(()),
    }
}

/// Has a session run on a device. What that does not take is an error, unless the processor may run it.
pub(super) fn place(
    builder: SessionBuilder,
    runtime: &Runtime,
    device: Device,
    execution: &Execution,
) -> Result<SessionBuilder, ort::Error> {
    let ProviderOptions { cuda: cuda_options, tensorrt: tensorrt_options, plugin } = &execution.options;
    if matches!(device, Device::Cpu | Device::Judge) {
        return Ok(builder);
    }
    let builder = if execution.partial { builder } else { builder.with_disable_cpu_fallback()? };
    Ok(match device {
        Device::Cpu | Device::Judge => builder,
        Device::Cuda(number) => builder.with_execution_providers([cuda(number, cuda_options)])?,
        Device::Tensorrt(number) => {
            builder.with_execution_providers([tensorrt(number, tensorrt_options), cuda(number, cuda_options)])?
        }
        Device::Plugin(number) => {
            let name = plugin.name.as_deref().unwrap_or_default();
            let of_provider =
                runtime.environment.devices().filter(|device| device.ep().is_ok_and(|found| found == name));
            let Some(device) = of_provider.into_iter().nth(number as usize) else {
                return Err(ort::Error::new(format!("{name} has no device {number}")));
            };
            let options: Vec<_> =
                plugin.options.iter().map(|(key, value)| (format!("{name}.{key}"), value.clone())).collect();
            builder.with_devices([device], Some(&options))?
        }
    })
}

/// CUDA with what makes its results the same every time: no TF32, and no algorithm that was chosen by its time.
fn cuda(number: u32, options: &CudaOptions) -> ExecutionProviderDispatch {
    let cuda = CUDA::default()
        .with_device_id(device_id(number))
        .with_tf32(false)
        .with_conv_algorithm_search(match options.convolution {
            ConvolutionSearch::Default => ConvAlgorithmSearch::Default,
            ConvolutionSearch::Heuristic => ConvAlgorithmSearch::Heuristic,
        })
        .with_arena_extend_strategy(match options.arena {
            ArenaGrowth::Doubling => ArenaExtendStrategy::NextPowerOfTwo,
            ArenaGrowth::Exact => ArenaExtendStrategy::SameAsRequested,
        });
    let cuda = match options.memory_limit {
        Some(bytes) => cuda.with_memory_limit(usize::try_from(bytes).unwrap_or(usize::MAX)),
        None => cuda,
    };
    cuda.build().error_on_failure()
}

/// TensorRT. It chooses kernels by timing them when it builds an engine; with a cache every session of this machine has the same.
fn tensorrt(number: u32, options: &TensorrtOptions) -> ExecutionProviderDispatch {
    let tensorrt = TensorRT::default()
        .with_device_id(device_id(number))
        .with_fp16(options.fp16)
        .with_bf16(false)
        .with_int8(false)
        .with_sparsity(false)
        .with_force_sequential_engine_build(true);
    let tensorrt = match &options.cache {
        Some(folder) => tensorrt
            .with_engine_cache(true)
            .with_engine_cache_path(folder.display())
            .with_timing_cache(true)
            .with_timing_cache_path(folder.display()),
        None => tensorrt,
    };
    let tensorrt = match options.workspace {
        Some(bytes) => tensorrt.with_max_workspace_size(usize::try_from(bytes).unwrap_or(usize::MAX)),
        None => tensorrt,
    };
    tensorrt.build().error_on_failure()
}

fn device_id(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{libraries::tests::make, providers::ProviderOptions};

    fn library(path: PathBuf, is_required: bool) -> Preload {
        Preload { path, is_required }
    }

    #[test]
    fn libraries_are_loaded_in_whichever_order_they_need_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| folder.path().join(name);
        // Neither lies where the loader looks.
        make(&of("liboraculumtesta.so.1"), &["liboraculumtestb.so.1"]);
        make(&of("liboraculumtestb.so.1"), &[]);
        let (a, b) = (library(of("liboraculumtesta.so.1"), true), library(of("liboraculumtestb.so.1"), false));
        let error = preload(std::slice::from_ref(&a)).unwrap_err();
        assert!(error.contains("liboraculumtestb.so.1") && error.lines().count() == 1, "{error}");
        preload(&[a, b]).unwrap();
    }

    #[test]
    fn only_a_library_that_is_required_must_be_there() {
        preload(&[library("liboraculumnowhere.so.1".into(), false)]).unwrap();
        let error = preload(&[library("liboraculumnowhere.so.1".into(), true)]).unwrap_err();
        assert!(error.contains("liboraculumnowhere.so.1"), "{error}");
    }

    #[test]
    fn a_folder_of_tensorrts_that_cannot_be_one_is_named() {
        let runtime = runtime::Library::find(None).unwrap().load().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut options = ProviderOptions::default();
        options.tensorrt.cache = Some(file.path().to_owned());
        let execution = Execution { options, ..Execution::default() };
        let error = load(runtime, Device::Tensorrt(0), &execution).unwrap_err();
        assert!(error.starts_with("engine.tensorrt.cache: ") && error.contains("name another folder"), "{error}");
    }

    #[test]
    fn what_the_processor_runs_needs_nothing() {
        let runtime = runtime::Library::find(None).unwrap().load().unwrap();
        assert_eq!(load(runtime, Device::Cpu, &Execution::default()), Ok(None));
    }
}
