//! A chain that goes on where it ended: Anvil's state file, in which one key more tells of the deployment and holds the
//! node's journal. Anvil itself reads such a file, too.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use alloy::{
    primitives::{B256, Bytes, keccak256},
    providers::Provider,
};
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Anvil, Deployment, DevError};
use crate::{coordinator::abi::InferenceCoordinator as Coordinator, journal::SledJournal, model::Model};

/// The key in Anvil's state file.
const KEY: &str = "oraculum";

/// A deployment that ended, and its node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedState {
    /// Hash of the bytecode that the coordinator was made of.
    coordinator_code: B256,
    /// What is deployed.
    deployment: Deployment,
    /// The node's journal, as `oraculum journal export` writes it.
    journal: Vec<String>,
}

impl SavedState {
    /// Reads a state file. `None` if it is Anvil's own, without a deployment.
    ///
    /// # Errors
    /// `State` if it cannot be read; `StaleState` if what it tells of a deployment is of another version.
    pub fn read(path: &Path) -> Result<Option<Self>, DevError> {
        let failed = |reason: String| DevError::State { doing: "read", path: path.to_owned(), reason };
        let text = fs::read(path).map_err(|error| failed(error.to_string()))?;
        let mut state: Map<String, Value> =
            serde_json::from_slice(&text).map_err(|error| failed(format!("it is no state of Anvil: {error}")))?;
        let Some(saved) = state.remove(KEY) else { return Ok(None) };
        let saved: Self =
            serde_json::from_value(saved).map_err(|_| stale(path, "another version of oraculum wrote it".into()))?;
        if saved.coordinator_code != coordinator_code() {
            return Err(stale(path, "its coordinator is of another version of the contracts".into()));
        }
        Ok(Some(saved))
    }

    /// The id of the chain that it is of.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.deployment.chain_id
    }

    /// Checks that all its models are in a folder, and that a chain's id that is asked for is its own. Returns the names of
    /// the folder's models that it does not have.
    ///
    /// # Errors
    /// `StaleState`; `NoModels` or `Model` for the folder.
    pub fn check(&self, path: &Path, models_dir: &Path, chain_id: Option<u64>) -> Result<Vec<String>, DevError> {
        let own = self.chain_id();
        if let Some(asked) = chain_id.filter(|asked| *asked != own) {
            return Err(stale(path, format!("it is of chain {own}, not of chain {asked}")));
        }
        let models: Vec<Model> = super::models::read(models_dir)?;
        for deployed in &self.deployment.models {
            if !models.iter().any(|model| model.id == deployed.model_id) {
                let (name, id, folder) = (&deployed.name, deployed.model_id, models_dir.display());
                return Err(stale(path, format!("its model {name} ({id}) is not in {folder}, or has changed there")));
            }
        }
        let lacks = |model: &Model| self.deployment.models.iter().all(|deployed| deployed.model_id != model.id);
        Ok(models.into_iter().filter(lacks).map(|model| model.name).collect())
    }

    /// The deployment on the chain that loaded the file. Makes the node's journal in `data_dir`.
    ///
    /// # Errors
    /// `Journal`.
    pub fn resume(self, anvil: &Anvil, models_dir: PathBuf, data_dir: &Path) -> Result<Deployment, DevError> {
        if !self.journal.is_empty() {
            SledJournal::import(data_dir, self.journal.join("\n").as_bytes())?;
        }
        let (rpc_url, ws_url) = (anvil.http().to_string(), anvil.ws().to_string());
        Ok(Deployment { rpc_url, ws_url, models_dir, ..self.deployment })
    }

    /// Writes the chain, its deployment and the journal of its node, which has ended. An older file stays until the new
    /// one is complete.
    ///
    /// # Errors
    /// `State`, `Journal`, or `Account` if the chain does not tell its state.
    pub async fn write(path: &Path, anvil: &Anvil, deployment: &Deployment, data_dir: &Path) -> Result<(), DevError> {
        let failed = |reason: String| DevError::State { doing: "write", path: path.to_owned(), reason };
        let call = anvil.client().provider().raw_request::<_, Bytes>("anvil_dumpState".into(), ());
        let packed = anvil.client().ask(call).await?;
        let mut text = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut text).map_err(|error| failed(error.to_string()))?;
        let mut state: Map<String, Value> = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        let mut journal = Vec::new();
        SledJournal::open_existing(data_dir)?.export(&mut journal)?;
        let journal = String::from_utf8_lossy(&journal).lines().map(str::to_owned).collect();
        let saved = Self { coordinator_code: coordinator_code(), deployment: deployment.clone(), journal };
        let value = serde_json::to_value(saved).map_err(|error| failed(error.to_string()))?;
        state.insert(KEY.into(), value);
        let write = || {
            let file = beside(path)?;
            serde_json::to_writer(io::BufWriter::new(&file), &state)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok::<_, io::Error>(())
        };
        write().map_err(|error| failed(error.to_string()))
    }

    /// Checks that a state file can be written, before a chain is made whose state could not be kept.
    ///
    /// # Errors
    /// `State`.
    pub fn expect_writable(path: &Path) -> Result<(), DevError> {
        let failed =
            |error: io::Error| DevError::State { doing: "write", path: path.to_owned(), reason: error.to_string() };
        beside(path).map(drop).map_err(failed)
    }
}

/// A new file in the folder of another.
fn beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::NamedTempFile::new_in(folder)
}

fn coordinator_code() -> B256 {
    keccak256(&Coordinator::BYTECODE)
}

fn stale(path: &Path, why: String) -> DevError {
    let reason = format!("{why}; begin anew with another --state file, or remove this one");
    DevError::StaleState { path: path.to_owned(), reason }
}
