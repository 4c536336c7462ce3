//! ONNX Runtime as a shared library: found by the node, and loaded by the processes that run models with it.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::text;

/// The oldest runtime that can be loaded is 1.`MIN_MINOR`.
pub const MIN_MINOR: u32 = ort::MINOR_VERSION;

const REMEDY: &str = "install it with `./scripts/setup`, or name the library with --runtime or ORT_DYLIB_PATH";

/// The runtime's library, which is not loaded yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Path, without links.
    pub path: PathBuf,
    /// Version, such as `1.30.0`.
    pub version: String,
}

/// The loaded runtime. There is one per process, and it stays until the process ends.
#[derive(Debug)]
pub struct Runtime {
    pub(in crate::engine::backends::ort) environment: ort::environment::Environment,
    /// Library that it was loaded from.
    pub library: Library,
}

/// Reason for which there is no runtime.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum RuntimeError {
    #[error("ONNX Runtime was not found: {REMEDY}")]
    NotFound,
    #[error("there is no file {}: {REMEDY}", path.display())]
    NoFile { path: PathBuf },
    #[error("{} is not ONNX Runtime ({reason}): {REMEDY}", path.display())]
    NotARuntime { path: PathBuf, reason: String },
    #[error("{} is ONNX Runtime {version}, but 1.{MIN_MINOR} or later is needed: {REMEDY}", path.display())]
    TooOld { path: PathBuf, version: String },
    #[error("{} does not start: {reason}", path.display())]
    Start { path: PathBuf, reason: String },
    #[error("{} is loaded already, and a process cannot load {} as well", loaded.display(), asked.display())]
    AnotherIsLoaded { loaded: PathBuf, asked: PathBuf },
}

static LOADED: Mutex<Option<&'static Runtime>> = Mutex::new(None);

impl Library {
    /// The library at `path`, or else the one that `discover` finds.
    ///
    /// # Errors
    /// `RuntimeError::NotFound` or `NoFile` where there is none, `NotARuntime` or `TooOld` where it cannot be used.
    pub fn find(path: Option<&Path>) -> Result<Self, RuntimeError> {
        let path = match path {
            Some(path) => path.to_path_buf(),
            None => discover()?,
        };
        let path = path.canonicalize().map_err(|_| RuntimeError::NoFile { path })?;
        let version = version_of(&path)?;
        if !is_recent(&version) {
            return Err(RuntimeError::TooOld { path, version });
        }
        Ok(Self { path, version })
    }

    /// Loads the runtime. Loading it again returns the same.
    ///
    /// # Errors
    /// `RuntimeError::NotARuntime` or `Start` where it cannot be used, and `AnotherIsLoaded` where the process has loaded another
    /// one before.
    pub fn load(&self) -> Result<&'static Runtime, RuntimeError> {
        let path = &self.path;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = *loaded {
            return if runtime.library.path == *path {
                Ok(runtime)
            } else {
                let loaded = runtime.library.path.clone();
                Err(RuntimeError::AnotherIsLoaded { loaded, asked: path.clone() })
            };
        }
        let environment = ort::init_from(path)
            .map_err(|error| RuntimeError::NotARuntime { path: path.clone(), reason: error.to_string() })?
            .with_name("oraculum")
            .with_telemetry(false)
            .build()
            .map_err(|error| RuntimeError::Start { path: path.clone(), reason: error.to_string() })?;
        // Whatever goes wrong comes back as an error, so the library need not write to standard error as well.
        environment.set_log_level(ort::logging::LogLevel::Fatal);
        let runtime: &'static Runtime = Box::leak(Box::new(Runtime { environment, library: self.clone() }));
        *loaded = Some(runtime);
        Ok(runtime)
    }
}

/// Finds the runtime: `ORT_DYLIB_PATH`, else beside the executable, else the package that `./scripts/setup` installs, in a
/// folder above the executable or above the working directory.
///
/// # Errors
/// `RuntimeError::NotFound`.
pub fn discover() -> Result<PathBuf, RuntimeError> {
    if let Some(path) = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let executable = env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    let beside = executable.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    let above = |path: &Path| path.ancestors().map(|folder| folder.join(package_folder())).collect::<Vec<_>>();
    let folders = beside
        .into_iter()
        .chain(executable.as_deref().map(above).unwrap_or_default())
        .chain(env::current_dir().ok().as_deref().map(above).unwrap_or_default());
    folders.into_iter().find_map(|folder| library_in(&folder)).ok_or(RuntimeError::NotFound)
}

/// Folder in which npm's package `onnxruntime-node` keeps the library of this platform.
fn package_folder() -> PathBuf {
    let system = match env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    };
    let machine = match env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    Path::new("node_modules/onnxruntime-node/bin/napi-v6").join(system).join(machine)
}

fn library_in(folder: &Path) -> Option<PathBuf> {
    let is_library = |name: &str| match env::consts::OS {
        "windows" => name == "onnxruntime.dll",
        "macos" => name.starts_with("libonnxruntime.") && name.ends_with(".dylib"),
        _ => name == "libonnxruntime.so" || name.starts_with("libonnxruntime.so."),
    };
    let entries = folder.read_dir().ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| is_library(name)).min().map(|name| folder.join(name))
}

fn is_recent(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(1), Some(minor)) => minor >= MIN_MINOR,
        (Some(major), Some(_)) => major > 1,
        _ => false,
    }
}

/// What the system's loader says of a library, in one line; the binding's error tells it as its cause.
pub(super) fn loader_said(error: &libloading::Error) -> String {
    let said = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    text::one_line(&said)
}

/// Asks a library for its version before the binding does, which would panic where there is none.
#[allow(unsafe_code, reason = "a C library says its version only by a call")]
fn version_of(path: &Path) -> Result<String, RuntimeError> {
    let not_a_runtime = |reason: String| RuntimeError::NotARuntime { path: path.to_path_buf(), reason };
    // SAFETY: loading runs the library's own initialisers; the operator chose the file, and the binding is about to do
    // the same.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| not_a_runtime(loader_said(&error)))?;
    // SAFETY: this is the signature of ONNX Runtime's entry point in every version.
    let entry = unsafe { library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase") }
        .map_err(|error| not_a_runtime(loader_said(&error)))?;
    // SAFETY: the entry point takes nothing, and answers null or a table that lives as long as the library.
    let version = unsafe { entry().as_ref().map(|base| (base.GetVersionString)()) };
    let version = version.filter(|text| !text.is_null()).ok_or_else(|| not_a_runtime("it has no version".into()))?;
    // SAFETY: not null, and a C string within the library, which is still loaded.
    Ok(unsafe { std::ffi::CStr::from_ptr(version) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
