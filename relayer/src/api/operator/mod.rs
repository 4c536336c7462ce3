//! The operator's service: what a node shows of itself. It only reads.
//!
//! | path | answer |
//! |---|---|
//! | `/live` | 200 while the process runs |
//! | `/ready` | 200 if the node can answer requests now, else 503; a reason per line, or [`types::Readiness`](super::types::Readiness) to `Accept: application/json` |
//! | `/metrics` | OpenMetrics text |
//! | `/jobs?state=…&model=…&after=…&limit=…` | [`JobsPage`] |
//! | `/jobs/ID` | [`JobDetails`], or 404 |
//! | `/ledger` | a list of [`LedgerLine`], the newest day first |
//!
//! Errors are [`ErrorBody`] with a status of 4xx or 5xx.

mod metrics;
mod node_status;

pub use node_status::{NodeStatus, PipelineHandles};

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use alloy::primitives::B256;
use axum::{
    Json, Router,
    extract::{self, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tracing::{debug, info};

use super::{
    ADDRESS_FILE, jobs,
    types::{ErrorBody, JobDetails, JobsPage, JobsQuery, LedgerLine},
};
use crate::{
    client::daily_earnings,
    journal::{Journal, JournalError},
};

/// How long one exchange may take, from the connection to the last byte.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Exchanges at once; other connections wait.
const MAX_EXCHANGES: usize = 16;
/// Bytes of a request's path, query and headers, at most.
const MAX_HEAD: usize = 4_096;
/// Bytes that are buffered of a request: the least that hyper allows.
const READ_BUFFER: usize = 8_192;
/// The pause after a connection that could not be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A running service; it ends when dropped.
#[derive(Debug)]
pub struct StatusService {
    address_file: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for StatusService {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.address_file);
    }
}

/// Serves a node's status, and writes its address into the data folder.
///
/// # Errors
/// Those of binding to the address, and of writing [`ADDRESS_FILE`].
pub async fn serve<J: Journal>(
    address: SocketAddr,
    data_dir: &Path,
    status: NodeStatus<J>,
) -> io::Result<StatusService> {
    let listener = TcpListener::bind(address).await?;
    let address_file = data_dir.join(ADDRESS_FILE);
    let mut local = listener.local_addr()?;
    if local.ip().is_unspecified() {
        local.set_ip(if local.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    std::fs::write(&address_file, local.to_string())?;
    info!(address = %format_args!("http://{local}"), "serving the node's status");
    let task = tokio::spawn(accept(listener, router(Arc::new(status))));
    Ok(StatusService { address_file, task })
}

/// Takes connections, [`MAX_EXCHANGES`] at a time.
async fn accept(listener: TcpListener, router: Router) {
    let permits = Arc::new(Semaphore::new(MAX_EXCHANGES));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    exchange(stream, router).await;
                    drop(permit);
                });
            }
            Err(error) => {
                debug!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request and its answer; the connection is closed behind it.
async fn exchange(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(EXCHANGE_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a status request broke off"),
        Err(_) => debug!("a status request took too long"),
    }
}

/// A handler's share of the node.
type Shared<J> = State<Arc<NodeStatus<J>>>;

fn router<J: Journal>(status: Arc<NodeStatus<J>>) -> Router {
    Router::new()
        .route("/live", get(async || "live\n"))
        .route("/ready", get(ready::<J>))
        .route("/metrics", get(metrics_page::<J>))
        .route("/jobs", get(list_jobs::<J>))
        .route("/jobs/{id}", get(show_job::<J>))
        .route("/ledger", get(ledger::<J>))
        .fallback(async || ApiError::NoSuchPath)
        .method_not_allowed_fallback(async || ApiError::Method)
        .layer(middleware::from_fn(limit_head))
        .with_state(status)
}

async fn ready<J: Journal>(State(status): Shared<J>, headers: HeaderMap) -> Response {
    let readiness = status.readiness();
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accepted.is_some_and(|accepted| accepted.contains("application/json")) {
        return (code, Json(readiness)).into_response();
    }
    (code, readiness.to_string()).into_response()
}

async fn metrics_page<J: Journal>(State(status): Shared<J>) -> Result<Response, ApiError> {
    let text = read(status, |status| metrics::page(status)).await?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

async fn list_jobs<J: Journal>(
    State(status): Shared<J>,
    query: Result<Query<JobsQuery>, QueryRejection>,
) -> Result<Json<JobsPage>, ApiError> {
    let Query(query) = query.map_err(|rejection| ApiError::Query(rejection.body_text()))?;
    read(status, move |status| jobs::list(&*status.journal, &query, |id| status.wait(id))).await.map(Json)
}

async fn show_job<J: Journal>(
    State(status): Shared<J>,
    extract::Path(id): extract::Path<String>,
) -> Result<Json<JobDetails>, ApiError> {
    let id: B256 = id.parse().map_err(|_| ApiError::NoSuchPath)?;
    let found = read(status, move |status| jobs::show(&*status.journal, id, |id| status.wait(id))).await?;
    found.map(Json).ok_or(ApiError::UnknownJob(id))
}

async fn ledger<J: Journal>(State(status): Shared<J>) -> Result<Json<Vec<LedgerLine>>, ApiError> {
    let days = read(status, |status| daily_earnings(&*status.journal)).await?;
    Ok(Json(days.into_iter().map(Into::into).collect()))
}

/// Reads the journal on a thread that may block, for that takes a while.
async fn read<J, T, E>(
    status: Arc<NodeStatus<J>>,
    reading: impl FnOnce(&NodeStatus<J>) -> Result<T, E> + Send + 'static,
) -> Result<T, ApiError>
where
    J: Journal,
    T: Send + 'static,
    E: Into<ApiError> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(move || reading(&status)).await;
    done.map_err(|_| ApiError::Panicked)?.map_err(Into::into)
}

/// Refuses requests with a longer head than [`MAX_HEAD`]; above [`READ_BUFFER`], hyper does.
async fn limit_head(request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    if target + headers.sum::<usize>() > MAX_HEAD {
        return ApiError::HeadTooLong.into_response();
    }
    next.run(request).await
}

/// Why a request gets no answer.
#[derive(Debug, thiserror::Error)]
enum ApiError {
    #[error("not found")]
    NoSuchPath,
    #[error("only GET is served")]
    Method,
    #[error("the path and the headers have more than {MAX_HEAD} bytes")]
    HeadTooLong,
    #[error("{0}")]
    Query(String),
    #[error("the journal knows no request {0}")]
    UnknownJob(B256),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Metrics(#[from] metrics::PageError),
    #[error("reading the journal panicked")]
    Panicked,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = match self {
            Self::NoSuchPath | Self::UnknownJob(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::HeadTooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::Journal(_) | Self::Metrics(_) | Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (code, Json(ErrorBody { error: self.to_string() })).into_response()
    }
}

#[cfg(test)]
mod tests;
