//! Where the judge's file is, and where its compiled code is kept.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use crate::engine::backends::folder;

/// The judge's file in npm's package.
const PACKAGED: &str = "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm";
/// Variable that names the folder of what can be made again.
pub const JUDGE_CACHE_VARIABLE: &str = "ORACULUM_CACHE";
/// Its name beside the executable.
const FILE_NAME: &str = "ort-wasm-simd-threaded.wasm";

/// Files of the judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeFiles {
    /// The WebAssembly file, absolute.
    pub wasm: PathBuf,
    /// Folder of compiled code, absolute; only its owner can write to it.
    pub cache: PathBuf,
}

/// Reason for which the judge cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum JudgeFilesError {
    #[error(
        "the canonical judge was not found: install it with `./scripts/setup`, or name the file {FILE_NAME} of npm's \
         onnxruntime-web {} with --judge or ORACULUM_JUDGE",
        oraculum_judge::ONNX_RUNTIME
    )]
    NotFound,
    #[error("there is no file {}: name the file {FILE_NAME} of npm's onnxruntime-web {}", path.display(), oraculum_judge::ONNX_RUNTIME)]
    NoFile { path: PathBuf },
    #[error("there is no folder for the judge's compiled code: name one with ORACULUM_CACHE, or set HOME")]
    NoCache,
    #[error("the judge's compiled code cannot be kept in {}: {error}; or name another folder with ORACULUM_CACHE", path.display())]
    Cache { path: PathBuf, error: io::Error },
}

impl JudgeFiles {
    /// Finds the judge: `wasm`, else beside the executable, else the package that `./scripts/setup` installs, in a folder
    /// above the executable or above the working directory. Compiled code is kept in the user's folder of caches.
    ///
    /// # Errors
    /// Every variant of `JudgeFilesError`.
    pub fn find(wasm: Option<&Path>) -> Result<Self, JudgeFilesError> {
        let wasm = match wasm {
            Some(path) => path.canonicalize().map_err(|_| JudgeFilesError::NoFile { path: path.to_path_buf() })?,
            None => discover().ok_or(JudgeFilesError::NotFound)?,
        };
        let cache = cache_folder(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
            .ok_or(JudgeFilesError::NoCache)?;
        folder::make_private(&cache).map_err(|error| JudgeFilesError::Cache { path: cache.clone(), error })?;
        Ok(Self { wasm, cache })
    }
}

fn discover() -> Option<PathBuf> {
    let executable = env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    let beside = executable.as_deref().and_then(Path::parent).map(|folder| folder.join(FILE_NAME));
    let above = |path: &Path| path.ancestors().map(|folder| folder.join(PACKAGED)).collect::<Vec<_>>();
    let mut places = beside
        .into_iter()
        .chain(executable.as_deref().map(above).unwrap_or_default())
        .chain(env::current_dir().ok().as_deref().map(above).unwrap_or_default());
    places.find_map(|path| path.canonicalize().ok())
}

/// The folder of compiled code: a service manager's, else the user's.
fn cache_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let named = variable(JUDGE_CACHE_VARIABLE);
    // systemd names several folders with colons between.
    let service = variable("CACHE_DIRECTORY").filter(|path| !path.to_string_lossy().contains(':'));
    let user = || variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    let folder = named.or(service).or_else(|| user().map(|caches| caches.join("oraculum")))?;
    std::path::absolute(folder.join("judge")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_code_lies_where_the_environment_says() {
        let of = |set: &[(&str, &str)]| {
            let set: std::collections::HashMap<String, PathBuf> =
                set.iter().map(|(name, value)| ((*name).to_owned(), PathBuf::from(value))).collect();
            cache_folder(|name| set.get(name).cloned())
        };
        let home = ("HOME", "/home/runner");
        assert_eq!(of(&[home]), Some("/home/runner/.cache/oraculum/judge".into()));
        assert_eq!(of(&[home, ("XDG_CACHE_HOME", "/caches")]), Some("/caches/oraculum/judge".into()));
        assert_eq!(of(&[home, ("CACHE_DIRECTORY", "/var/cache/oraculum")]), Some("/var/cache/oraculum/judge".into()));
        assert_eq!(of(&[home, ("CACHE_DIRECTORY", "/a:/b")]), Some("/home/runner/.cache/oraculum/judge".into()));
        assert_eq!(of(&[home, ("ORACULUM_CACHE", "/mine")]), Some("/mine/judge".into()));
        assert_eq!(of(&[]), None);
    }
}
