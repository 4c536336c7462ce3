//! What a running `oraculum dev` tells other commands of the same user: a file in its folder, which is gone when it is.

use std::{
    fs, io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Deployment, anvil::SCRATCH_PREFIX};
use crate::chain::Endpoint;

/// The file's name.
const FILE: &str = "running.json";
/// The time in which a chain on this machine takes a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// A running `oraculum dev`. As JSON it holds addresses and no key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningDev {
    /// What is deployed.
    #[serde(flatten)]
    pub deployment: Deployment,
    /// The process.
    pub pid: u32,
    /// Where the node tells how it is, such as `http://127.0.0.1:34567`.
    pub status_url: String,
    /// The folder of the node's journal.
    pub data_dir: PathBuf,
}

impl RunningDev {
    /// Lets other commands find it, until `scratch` is removed.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn announce(&self, scratch: &Path) -> io::Result<()> {
        // Complete or not there; its mode is 0600.
        let file = tempfile::NamedTempFile::new_in(scratch)?;
        serde_json::to_writer(&file, self)?;
        file.persist(scratch.join(FILE))?;
        Ok(())
    }

    /// All that run as this user with the same folder of temporary files. Those whose chain is gone are left out.
    #[must_use]
    pub fn find_all() -> Vec<Self> {
        let Ok(folders) = fs::read_dir(std::env::temp_dir()) else { return Vec::new() };
        let folders = folders.filter_map(|folder| Some(folder.ok()?.path()));
        let named = folders.filter(|path| path.file_name().is_some_and(|name| is_scratch(&name.to_string_lossy())));
        let mut all: Vec<Self> = named.filter(|path| is_ours(path)).filter_map(|path| Self::read(&path)).collect();
        all.sort_by(|a, b| a.deployment.rpc_url.cmp(&b.deployment.rpc_url));
        all
    }

    /// Whether its chain is behind an endpoint.
    #[must_use]
    pub fn is_behind(&self, endpoint: &Endpoint) -> bool {
        let urls = [&self.deployment.rpc_url, &self.deployment.ws_url];
        urls.iter().any(|url| url.parse::<Endpoint>().is_ok_and(|ours| ours == *endpoint))
    }

    fn read(folder: &Path) -> Option<Self> {
        // Another version's file may be another one.
        let running: Self = serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()?;
        let address: SocketAddr =
            running.deployment.rpc_url.strip_prefix("http://")?.trim_end_matches('/').parse().ok()?;
        TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).ok()?;
        Some(running)
    }
}

fn is_scratch(name: &str) -> bool {
    name.starts_with(SCRATCH_PREFIX)
}

/// Whether a folder is this user's: anybody can make one among temporary files.
#[cfg(unix)]
fn is_ours(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let ours = tempfile::tempfile().and_then(|file| file.metadata()).map(|new| new.uid());
    fs::symlink_metadata(folder).is_ok_and(|folder| folder.is_dir() && ours.is_ok_and(|uid| uid == folder.uid()))
}

#[cfg(not(unix))]
fn is_ours(_folder: &Path) -> bool {
    true
}
