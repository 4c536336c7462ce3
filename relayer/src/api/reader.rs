//! Reads what a node knows, whether the node runs or not.

use std::{path::Path, time::Duration};

use alloy::primitives::B256;
use axum::body::{self, Body};
use hyper::{Request, StatusCode, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::de::DeserializeOwned;

use super::{
    ADDRESS_FILE, jobs,
    types::{ErrorBody, JobDetails, JobsPage, JobsQuery, LedgerLine, Readiness},
};
use crate::{
    client::daily_earnings,
    journal::{JournalError, SledJournal},
    text::one_line,
};

/// How long one exchange with a running node may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer, at most.
const MAX_ANSWER: usize = 64 << 20;

/// Why a node's journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// Nothing listens at the address.
    #[error("no node can be reached at {address}: {reason}")]
    Unreachable {
        /// The address that was tried.
        address: String,
        /// What went wrong, for people.
        reason: String,
    },
    /// The exchange broke off, or took too long.
    #[error("the node at {address} gave no answer: {reason}")]
    Unanswered {
        /// The address that was tried.
        address: String,
        /// What went wrong, for people.
        reason: String,
    },
    /// What listens at the address is something else, or another version.
    #[error("{address} does not answer as a node of this version does; is another program at that address?")]
    NotANode {
        /// The address that was tried.
        address: String,
    },
    /// The node answered with an error.
    #[error("the node answered {status}: {error}")]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// The node's words.
        error: String,
    },
    /// No node runs, and its journal cannot be read.
    // Not transparent, so that the cause stays visible to whoever walks the sources.
    #[error("{0}")]
    Journal(#[from] JournalError),
}

/// A node's journal: through the node if it runs, else from its folder.
#[derive(Debug)]
pub enum JournalReader {
    /// The node runs.
    Running(RunningNode),
    /// It does not.
    Stopped(Box<SledJournal>),
}

impl JournalReader {
    /// Opens the journal of a node by its data folder.
    ///
    /// # Errors
    /// `Unanswered`, `NotANode` or `Refused` by what runs at the node's address; `Journal` if no node runs.
    pub async fn open(data_dir: &Path) -> Result<Self, ReaderError> {
        match RunningNode::find(data_dir).await? {
            Some(node) => Ok(Self::Running(node)),
            None => Ok(Self::Stopped(Box::new(SledJournal::open_existing(data_dir)?))),
        }
    }

    /// A page of jobs, the newest first.
    ///
    /// # Errors
    /// All but `Unreachable`, which means that the node ended meanwhile.
    pub async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, ReaderError> {
        match self {
            Self::Running(node) => node.jobs(query).await,
            Self::Stopped(journal) => Ok(jobs::list(&**journal, query, |_| None)?),
        }
    }

    /// All that is known of a job; `None` if there is none.
    ///
    /// # Errors
    /// As [`JournalReader::jobs`].
    pub async fn job(&self, id: B256) -> Result<Option<JobDetails>, ReaderError> {
        match self {
            Self::Running(node) => node.job(id).await,
            Self::Stopped(journal) => Ok(jobs::show(&**journal, id, |_| None)?),
        }
    }

    /// Profit and loss by day and model, the newest day first.
    ///
    /// # Errors
    /// As [`JournalReader::jobs`].
    pub async fn ledger(&self) -> Result<Vec<LedgerLine>, ReaderError> {
        match self {
            Self::Running(node) => node.ledger().await,
            Self::Stopped(journal) => Ok(daily_earnings(&**journal)?.into_iter().map(Into::into).collect()),
        }
    }
}

/// The operator's service of a running node, from outside.
#[derive(Clone, Debug)]
pub struct RunningNode {
    http: Client<HttpConnector, Body>,
    address: String,
}

impl RunningNode {
    /// Finds the node that runs on a data folder. `None` if none does.
    ///
    /// # Errors
    /// `Unanswered`, `NotANode` or `Refused` by what runs at the node's address.
    pub async fn find(data_dir: &Path) -> Result<Option<Self>, ReaderError> {
        let Ok(address) = std::fs::read_to_string(data_dir.join(ADDRESS_FILE)) else { return Ok(None) };
        let node = Self::at(address.trim());
        match node.get("/live").await {
            Ok((StatusCode::OK, _)) => Ok(Some(node)),
            Ok(_) => Err(node.is_something_else()),
            // A node that was killed leaves its file behind.
            Err(ReaderError::Unreachable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The node at an address such as `127.0.0.1:9100`, not asked yet.
    #[must_use]
    pub fn at(address: &str) -> Self {
        Self { http: Client::builder(TokioExecutor::new()).build_http(), address: address.to_owned() }
    }

    /// A page of jobs, the newest first.
    ///
    /// # Errors
    /// All but `Journal`.
    pub async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, ReaderError> {
        let query = serde_urlencoded::to_string(query).map_err(|_| self.is_something_else())?;
        self.read(&format!("/jobs?{query}")).await
    }

    /// All that is known of a job; `None` if there is none.
    ///
    /// # Errors
    /// All but `Journal`.
    pub async fn job(&self, id: B256) -> Result<Option<JobDetails>, ReaderError> {
        match self.read(&format!("/jobs/{id}")).await {
            Err(ReaderError::Refused { status: 404, .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Profit and loss by day and model, the newest day first.
    ///
    /// # Errors
    /// All but `Journal`.
    pub async fn ledger(&self) -> Result<Vec<LedgerLine>, ReaderError> {
        self.read("/ledger").await
    }

    /// Whether the node can answer requests now.
    ///
    /// # Errors
    /// All but `Refused` and `Journal`.
    pub async fn readiness(&self) -> Result<Readiness, ReaderError> {
        let (_, body) = self.get("/ready").await?;
        serde_json::from_slice(&body).map_err(|_| self.is_something_else())
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ReaderError> {
        let (status, body) = self.get(path).await?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|_| self.is_something_else());
        }
        match serde_json::from_slice(&body) {
            Ok(ErrorBody { error }) => Err(ReaderError::Refused { status: status.as_u16(), error: one_line(&error) }),
            Err(_) => Err(self.is_something_else()),
        }
    }

    /// The status and the body of an answer.
    async fn get(&self, path: &str) -> Result<(StatusCode, body::Bytes), ReaderError> {
        let unanswered = |reason: String| ReaderError::Unanswered { address: self.address.clone(), reason };
        let request = Request::get(format!("http://{}{path}", self.address))
            .header(header::ACCEPT, "application/json")
            .body(Body::empty())
            .map_err(|_| self.is_something_else())?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| match error.is_connect() {
                true => ReaderError::Unreachable { address: self.address.clone(), reason: error.to_string() },
                false => unanswered(error.to_string()),
            })?;
            let status = response.status();
            let body = body::to_bytes(Body::new(response.into_body()), MAX_ANSWER).await;
            Ok((status, body.map_err(|error| unanswered(error.to_string()))?))
        };
        let done = tokio::time::timeout(EXCHANGE_TIMEOUT, exchange).await;
        done.map_err(|_| unanswered(format!("it took more than {} s", EXCHANGE_TIMEOUT.as_secs())))?
    }

    fn is_something_else(&self) -> ReaderError {
        ReaderError::NotANode { address: self.address.clone() }
    }
}
