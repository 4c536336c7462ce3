//! Compiled code on disk, and whether it may be trusted.
//!
//! wasmtime's cache finds code by the hash of what it was compiled from, and runs what it finds: of eight files with one bit
//! changed it ran six. So the SHA-256 of each file stands beside it, and files without theirs are deleted before
//! wasmtime looks. This notices what disks and interrupted writes do; whoever can write to the folder can write both,
//! and must be kept from it by its permissions.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use wasmtime::{Cache, CacheConfig, Config, Engine, Module};

use crate::OpenError;

/// Where a judge's code comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeSource {
    /// It was compiled now.
    Compiled,
    /// It was taken from the folder.
    Cached,
    /// What the folder had was altered or incomplete: it was deleted, and the code compiled again.
    Recompiled,
}

/// Version of the compiler.
const WASMTIME: &str = "48.0.8";
/// Extension of files that hold the hash of the file beside them.
const HASH: &str = "sha256";
/// What wasmtime takes for a cleanup that another process has just done. Its own deletes all files that it does not know, which
/// are the lock and the hashes.
const CLEANED: &str = ".cleanup.wip-0";
/// Compression of code, in zstd's levels.
const COMPRESSION: i32 = 1;

/// Name of the folder for the code of a file, made by this compiler for a target: no other code comes into it.
pub(crate) fn name(wasm: &[u8], target: Option<&str>) -> String {
    let hash = Sha256::new().chain_update(wasm).chain_update(target.unwrap_or_default()).finalize();
    format!("wasmtime-{WASMTIME}-{}", &hex::encode(hash)[..16])
}

/// Takes the code from a folder, or compiles it and keeps it there, and says before that it will take long.
pub(crate) fn load(
    folder: &Path,
    config: &mut Config,
    wasm: &[u8],
    compiling: impl FnOnce(),
) -> Result<(Engine, Module, CodeSource), OpenError> {
    let unusable = |error: io::Error| OpenError::Cache { path: folder.to_owned(), reason: error.to_string() };
    let lock = lock_file(folder).map_err(unusable)?;
    // Processes that find the code ready take it side by side.
    lock.lock_shared().map_err(unusable)?;
    let ready = !code_files(folder).map_err(unusable)?.is_empty() && untrusted(folder).map_err(unusable)?.is_empty();
    if ready {
        let found = open(folder, config, wasm)?;
        if found.2 {
            return Ok((found.0, found.1, CodeSource::Cached));
        }
    }
    lock.unlock().map_err(unusable)?;
    // Of several that do not, one compiles and the others wait for it.
    lock.lock().map_err(unusable)?;
    let deleted = delete_untrusted(folder).map_err(unusable)?;
    if code_files(folder).map_err(unusable)?.is_empty() {
        compiling();
    }
    let (engine, module, hit) = open(folder, config, wasm)?;
    let source = match (hit, deleted) {
        (true, _) => CodeSource::Cached,
        (false, true) => CodeSource::Recompiled,
        (false, false) => CodeSource::Compiled,
    };
    if source != CodeSource::Cached {
        record_hashes(folder).map_err(unusable)?;
    }
    Ok((engine, module, source))
}

/// Opens the code with wasmtime's cache; tells whether it was there.
fn open(folder: &Path, config: &mut Config, wasm: &[u8]) -> Result<(Engine, Module, bool), OpenError> {
    let unusable = |reason: String| OpenError::Cache { path: folder.to_owned(), reason };
    let failed = |error: wasmtime::Error| OpenError::Compile(format!("{error:#}"));
    let mut settings = CacheConfig::new();
    settings
        // wasmtime takes no relative folder.
        .with_directory(std::path::absolute(folder).map_err(|error| unusable(error.to_string()))?)
        .with_baseline_compression_level(COMPRESSION)
        // No file is compressed anew behind our back, or deleted.
        .with_optimized_compression_level(COMPRESSION)
        .with_optimized_compression_usage_counter_threshold(u64::MAX)
        .with_cleanup_interval(Duration::from_secs(u32::MAX.into()))
        .with_files_total_size_soft_limit(u64::MAX / 128);
    let cache = Cache::new(settings).map_err(|error| unusable(format!("{error:#}")))?;
    config.cache(Some(cache.clone()));
    let engine = Engine::new(config).map_err(failed)?;
    let module = Module::new(&engine, wasm).map_err(failed)?;
    Ok((engine, module, cache.cache_hits() > 0))
}

/// What is recorded of the code in a folder, one line for each file.
pub(crate) fn records(folder: &Path) -> io::Result<Vec<String>> {
    code_files(folder)?.iter().map(|file| fs::read_to_string(file.with_extension(HASH))).collect()
}

