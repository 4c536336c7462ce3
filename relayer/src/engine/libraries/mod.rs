//! The shared libraries that a provider needs: which they are, and where this machine has them. Nothing is loaded here.
//!
//! ONNX Runtime links its CUDA provider to some of them, and opens others when a model first needs them, which is long after the
//! start. Both kinds are looked for, so that what is missing is named at the start.

mod driver;
mod elf;
mod loader_cache;
mod search;

use std::{
    fs,
    path::{Path, PathBuf},
};

use self::search::Search;
pub use self::{
    driver::{Driver, Gpu},
    search::Found,
};
use super::providers::{Preload, Provider};

/// A library that a provider needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Part of an installation that it belongs to, as people call it.
    pub part: &'static str,
    /// Name by which it is opened.
    pub name: String,
    /// Where it is.
    pub found: Option<Found>,
    /// When it is opened.
    pub opened: Opened,
    /// What to do where it is not found.
    pub remedy: String,
}

/// When a library is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// With the provider, which does not start without it.
    AtOnce,
    /// When a model needs it, which then fails without it.
    Later,
    /// If it is there.
    Perhaps,
}

/// What a provider needs of this machine.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The provider's own libraries, then those that they need, in the order in which they can be loaded.
    pub libraries: Vec<Library>,
    /// Major version of CUDA that the provider was built for, if it was.
    pub cuda: Option<u32>,
    /// Parts of libraries, which these open by themselves.
    parts: Vec<PathBuf>,
}

impl Needs {
    /// What a provider of the runtime at a path needs; of a plugin, what its library does.
    #[must_use]
    pub fn of(provider: Provider, runtime: &Path, plugin: Option<&Path>) -> Self {
        let beside = |name: &str| Library::own(name, runtime.with_file_name(name), own_remedy(runtime));
        let own = match provider {
            Provider::Cpu => return Self::default(),
            Provider::Cuda | Provider::Auto => vec![beside(SHARED), beside(CUDA)],
            Provider::Tensorrt => vec![beside(SHARED), beside(CUDA), beside(TENSORRT)],
            Provider::Plugin => {
                let Some(path) = plugin else { return Self::default() };
                let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
                vec![Library::own(&name, path.to_owned(), PLUGIN_REMEDY.to_owned())]
            }
        };
        let mut search =
            Search::of(Some(if provider == Provider::Plugin { plugin.unwrap_or(runtime) } else { runtime }));
        let mut linked = Vec::new();
        for path in own.iter().filter_map(|library| Some(&library.found.as_ref()?.path)) {
            let Ok(elf::Linked { needed, folders }) = elf::linked(path) else { continue };
            linked.extend(needed);
            search = search.with_folders_of(path, &folders);
        }
        let cuda = linked.iter().find_map(|name| name.strip_prefix("libcudart.so.")?.parse().ok());
        let mut libraries: Vec<_> = linked
            .into_iter()
            .filter(|name| !is_of_the_system(name) && !own.iter().any(|own| own.name == *name))
            .map(|name| (name, Opened::AtOnce))
            .chain(opened_later(provider, cuda))
            .map(|(name, opened)| {
                let (part, remedy) = (part_of(&name), remedy(&name, cuda));
                Library { part, found: search.find(&name), name, opened, remedy }
            })
            .collect();
        libraries.sort_by_key(|library| (rank(&library.name), library.name.clone()));
        libraries.dedup_by(|later, first| later.name == first.name);
        let parts =
            libraries.iter().filter_map(|library| Some(&library.found.as_ref()?.path)).flat_map(|path| parts(path));
        let parts = parts.collect();
        Self { libraries: own.into_iter().chain(libraries).collect(), cuda, parts }
    }

    /// Required libraries that were not found.
    pub fn missing(&self) -> impl Iterator<Item = &Library> {
        self.libraries.iter().filter(|library| library.opened != Opened::Perhaps && library.found.is_none())
    }

    /// What is missing, and what to do, in one line; `None` where nothing is.
    #[must_use]
    pub fn told(&self) -> Option<String> {
        let names: Vec<_> = self.missing().map(|library| library.name.as_str()).collect();
        let mut remedies: Vec<_> = self.missing().map(|library| library.remedy.as_str()).collect();
        remedies.dedup();
        let last = names.len().checked_sub(1)?;
        let verb = if last == 0 { "is" } else { "are" };
        Some(format!("{} {verb} missing; {}", names.join(", "), remedies.join("; ")))
    }

    /// Libraries to load before the provider's: the system's loader would not find all of them.
    pub(super) fn preload(&self) -> Vec<Preload> {
        let of = |library: &Library| {
            // The driver's is the system's own.
            if library.part == PROVIDER || library.name == DRIVER {
                return None;
            }
            let is_required = library.opened == Opened::Later;
            match &library.found {
                Some(found) => Some(Preload { path: found.path.clone(), is_required }),
                // The loader may know better, and of those that the provider is linked to it will tell.
                None => is_required.then(|| Preload { path: library.name.clone().into(), is_required }),
            }
        };
        let parts = self.parts.iter().map(|path| Preload { path: path.clone(), is_required: false });
        self.libraries.iter().filter_map(of).chain(parts).collect()
    }
}

