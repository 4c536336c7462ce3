//! `deployments/CHAINID.json`: where a coordinator is, as the deploy script writes it.

use std::path::{Path, PathBuf};

use alloy::primitives::Address;
use serde::Deserialize;

use crate::text;

/// Bytes of such a file at most; real ones have some 300.
const MAX_BYTES: u64 = 1 << 16;

/// Why a file does not tell of a deployment.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeploymentFileError {
    #[error("cannot read {}: {reason}; name the file that the deploy script wrote", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{} does not tell of a deployment: {}; it holds chainId, coordinator and deploymentBlock", path.display(), text::shown(reason))]
    NotADeployment { path: PathBuf, reason: String },
}

/// A deployment. `oraculum dev --json` prints these fields among others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DeploymentFile {
    /// The chain's id.
    pub(super) chain_id: u64,
    /// The coordinator's address.
    pub(super) coordinator: Address,
    /// A block at or before the coordinator's own: nothing of it is older.
    pub(super) deployment_block: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    chain_id: u64,
    coordinator: String,
    deployment_block: u64,
}

impl DeploymentFile {
    /// Reads a file.
    ///
    /// # Errors
    /// `Unreadable`, or `NotADeployment` for its contents.
    pub(super) fn read(path: &Path) -> Result<Self, DeploymentFileError> {
        let unreadable = |reason: String| DeploymentFileError::Unreadable { path: path.to_owned(), reason };
        let length = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if length > MAX_BYTES {
            return Err(unreadable(format!("it has more than {MAX_BYTES} bytes")));
        }
        let json = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let wrong = |reason: String| DeploymentFileError::NotADeployment { path: path.to_owned(), reason };
        let fields: Fields =
            serde_json::from_slice(text::without_bom(&json)).map_err(|error| wrong(error.to_string()))?;
        let coordinator = text::address(&fields.coordinator).map_err(|error| wrong(format!("coordinator: {error}")))?;
        let Fields { chain_id, deployment_block, .. } = fields;
        Ok(Self { chain_id, coordinator, deployment_block })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DeploymentFile, DeploymentFileError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        DeploymentFile::read(file.path())
    }

    #[test]
    fn a_deployment_is_read_and_a_wrong_file_says_what_is_wrong() {
        let coordinator = crate::dev::COORDINATOR;
        let good = format!(r#"{{"chainId":7,"coordinator":"{coordinator}","deploymentBlock":3,"owner":"0x"}}"#);
        let file = DeploymentFile { chain_id: 7, coordinator, deployment_block: 3 };
        assert_eq!(read(&good).unwrap(), file);
        for (bad, says) in [
            (good.replace("chainId", "chain"), "missing field `chainId`"),
            (good.replace("0x5Fb", "0x5fb"), "coordinator"),
            ("no\njson".to_owned(), "expected ident"),
        ] {
            let error = read(&bad).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains('\n'), "{error}");
        }
        let missing = DeploymentFile::read(Path::new("/nowhere/1.json")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nowhere/1.json"), "{missing}");
    }
}
