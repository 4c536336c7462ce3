//! The NVIDIA driver, and the GPUs that it shows.

use std::{fs, path::Path, process::Stdio, time::Duration};

use serde::Serialize;
use tokio::{io::AsyncReadExt, process::Command, time::timeout};

use super::{Found, search::Search};
use crate::text;

/// Time that `nvidia-smi` may take: with a broken driver it hangs.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Bytes that it may say.
const MAX_SAID: u64 = 1 << 16;
const KERNEL: &str = "/proc/driver/nvidia/version";

/// The NVIDIA driver of this machine.
#[derive(Clone, Debug)]
pub struct Driver {
    /// Version of the part in the kernel.
    pub kernel: Option<String>,
    /// Its library, which CUDA is linked to.
    pub library: Option<Found>,
    /// The GPUs, or why none can be named.
    pub gpus: Result<Vec<Gpu>, String>,
}

/// A GPU as `nvidia-smi` tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Number.
    pub index: u32,
    /// Name, such as `NVIDIA H200`.
    pub name: String,
    /// Version of the driver.
    pub driver: String,
    /// Memory, in MiB.
    pub memory: u64,
}

impl Driver {
    /// Looks for the driver, for some seconds at most.
    pub async fn find() -> Self {
        let kernel = fs::read_to_string(KERNEL).ok().and_then(|said| kernel_version(&said));
        let library = Search::of(None).find(super::DRIVER);
        Self { kernel, library, gpus: gpus(Path::new("nvidia-smi"), TIME_LIMIT).await }
    }

    /// Version of the driver, by whichever source tells it.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        let told = self.gpus.as_ref().ok().and_then(|gpus| gpus.first()).map(|gpu| gpu.driver.as_str());
        told.or(self.kernel.as_deref()).or_else(|| self.library.as_ref()?.version.as_deref())
    }

    /// Why the driver does not do for a major version of CUDA; `None` where it does.
    #[must_use]
    pub fn lacks(&self, cuda: Option<u32>) -> Option<String> {
        let least = cuda.and_then(super::least_driver);
        let or_later = least.map_or_else(String::new, |least| format!(", {least} or later"));
        if self.library.is_none() {
            return Some(format!("{} is missing: install NVIDIA's driver{or_later}", super::DRIVER));
        }
        let major: u32 = self.version()?.split('.').next()?.parse().ok()?;
        let (least, version) = (least.filter(|least| major < *least)?, self.version()?);
        Some(format!(
            "{version} is too old: install NVIDIA's driver{or_later}, which CUDA {} needs",
            cuda.unwrap_or(least)
        ))
    }
}

/// The version in what the kernel's part says of itself: the first word of two numbers with a dot between.
fn kernel_version(said: &str) -> Option<String> {
    let is_version = |word: &&str| {
        word.contains('.')
            && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    said.lines().next()?.split_whitespace().find(is_version).map(str::to_owned)
}

async fn gpus(program: &Path, limit: Duration) -> Result<Vec<Gpu>, String> {
    let ask = async {
        let mut child = Command::new(program)
            .args(["--query-gpu=index,name,driver_version,memory.total", "--format=csv,noheader,nounits"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut said = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_SAID).read_to_end(&mut said).await?;
        }
        Ok::<_, std::io::Error>((child.wait().await?, String::from_utf8_lossy(&said).into_owned()))
    };
    match timeout(limit, ask).await {
        Err(_) => Err(format!("nvidia-smi did not end within {limit:?}")),
        Ok(Err(error)) => Err(format!("nvidia-smi cannot be run: {error}")),
        // What it has to say of an error it says on standard output.
        Ok(Ok((status, said))) if !status.success() => {
            Err(format!("nvidia-smi fails: {}", text::cut(&text::one_line(said.trim()), 200)))
        }
        Ok(Ok((_, said))) => {
            let gpus: Vec<_> = said.lines().filter_map(gpu).collect();
            if gpus.is_empty() { Err("nvidia-smi names no GPU".to_owned()) } else { Ok(gpus) }
        }
    }
}

/// A GPU of a line such as `0, NVIDIA H200, 580.159.04, 143771`.
fn gpu(line: &str) -> Option<Gpu> {
    let mut fields = line.split(',').map(str::trim);
    Some(Gpu {
        index: fields.next()?.parse().ok()?,
        name: text::shown(fields.next()?),
        driver: text::shown(fields.next()?),
        // Where the memory is the machine's own, none is told.
        memory: fields.next()?.parse().unwrap_or(0),
    })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    async fn asked(script: &str) -> Result<Vec<Gpu>, String> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("nvidia-smi");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        gpus(&program, Duration::from_secs(2)).await
    }

    #[tokio::test]
    async fn gpus_are_named_or_the_reason_why_not() {
        let said = asked("echo '0, NVIDIA H200, 580.159.04, 143771'; echo '1, Some \x1b GPU, 580.159.04, [N/A]'").await;
        let gpu = |index, name: &str, memory| Gpu { index, name: name.into(), driver: "580.159.04".into(), memory };
        assert_eq!(said, Ok(vec![gpu(0, "NVIDIA H200", 143_771), gpu(1, "Some \\u{1b} GPU", 0)]));
        let failed =
            asked("echo 'NVIDIA-SMI has failed because it could not communicate with the driver'; exit 9").await;
        assert_eq!(
            failed.unwrap_err(),
            "nvidia-smi fails: NVIDIA-SMI has failed because it could not communicate with the driver"
        );
        assert_eq!(asked("exit 0").await.unwrap_err(), "nvidia-smi names no GPU");
        assert_eq!(asked("exec sleep 60").await.unwrap_err(), "nvidia-smi did not end within 2s");
        assert!(gpus(Path::new("/none/nvidia-smi"), TIME_LIMIT).await.unwrap_err().contains("cannot be run"));
        // Endless words do not fill the memory, and end in time.
        assert!(asked("exec yes").await.is_err());
    }

    #[test]
    fn the_kernels_part_tells_its_version() {
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (dvs-builder@U22)\nGCC version: 12.3.0";
        assert_eq!(kernel_version(open).as_deref(), Some("580.159.04"));
        assert_eq!(kernel_version(""), None);
    }

    #[test]
    fn a_driver_that_is_missing_or_too_old_says_so() {
        let library = Some(Found { path: "/x/libcuda.so.1".into(), version: Some("535.1".into()) });
        let old = Driver { kernel: None, library, gpus: Err(String::new()) };
        assert_eq!(old.lacks(Some(12)), None);
        let told = "535.1 is too old: install NVIDIA's driver, 580 or later, which CUDA 13 needs";
        assert_eq!(old.lacks(Some(13)).as_deref(), Some(told));
        let none = Driver { library: None, ..old };
        assert_eq!(none.lacks(Some(13)).unwrap(), "libcuda.so.1 is missing: install NVIDIA's driver, 580 or later");
    }
}
