//! A session of ONNX Runtime and the thread that owns it.
//!
//! The thread opens the session, then runs what it is sent, one after another. A run is stopped by its `RunOptions`, which
//! act between kernels.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Instant,
};

use futures::future::BoxFuture;
use ort::session::{RunOptions, Session as RuntimeSession, builder::LoadCanceler};
use tokio::{
    sync::oneshot,
    time::{self, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{runtime::Runtime, session};
use crate::{
    engine::{
        backend::{Health, RunError, RunReport, RunRequest, Session},
        error::LoadError,
        profile::Device,
        providers::Execution,
    },
    model::{
        OpenModelFile, OpenWeights,
        graph::{Port, Signature},
    },
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
    // The binding may panic on what it takes for impossible; that must not pass for a live thread.
    let open = || open_session(runtime, &file, &signature, device, &execution, &canceler);
    let session = catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|_| Err(LoadError::Session("the runtime's binding panicked".into())));
    drop(file);
    let (session, size) = match session {
        Ok(session) => (Some((session.session, session.weights)), Ok(session.size)),
        Err(error) => (None, Err(error)),
    };
    let somebody_waits = opened.send(size).is_ok();
    let Some((mut session, mut weights)) = session.filter(|_| somebody_waits) else { return };
    while let Ok(run) = runs.recv() {
        let _span = run.span.entered();
        let began = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| {
            session::run(&mut session, &signature, device, run.request, &run.options)
        }))
        .unwrap_or_else(|_| Err(RunError::Runtime("the runtime's binding panicked".into())));
        let run_time = began.elapsed();
        // The runtime reads weights where they lie: what was written to under it is another model.
        let result = match weights.as_mut().map_or(Ok(()), OpenWeights::check_unwritten) {
            Ok(()) => result,
            Err(error) => Err(RunError::Runtime(error.to_string())),
        };
        // What failed below the model may be in any state: the session is not used again.
        let failed = match &result {
            Err(error @ (RunError::Runtime(_) | RunError::Device(_))) => Some(error.to_string()),
            _ => None,
        };
        set(health, failed.clone().map_or(Health::Ready, Health::Failed));
        // Nobody may be waiting any more.
        let _ = run.reply.send(result.map(|result| RunReport { result, run_time, trace: None }));
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

/// A session, with what has to stay as it is while it runs.
struct Opened {
    session: RuntimeSession,
    weights: Option<OpenWeights>,
    /// Size of the model's files, in bytes.
    size: u64,
}

/// Opens the session from the files' very bytes.
fn open_session(
    runtime: &Runtime,
    file: &OpenModelFile,
    signature: &Signature,
    device: Device,
    execution: &Execution,
    canceler: &Sender<LoadCanceler>,
) -> Result<Opened, LoadError> {
    let failed = |error: ort::Error| session::open_error(&error);
    let weights = file.weights(&signature.external)?;
    let folder = weights.as_ref().map(|weights| weights.folder().to_string_lossy());
    let mut builder = session::builder(runtime, device, execution, folder.as_deref())
        .map_err(|error| LoadError::Session(session::describe(&error)))?;
    let _ = canceler.send(builder.canceler());
    let (session, size) = if let Some(path) = file.pinned_path() {
        let session = builder.commit_from_file(path).map_err(failed)?;
        // The runtime has read the file by itself, so it has to be the same still.
        file.verify()?;
        (session, file.size()?)
    } else {
        let bytes = file.read()?;
        (builder.commit_from_memory(&bytes).map_err(failed)?, bytes.len() as u64)
    };
    weights.as_ref().map_or(Ok(()), OpenWeights::verify)?;
    let size = size + weights.as_ref().map_or(0, OpenWeights::size);
    let names = |outlets: &[ort::value::Outlet]| outlets.iter().map(|o| o.name().to_owned()).collect::<Vec<_>>();
    let declared = |ports: &[Port]| ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
    let found = (names(session.inputs()), names(session.outputs()));
    let expected = (declared(&signature.input_ports), declared(&signature.output_ports));
    if found != expected {
        let reason = format!("the runtime reads {found:?} as inputs and outputs, the file says {expected:?}");
        return Err(LoadError::Session(reason));
    }
    Ok(Opened { session, weights, size })
}
