//! Which libraries a provider needs, by real files of libraries: small ones that the C compiler makes.

use std::process::Command;

use super::*;

/// Makes a library that is linked to others by their names.
pub(in crate::engine) fn make(path: &Path, needs: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let own = format!("-Wl,-soname,{}", path.file_name().unwrap().display());
    let mut arguments = vec!["-nostdlib".to_owned(), "-Wl,--no-as-needed".to_owned(), own];
    for name in needs {
        let stub = folder.path().join(name);
        link(&stub, &[format!("-Wl,-soname,{name}")]);
        arguments.push(stub.display().to_string());
    }
    link(path, &arguments);
}

fn link(path: &Path, arguments: &[String]) {
    let made = Command::new("cc")
        .args(["-x", "c", "/dev/null", "-x", "none", "-shared", "-o"])
        .arg(path)
        .args(arguments)
        .status()
        .unwrap();
    assert!(made.success(), "{}", path.display());
}

fn names(needs: &Needs) -> Vec<&str> {
    needs.libraries.iter().map(|library| library.name.as_str()).collect()
}

#[test]
fn cudas_provider_needs_what_it_is_linked_to_and_what_it_opens_later() {
    let root = tempfile::tempdir().unwrap();
    let runtime = root.path().join("onnxruntime/capi/libonnxruntime.so.1");
    make(&runtime.with_file_name(SHARED), &[]);
    make(&runtime.with_file_name(CUDA), &["libcublas.so.13", "libcudart.so.13", "libcublasLt.so.13", "libcuda.so.1"]);
    make(&root.path().join("nvidia/cu13/lib/libcudart.so.13"), &[]);
    let needs = Needs::of(Provider::Cuda, &runtime, None);
    let expected = [
        SHARED,
        CUDA,
        "libcuda.so.1",
        "libcudart.so.13",
        "libnvJitLink.so.13",
        "libnvrtc.so.13",
        "libcublasLt.so.13",
        "libcublas.so.13",
        "libcufft.so.12",
        "libcudnn.so.9",
    ];
    assert_eq!((names(&needs), needs.cuda), (expected.to_vec(), Some(13)));
    let told = needs.told().unwrap();
    assert!(
        told.starts_with(
            "libcuda.so.1, libcublasLt.so.13, libcublas.so.13, libcufft.so.12, libcudnn.so.9 are missing; "
        ) && told.contains("install NVIDIA's driver, 580 or later")
            && told.ends_with(
                "install the libraries of CUDA 13 with `scripts/gpu-runtime`, or name their folder in LD_LIBRARY_PATH"
            )
            && told.lines().count() == 1,
        "{told}"
    );
    let preload = needs.preload();
    // What is found is loaded from there; what is not is left to the loader, by its name if the provider is not linked to it.
    let later = |name: &str| Preload { path: name.into(), is_required: true };
    let found = Preload { path: root.path().join("nvidia/cu13/lib/libcudart.so.13"), is_required: false };
    assert_eq!(preload, [found, later("libcufft.so.12"), later("libcudnn.so.9")]);
}

#[test]
fn libraries_of_older_cuda_are_asked_for_by_their_own_names() {
    let root = tempfile::tempdir().unwrap();
    let runtime = root.path().join("libonnxruntime.so");
    make(&runtime.with_file_name(CUDA), &["libcudart.so.12"]);
    let needs = Needs::of(Provider::Cuda, &runtime, None);
    assert!(names(&needs).contains(&"libcufft.so.11") && names(&needs).contains(&"libnvrtc.so.12"), "{needs:?}");
    assert!(needs.told().unwrap().starts_with(SHARED), "{needs:?}");
}

#[test]
fn the_parts_of_cudnn_are_loaded_too() {
    let root = tempfile::tempdir().unwrap();
    let runtime = root.path().join("onnxruntime/capi/libonnxruntime.so.1");
    make(&runtime.with_file_name(CUDA), &["libcudart.so.13"]);
    let folder = root.path().join("nvidia/cudnn/lib");
    for name in ["libcudnn.so.9", "libcudnn_ops.so.9", "libcudnn_cnn.so.9", "libcudnn_ops.so.8"] {
        make(&folder.join(name), &[]);
    }
    let preload = Needs::of(Provider::Cuda, &runtime, None).preload();
    let last: Vec<_> = preload.iter().rev().take(2).map(|library| library.path.clone()).collect();
    assert_eq!(last, [folder.join("libcudnn_ops.so.9"), folder.join("libcudnn_cnn.so.9")]);
}

#[test]
fn a_plugin_needs_what_its_library_is_linked_to() {
    let root = tempfile::tempdir().unwrap();
    let plugin = root.path().join("libplugin.so");
    make(&plugin, &["libbeside.so.2", "libnowhere.so.3"]);
    make(&root.path().join("libbeside.so.2"), &[]);
    let needs = Needs::of(Provider::Plugin, Path::new("/none/libonnxruntime.so"), Some(&plugin));
    assert_eq!(names(&needs), ["libplugin.so", "libbeside.so.2", "libnowhere.so.3"]);
    assert_eq!(needs.told().unwrap(), "libnowhere.so.3 is missing; install it, or name its folder in LD_LIBRARY_PATH");
    let missing =
        Needs::of(Provider::Plugin, Path::new("/none/libonnxruntime.so"), Some(Path::new("/none/libplugin.so")));
    assert_eq!(missing.told().unwrap(), "libplugin.so is missing; name the library with engine.plugin.library");
}

#[test]
fn the_processor_needs_nothing_and_a_plain_runtime_has_no_provider() {
    assert!(Needs::of(Provider::Cpu, Path::new("/none"), None).libraries.is_empty());
    let needs = Needs::of(Provider::Tensorrt, Path::new("/none/libonnxruntime.so"), None);
    assert_eq!(names(&needs), [SHARED, CUDA, TENSORRT]);
    assert!(needs.told().unwrap().contains("/none/libonnxruntime.so is no build for it"));
}