/// Writes a file as a whole or not at all.
pub(crate) fn write_whole(path: &Path, content: &str) -> io::Result<()> {
    let unfinished = path.with_added_extension(std::process::id().to_string());
    fs::write(&unfinished, content)?;
    fs::rename(&unfinished, path)
}

fn lock_file(folder: &Path) -> io::Result<fs::File> {
    fs::create_dir_all(folder)?;
    // Made anew each time, it is never from the future of a clock that was set back.
    fs::File::create(folder.join(CLEANED))?;
    fs::File::create(folder.join("lock"))
}

/// Compiled code without its recorded hash.
fn untrusted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut untrusted = Vec::new();
    for file in code_files(folder)? {
        let trusted = match fs::read_to_string(file.with_extension(HASH)) {
            Ok(recorded) => recorded == hash_of(&file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !trusted {
            untrusted.push(file);
        }
    }
    Ok(untrusted)
}

/// Deletes all compiled code without its recorded hash; tells whether there was any.
fn delete_untrusted(folder: &Path) -> io::Result<bool> {
    let untrusted = untrusted(folder)?;
    for file in &untrusted {
        remove(file)?;
        remove(&file.with_extension(HASH))?;
    }
    for file in code_files(folder)? {
        // Left by a process that died while it wrote; it would keep wasmtime from writing.
        remove(&file.with_extension("wip-atomic-write-mod"))?;
    }
    Ok(!untrusted.is_empty())
}

/// Records the hash of each file of code that has none yet.
fn record_hashes(folder: &Path) -> io::Result<()> {
    for file in code_files(folder)? {
        let record = file.with_extension(HASH);
        if !record.exists() {
            write_whole(&record, &hash_of(&file)?)?;
        }
    }
    Ok(())
}

fn hash_of(file: &Path) -> io::Result<String> {
    Ok(hex::encode(Sha256::digest(fs::read(file)?)))
}

/// Files of compiled code: wasmtime gives their names no extension.
fn code_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let Some(compilers) = entries(&folder.join("modules"))? else { return Ok(files) };
    for compiler in compilers.into_iter().filter(|path| path.is_dir()) {
        files.extend(entries(&compiler)?.unwrap_or_default().into_iter().map(|file| file.with_extension("")));
    }
    files.sort();
    files.dedup();
    files.retain(|file| file.is_file());
    Ok(files)
}

fn entries(folder: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>().map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_with_its_recorded_hash_stays() {
        let folder = tempfile::tempdir().unwrap();
        let modules = folder.path().join("modules/wasmtime-1.2.3");
        fs::create_dir_all(&modules).unwrap();
        let files = ["a", "b", "c"].map(|name| modules.join(name));
        for file in &files {
            fs::write(file, file.to_string_lossy().as_bytes()).unwrap();
        }
        record_hashes(folder.path()).unwrap();
        assert!(!delete_untrusted(folder.path()).unwrap());

        // One byte changed, one hash lost, and a process that died while it wrote.
        fs::write(&files[0], "altered").unwrap();
        fs::remove_file(files[1].with_extension(HASH)).unwrap();
        fs::write(files[2].with_extension("wip-atomic-write-mod"), "half").unwrap();
        assert!(delete_untrusted(folder.path()).unwrap());
        let left = entries(&modules).unwrap().unwrap();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.contains(&files[2]) && left.contains(&files[2].with_extension(HASH)));
        assert!(!delete_untrusted(folder.path()).unwrap());
    }

    #[test]
    fn wasmtime_deletes_no_files_that_it_does_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let stranger = folder.path().join("stranger");
        fs::write(&stranger, "").unwrap();
        let (_, _, source) = load(folder.path(), &mut Config::new(), b"\0asm\x01\0\0\0", || ()).unwrap();
        assert_eq!(source, CodeSource::Compiled);
        // It would clean up after it has written the statistics of new code.
        let [code] = &code_files(folder.path()).unwrap()[..] else { panic!("other code than was compiled") };
        let statistics = code.with_added_extension("stats");
        for _ in 0..1_000 {
            if statistics.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(statistics.exists());
        std::thread::sleep(Duration::from_millis(300));
        assert!(stranger.exists() && folder.path().join("lock").exists());
    }

    #[test]
    fn the_folder_is_named_after_the_compiler_that_is_built_in() {
        let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock")).unwrap();
        assert!(lock.contains(&format!("name = \"wasmtime\"\nversion = \"{WASMTIME}\"\n")));
        assert_ne!(name(b"a", None), name(b"b", None));
        assert_ne!(name(b"a", None), name(b"a", Some("x86_64-unknown-linux-gnu")));
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_code() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!delete_untrusted(&folder.path().join("none")).unwrap());
    }
}
