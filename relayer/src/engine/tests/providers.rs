//! Hardware that is asked for and cannot be used ends the start with one line that names what is missing; with the real runtime,
//! which has no provider but the processor's.

use std::sync::atomic::Ordering;

use super::{sessions::Scripted, *};
use crate::engine::{devices::Devices, homes::Native};

async fn refused(provider: Provider, providers: ProviderOptions) -> String {
    let options = EngineOptions { provider, providers, ..EngineOptions::default() };
    let Err(error) = OnnxEngine::start(options).await else { panic!("{provider} can be used") };
    assert!(matches!(error, StartError::Device { .. }), "{error}");
    let told = error.to_string();
    assert!(told.lines().count() == 1 && told.contains("provider `cpu`"), "{told}");
    told
}

fn plugin(library: &Path) -> ProviderOptions {
    let plugin = PluginOptions { library: Some(library.to_owned()), ..PluginOptions::default() };
    ProviderOptions { plugin, ..ProviderOptions::default() }
}

/// Whether the runtime of this machine is a GPU build, with which other tests are made.
fn is_a_gpu_build() -> bool {
    let runtime = runtime::Library::find(None).unwrap();
    let has = runtime.path.with_file_name("libonnxruntime_providers_cuda.so").exists();
    if has {
        eprintln!("skipped: {} comes with CUDA", runtime.path.display());
    }
    has
}

#[tokio::test]
async fn a_runtime_without_the_provider_is_named_with_what_to_install() {
    if is_a_gpu_build() {
        return;
    }
    let library = runtime::Library::find(None).unwrap();
    let runtime = library.path.display();
    for (provider, device, library) in [
        (Provider::Cuda, "cuda:0", "libonnxruntime_providers_cuda.so"),
        (Provider::Tensorrt, "tensorrt:0", "libonnxruntime_providers_tensorrt.so"),
    ] {
        let told = refused(provider, ProviderOptions::default()).await;
        assert!(told.starts_with(&format!("{device} cannot be used: ")) && told.contains(library), "{told}");
        assert!(
            told.contains(&format!("{runtime} is no build for it")) && told.contains("scripts/gpu-runtime"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_plugin_that_cannot_be_one_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    let missing = folder.path().join("missing.so");
    let told = refused(Provider::Plugin, plugin(&missing)).await;
    assert!(told.contains("missing.so is missing; name the library with engine.plugin.library"), "{told}");
    let told = refused(Provider::Plugin, plugin(&text)).await;
    assert!(told.contains("text.so is no provider's library for this ONNX Runtime: "), "{told}");
    // A library of another kind: the runtime's own.
    let runtime = &runtime::Library::find(None).unwrap().path;
    let told = refused(Provider::Plugin, plugin(runtime)).await;
    assert!(told.contains("is no provider's library") && told.contains("CreateEpFactories"), "{told}");
    let told = refused(Provider::Plugin, ProviderOptions::default()).await;
    assert!(told.contains("no library is named: write engine.plugin.library"), "{told}");
}

#[tokio::test]
async fn a_library_that_a_plugin_is_linked_to_and_nobody_has_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libplugin.so");
    libraries::tests::make(&library, &["libnowhere.so.3"]);
    let told = refused(Provider::Plugin, plugin(&library)).await;
    assert!(told.contains("plugin:0 cannot be used: libnowhere.so.3 is missing; install it"), "{told}");
}

#[tokio::test]
async fn without_a_gpu_auto_runs_on_the_processor_and_says_so() {
    if is_a_gpu_build() {
        return;
    }
    let engine = start(Provider::Auto).await;
    let iris = bare(&engine, std::fs::read(models_folder().join("iris/model.onnx")).unwrap()).await;
    let model = engine.model(iris).unwrap();
    assert_eq!((model.fallback, model.partial, model.place()), (true, false, "cpu".to_owned()));
    let input = pack(&[Tensor::f32(vec![1, 4], &[5.1, 3.5, 1.4, 0.2]).unwrap()]);
    let profile = engine.run(iris, input, NATIVE).await.unwrap().profile;
    assert!(profile.provider_fallback && profile.device == Device::Cpu);
    let none = EngineOptions { provider: Provider::Auto, devices: vec![], ..EngineOptions::default() };
    assert!(matches!(OnnxEngine::start(none).await, Err(StartError::NoDevice)));
}

/// Loads a model with a scripted backend, on a GPU of which the first loads fail.
async fn loaded(failing: usize, partial: bool, may_fall_back: bool) -> Result<(String, bool, bool), LoadError> {
    let backend = Arc::new(Scripted::default());
    backend.script.failing_loads.store(failing, Ordering::Relaxed);
    let devices = Devices { preferred: vec![Device::Cuda(0)], may_fall_back, ..Devices::processor() };
    let partial = partial.then(|| backend.clone() as Arc<dyn backend::Backend>);
    let native = Native { backend, partial, runtime: "1.30.0".into(), devices };
    let engine = OnnxEngine::over(native, EngineOptions::default());
    let file = std::fs::read(models_folder().join("iris/model.onnx")).unwrap();
    let model = engine.load(in_memory(file)).await?;
    Ok((model.place(), model.partial, model.fallback))
}

#[tokio::test]
async fn a_model_runs_elsewhere_only_where_that_is_allowed_and_then_says_so() {
    let told = |place: &str, partial, fallback| Ok((place.to_owned(), partial, fallback));
    for (failing, partial, may_fall_back, expected) in [
        (0, true, true, told("cuda:0", false, false)),
        (1, true, true, told("cuda:0+cpu", true, false)),
        (2, true, true, told("cpu", false, true)),
        (1, false, true, told("cpu", false, true)),
        (1, true, false, told("cuda:0+cpu", true, false)),
        (1, false, false, Err(())),
        (2, true, false, Err(())),
    ] {
        let found = loaded(failing, partial, may_fall_back).await.map_err(drop);
        assert_eq!(found, expected, "{failing} {partial} {may_fall_back}");
    }
}

#[test]
fn a_plugin_is_given_no_strings() {
    let inspect = |name: &str| graph_of(&models_folder().join(name));
    let (strings, numbers) = (inspect("bad/no-batch.onnx"), inspect("iris/model.onnx"));
    let check = backends::ort::providers::check;
    let error = check(Device::Plugin(0), &strings).unwrap_err().to_string();
    assert!(error.contains("`text` holds strings"), "{error}");
    assert!(check(Device::Plugin(0), &numbers).is_ok() && check(Device::Cuda(0), &strings).is_ok());
}

fn graph_of(path: &Path) -> crate::model::graph::Signature {
    crate::model::graph::inspect(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_profile_names_the_place_and_the_options_that_change_bits() {
    let profile = ExecutionProfile {
        file_hash: B256::ZERO,
        runtime: "1.31.1".into(),
        device: Device::Tensorrt(1),
        provider_fallback: false,
        partial: true,
        options: ";fp16=true".into(),
    };
    let settings = "intra_op=1;inter_op=1;execution=sequential;optimization=basic";
    assert_eq!(profile.to_string(), format!("onnxruntime=1.31.1;provider=tensorrt:1+cpu;{settings};fp16=true"));
}
