//! The self-test, once for each code on each processor: the same code does the same there again.

use std::{fs, io, path::Path};

use sha2::{Digest, Sha256};

use crate::{Judge, OpenError, cache, judge::unshared, self_test};

/// File that says which code has passed the self-test on which processor.
const TESTED: &str = "tested";

impl Judge {
    /// Opens the judge as `open` does, and runs the self-test unless this very code has passed it on this very processor.
    /// `compiling` is called before the code is compiled.
    ///
    /// # Errors
    /// Every variant of `OpenError`.
    pub fn open_tested(wasm: &[u8], folder: &Path, compiling: impl FnOnce()) -> Result<Self, OpenError> {
        Self::tested(unshared(wasm)?, folder, compiling)
    }

    fn tested(wasm: Vec<u8>, folder: &Path, compiling: impl FnOnce()) -> Result<Self, OpenError> {
        let unusable = |error: io::Error| OpenError::Cache { path: folder.to_owned(), reason: error.to_string() };
        let of = folder.join(cache::name(&wasm, None));
        let judge = Self::compile(wasm, Some(folder), None, compiling)?;
        let (record, passing) = (of.join(TESTED), passing(&of).map_err(unusable)?);
        if fs::read_to_string(&record).ok().as_deref() != Some(&passing) {
            judge.self_test()?;
            cache::write_whole(&record, &passing).map_err(unusable)?;
        }
        Ok(judge)
    }
}

/// What the record says once the code in a folder has passed this self-test on this processor.
fn passing(folder: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash.update(self_test::DIGESTS);
    hash.update(processor());
    cache::records(folder)?.iter().for_each(|record| hash.update(record));
    Ok(hex::encode(hash.finalize()))
}

/// What the system says of the first processor: its model, its microcode and its instructions.
fn processor() -> String {
    const KEYS: [&str; 8] =
        ["vendor_id", "model name", "stepping", "microcode", "flags", "Features", "CPU part", "CPU revision"];
    let said = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let first = said.split("\n\n").next().unwrap_or_default().lines();
    let told =
        first.filter(|line| KEYS.iter().any(|key| line.split(':').next().is_some_and(|name| name.trim() == *key)));
    format!("{}\n{}", std::env::consts::ARCH, told.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SelfTestError, self_test::tests::wasm};

    #[test]
    fn a_pass_is_good_for_the_code_that_passed_only() {
        let folder = tempfile::tempdir().unwrap();
        let modules = folder.path().join("modules/wasmtime-1.2.3");
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("a"), "code").unwrap();
        fs::write(modules.join("a.sha256"), "its hash").unwrap();
        let passed = passing(folder.path()).unwrap();
        assert_eq!(passing(folder.path()).unwrap(), passed);
        fs::write(modules.join("a.sha256"), "another hash").unwrap();
        assert_ne!(passing(folder.path()).unwrap(), passed);
    }

    #[test]
    fn broken_code_is_refused_each_time() {
        let folder = self_test::tests::cache();
        for _ in 0..2 {
            let error = Judge::tested(self_test::tests::broken(wasm()), &folder, || {}).unwrap_err();
            assert!(matches!(error, OpenError::Broken(SelfTestError::Differs { .. })), "{error}");
        }
    }
}