impl Library {
    /// A library of a provider's own.
    fn own(name: &str, path: PathBuf, remedy: String) -> Self {
        let found = path.is_file().then_some(Found { path, version: None });
        Self { part: PROVIDER, name: name.to_owned(), found, opened: Opened::AtOnce, remedy }
    }
}

fn own_remedy(runtime: &Path) -> String {
    let runtime = runtime.display();
    format!(
        "{runtime} is no build for it: install one with `scripts/gpu-runtime`, and name it with engine.runtime or ORT_DYLIB_PATH"
    )
}

const PROVIDER: &str = "provider library";
const SHARED: &str = "libonnxruntime_providers_shared.so";
const CUDA: &str = "libonnxruntime_providers_cuda.so";
const TENSORRT: &str = "libonnxruntime_providers_tensorrt.so";
const DRIVER: &str = "libcuda.so.1";
const PLUGIN_REMEDY: &str = "name the library with engine.plugin.library";

/// Libraries that CUDA's provider opens when a model needs them.
fn opened_later(provider: Provider, cuda: Option<u32>) -> Vec<(String, Opened)> {
    let Some(cuda) = cuda else { return Vec::new() };
    let mut names = Vec::new();
    if provider != Provider::Plugin {
        // cuFFT counts its versions in its own way.
        let fft = format!("libcufft.so.{}", cuda.saturating_sub(1));
        names.extend(["libcudnn.so.9".to_owned(), fft].map(|name| (name, Opened::Later)));
    }
    names.extend(["nvrtc", "nvJitLink"].map(|name| (format!("lib{name}.so.{cuda}"), Opened::Perhaps)));
    names
}

/// Libraries in the order in which they can be loaded, with their parts of an installation.
const PARTS: [(&str, &str); 12] = [
    (DRIVER, "NVIDIA driver"),
    ("libcudart.", "CUDA runtime"),
    ("libnvJitLink.", "CUDA linker"),
    ("libnvrtc.", "CUDA compiler"),
    ("libcublasLt.", "cuBLAS"),
    ("libcublas.", "cuBLAS"),
    ("libcurand.", "cuRAND"),
    ("libcufft.", "cuFFT"),
    ("libcudnn", "cuDNN"),
    ("libnvinfer.", "TensorRT"),
    ("libnvinfer", "TensorRT"),
    ("libnvonnxparser.", "TensorRT"),
];

fn rank(name: &str) -> usize {
    PARTS.iter().position(|(start, _)| name.starts_with(start)).unwrap_or(PARTS.len())
}

fn part_of(name: &str) -> &'static str {
    PARTS.get(rank(name)).map_or("library", |(_, part)| part)
}

/// Libraries that every system with this program has.
fn is_of_the_system(name: &str) -> bool {
    const NAMES: [&str; 8] =
        ["libc.", "libm.", "libdl.", "librt.", "libpthread.", "libstdc++.", "libgcc_s.", "ld-linux"];
    NAMES.iter().any(|start| name.starts_with(start))
}

fn remedy(name: &str, cuda: Option<u32>) -> String {
    match part_of(name) {
        "NVIDIA driver" => {
            let least = cuda.and_then(least_driver).map_or_else(String::new, |least| format!(", {least} or later"));
            format!("install NVIDIA's driver{least}")
        }
        "TensorRT" => {
            format!("install TensorRT {} and name its folder in LD_LIBRARY_PATH", name.rsplit('.').next().unwrap_or(""))
        }
        "library" => "install it, or name its folder in LD_LIBRARY_PATH".to_owned(),
        _ => {
            let version = cuda.map_or_else(String::new, |cuda| format!(" of CUDA {cuda}"));
            format!(
                "install the libraries{version} with `scripts/gpu-runtime`, or name their folder in LD_LIBRARY_PATH"
            )
        }
    }
}

/// The least driver's version that runs a major version of CUDA.
pub(super) fn least_driver(cuda: u32) -> Option<u32> {
    match cuda {
        12 => Some(525),
        13 => Some(580),
        _ => None,
    }
}

/// Libraries beside one that it opens by itself, such as those of cuDNN.
fn parts(library: &Path) -> Vec<PathBuf> {
    let Some(name) = library.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let start = match part_of(name) {
        "cuDNN" => "libcudnn_",
        "CUDA compiler" => "libnvrtc-builtins.",
        _ => return Vec::new(),
    };
    let version = name.split_once(".so").map_or("", |(_, version)| version);
    let entries = library.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_part = |name: &String| {
        name.starts_with(start) && name.split_once(".so").is_some_and(|(_, of)| of.starts_with(version))
    };
    let mut parts: Vec<_> = names.filter(is_part).map(|name| library.with_file_name(name)).collect();
    parts.sort();
    parts
}

#[cfg(test)]
pub(super) mod tests;
