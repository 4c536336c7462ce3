//! A session of ONNX Runtime and the thread that owns it.
//!
//! The thread opens the session, then runs what it is sent, one after another. A run is stopped by its `RunOptions`, which
//! act between kernels.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Instant,
};

use futures::future::BoxFuture;
use ort::session::{RunOptions, builder::LoadCanceler};
use tokio::{
    sync::oneshot,
    time::{self, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{opened::Opened, runtime::Runtime, session};
use crate::{
    engine::{
        backend::{Health, RunError, RunReport, RunRequest, Session},
        error::LoadError,
        profile::Device,
        providers::Execution,
    },
    model::{OpenModelFile, graph::Signature},
};

/// A session, as seen from outside its thread.
pub(super) struct OrtSession {
    runs: Sender<ThreadRun>,
    health: Arc<Mutex<Health>>,
    footprint: u64,
}

/// Message to the thread.
struct ThreadRun {
    request: RunRequest,
    options: Arc<RunOptions>,
    reply: oneshot::Sender<Result<RunReport, RunError>>,
    span: tracing::Span,
}

/// Parts that the thread opens its session from.
struct Opening {
    runtime: &'static Runtime,
    file: OpenModelFile,
    signature: Arc<Signature>,
    device: Device,
    execution: Arc<Execution>,
    /// Receives what stops the session until it is open.
    canceler: Sender<LoadCanceler>,
    /// Receives the file's size once the session is open.
    opened: oneshot::Sender<Result<u64, LoadError>>,
}

/// Stops a session that is not open yet when it is dropped.
struct CancelOnDrop(Receiver<LoadCanceler>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        // Of a session that is open, the canceler has nothing left to act on.
        if let Ok(canceler) = self.0.try_recv() {
            let _ = canceler.cancel();
        }
    }
}

impl OrtSession {
    /// Opens a session on a thread of its own. Dropping the future stops it.
    ///
    /// # Errors
    /// `LoadError::Model` where the file cannot be read or was altered, `LoadError::Session` for everything else.
    pub(super) async fn open(
        runtime: &'static Runtime,
        file: OpenModelFile,
        signature: Arc<Signature>,
        device: Device,
        execution: Arc<Execution>,
    ) -> Result<Self, LoadError> {
        let (opened, ready) = oneshot::channel();
        let (canceler, cancelers) = mpsc::channel();
        let (runs, received) = mpsc::channel();
        let health = Arc::new(Mutex::new(Health::Ready));
        let opening = Opening { runtime, file, signature, device, execution, canceler, opened };
        let shared = health.clone();
        thread::Builder::new()
            .name(format!("session-{device}"))
            .spawn(move || own(opening, &received, &shared))
            .map_err(|error| LoadError::Session(format!("no thread could be started: {error}")))?;
        let _cancel = CancelOnDrop(cancelers);
        let footprint =
            ready.await.unwrap_or_else(|_| Err(LoadError::Session("the session's thread has ended".into())))?;
        Ok(Self { runs, health, footprint })
    }

    fn ended() -> RunError {
        RunError::Ended("its thread is gone".into())
    }
}

impl Session for OrtSession {
    fn run(
        &self,
        request: RunRequest,
        deadline: time::Instant,
        cancel: CancellationToken,
    ) -> BoxFuture<'_, Result<RunReport, RunError>> {
        Box::pin(async move {
            let options = RunOptions::new().map_err(|error| RunError::Runtime(session::describe(&error)))?;
            let options = Arc::new(options);
            let (reply, mut answer) = oneshot::channel();
            set(&self.health, Health::Busy);
            let run = ThreadRun { request, options: options.clone(), reply, span: tracing::Span::current() };
            if self.runs.send(run).is_err() {
                set(&self.health, Health::Failed("its thread is gone".into()));
                return Err(Self::ended());
            }
            let stopped = tokio::select! {
                biased;
                answer = &mut answer => return answer.unwrap_or_else(|_| Err(Self::ended())),
                () = cancel.cancelled() => RunError::Cancelled,
                () = sleep_until(deadline) => RunError::Late,
            };
            let _ = options.terminate();
            match answer.await {
                Ok(Ok(report)) if report.result.is_ok() => Ok(report),
                Ok(_) => Err(stopped),
                Err(_) => Err(Self::ended()),
            }
        })
    }

    fn footprint(&self) -> u64 {
        self.footprint
    }

    fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn set(health: &Mutex<Health>, value: Health) {
    *health.lock().unwrap_or_else(PoisonError::into_inner) = value;
}

/// The thread: opens the session and runs it until nobody can send any more, or it has failed.
fn own(opening: Opening, runs: &Receiver<ThreadRun>, health: &Mutex<Health>) {
    let ended = Ended(health);
    let Opening { runtime, file, signature, device, execution, canceler, opened } = opening;
    let cancelable = |cancel| drop(canceler.send(cancel));
    let session = Opened::open(runtime, &file, &signature, device, &execution, cancelable);
    drop(file);
    let (session, size) = match session {
        Ok(session) => {
            let size = session.size;
            (Some(session), Ok(size))
        }
        Err(error) => (None, Err(error)),
    };
    let somebody_waits = opened.send(size).is_ok();
    let Some(mut session) = session.filter(|_| somebody_waits) else { return };
    while let Ok(run) = runs.recv() {
        let _span = run.span.entered();
        let began = Instant::now();
        let result = session.run(&signature, run.request, &run.options);
        let run_time = began.elapsed();
        // What failed below the model may be in any state: the session is not used again.
        let failed = match &result {
            Err(error @ (RunError::Runtime(_) | RunError::Device(_))) => Some(error.to_string()),
            _ => None,
        };
        set(health, failed.clone().map_or(Health::Ready, Health::Failed));
        // Nobody may be waiting any more.
        let _ = run.reply.send(result.map(|result| RunReport { result, run_time, trace: None, guard: None }));
        if failed.is_some() {
            break;
        }
    }
    drop(ended);
}

/// Marks a session as failed when its thread ends, however it does.
struct Ended<'a>(&'a Mutex<Health>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*health, Health::Failed(_)) {
            *health = Health::Failed("its thread has ended".into());
        }
    }
}
