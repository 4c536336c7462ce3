//! A model's queue, and the threads that serve it: each owns one session.
//!
//! ```text
//! submit ──▶ bounded queue ──▶ session thread ──▶ reply
//!                                │ started, finished
//!                                ▼
//!                             watchdog: past the limit it asks the runtime to stop, which acts between kernels;
//!                             past the grace it answers in the thread's place and lets another one take the queue
//! ```

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use ort::session::{RunOptions, Session};
use tokio::sync::oneshot;

use super::{
    runtime::Runtime,
    session::{self, RunError},
};
use crate::{
    engine::{
        error::{EngineError, LoadError},
        profile::Device,
    },
    model::graph::Signature,
    protocol::cast::ModelTensor,
};

/// Threads of a model that may hang in a kernel before the model gets no more.
const MAX_STUCK: usize = 4;

/// How long things may take, and how many may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that may wait per model.
    pub queue: usize,
    /// How long a request may wait in the queue.
    pub wait: Duration,
    /// How long a model may run.
    pub run: Duration,
    /// How long a kernel may go on after that.
    pub grace: Duration,
    /// How long a model may load.
    pub load: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 256,
            wait: Duration::from_secs(30),
            run: Duration::from_secs(10),
            grace: Duration::from_secs(5),
            load: Duration::from_secs(120),
        }
    }
}

/// What a run gave.
#[derive(Debug)]
pub(in crate::engine) struct RunReport {
    pub result: Result<Vec<(usize, ModelTensor)>, RunError>,
    pub target: Device,
    pub queue_time: Duration,
    pub run_time: Duration,
}

type Reply = oneshot::Sender<Result<RunReport, EngineError>>;

struct RunRequest {
    inputs: Vec<ModelTensor>,
    wanted: Vec<usize>,
    queued: Instant,
    /// Whoever takes it answers: the session thread, or the watchdog in its place.
    reply: Arc<Mutex<Option<Reply>>>,
    span: tracing::Span,
}

/// A model in one session per target, behind one queue.
pub(in crate::engine) struct Worker {
    jobs: SyncSender<RunRequest>,
    waiting: Arc<AtomicUsize>,
    limits: Limits,
}

/// What every thread of a model shares.
struct Shared {
    runtime: &'static Runtime,
    file: Arc<[u8]>,
    signature: Arc<Signature>,
    limits: Limits,
    jobs: Mutex<Receiver<RunRequest>>,
    waiting: Arc<AtomicUsize>,
    stuck: AtomicUsize,
}

impl Worker {
    /// Opens a session on every target; fails if one does not open.
    pub(in crate::engine) async fn start(
        runtime: &'static Runtime,
        file: Arc<[u8]>,
        signature: Arc<Signature>,
        targets: &[Device],
        limits: Limits,
    ) -> Result<Self, LoadError> {
        let (jobs, receiver) = mpsc::sync_channel(limits.queue);
        let waiting = Arc::new(AtomicUsize::new(0));
        let shared = Arc::new(Shared {
            runtime,
            file,
            signature,
            limits,
            jobs: Mutex::new(receiver),
            waiting: waiting.clone(),
            stuck: AtomicUsize::new(0),
        });
        for target in targets {
            open(&shared, *target).await?;
        }
        Ok(Self { jobs, waiting, limits })
    }

    /// Runs the model once.
    pub(in crate::engine) async fn run(
        &self,
        inputs: Vec<ModelTensor>,
        wanted: Vec<usize>,
    ) -> Result<RunReport, EngineError> {
        let (reply, answer) = oneshot::channel();
        let reply = Arc::new(Mutex::new(Some(reply)));
        let job = RunRequest { inputs, wanted, queued: Instant::now(), reply, span: tracing::Span::current() };
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.try_send(job).map_err(|error| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => EngineError::Overloaded { waiting },
                TrySendError::Disconnected(_) => EngineError::Stopped,
            }
        })?;
        // The thread and its watchdog keep the other limits; this one holds even if none of them is left.
        let Limits { wait, run, grace, .. } = self.limits;
        match tokio::time::timeout(wait + run + grace, answer).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(EngineError::Stopped),
            Err(_) => Err(EngineError::Overloaded { waiting }),
        }
    }
}

/// Starts a session thread, and waits until its session is open.
async fn open(shared: &Arc<Shared>, target: Device) -> Result<(), LoadError> {
    let (opened, ready) = oneshot::channel();
    let (cancel, canceler) = mpsc::channel();
    let limit = shared.limits.load;
    spawn(shared.clone(), target, Some(Opening { opened, cancel }))
        .map_err(|error| LoadError::Session(format!("no thread could be started: {error}")))?;
    match tokio::time::timeout(limit, ready).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(LoadError::Session("the session's thread ended".into())),
        Err(_) => {
            if let Ok(canceler) = canceler.try_recv() {
                let _ = canceler.cancel();
            }
            Err(LoadError::Timeout(limit))
        }
    }
}

/// How a starting thread tells that its session is open, and how it may be stopped until then.
struct Opening {
    opened: oneshot::Sender<Result<(), LoadError>>,
    cancel: Sender<ort::session::builder::LoadCanceler>,
}

fn spawn(shared: Arc<Shared>, target: Device, opening: Option<Opening>) -> std::io::Result<()> {
    thread::Builder::new().name(format!("session-{target}")).spawn(move || {
        let cancel = opening.as_ref().map(|opening| &opening.cancel);
        // The binding may panic on what it takes for impossible; that must not pass for a live thread.
        let session = catch_unwind(AssertUnwindSafe(|| open_session(&shared, target, cancel)))
            .unwrap_or_else(|_| Err("the runtime's binding panicked".into()))
            .map_err(LoadError::Session);
        let session = match (session, opening) {
            (Ok(session), Some(opening)) => opening.opened.send(Ok(())).is_ok().then_some(session),
            (Ok(session), None) => Some(session),
            (Err(error), Some(opening)) => {
                let _ = opening.opened.send(Err(error));
                None
            }
            (Err(error), None) => {
                tracing::error!(%target, %error, "a hanging session could not be replaced");
                None
            }
        };
        if let Some(session) = session {
            serve(&shared, target, session);
        }
    })?;
    Ok(())
}

fn open_session(
    shared: &Shared,
    target: Device,
    cancel: Option<&Sender<ort::session::builder::LoadCanceler>>,
) -> Result<Session, String> {
    let mut builder = session::builder(shared.runtime, target).map_err(|error| session::describe(&error))?;
    if let Some(cancel) = cancel {
        let _ = cancel.send(builder.canceler());
    }
    let session = builder.commit_from_memory(&shared.file).map_err(|error| session::describe(&error))?;
    let names = |outlets: &[ort::value::Outlet]| outlets.iter().map(|o| o.name().to_owned()).collect::<Vec<_>>();
    let declared =
        |ports: &[crate::protocol::cast::TensorSpec]| ports.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    let found = (names(session.inputs()), names(session.outputs()));
    let expected = (declared(&shared.signature.inputs), declared(&shared.signature.outputs));
    if found != expected {
        return Err(format!("the runtime reads {found:?} as inputs and outputs, the file says {expected:?}"));
    }
    Ok(session)
}

/// What a session thread tells its watchdog.
enum Watch {
    Started { options: Arc<RunOptions>, late: Arc<AtomicBool>, reply: Arc<Mutex<Option<Reply>>> },
    Finished,
}

fn serve(shared: &Arc<Shared>, target: Device, mut session: Session) {
    let (watch, watched) = mpsc::channel();
    let replaced = Arc::new(AtomicBool::new(false));
    let watchdog = {
        let (shared, replaced) = (shared.clone(), replaced.clone());
        let name = format!("watchdog-{target}");
        thread::Builder::new().name(name).spawn(move || keep_watch(&shared, target, &watched, &replaced))
    };
    if let Err(error) = watchdog {
        tracing::error!(%target, %error, "no watchdog could be started, so the session ends");
        return;
    }
    while !replaced.load(Ordering::Acquire) {
        let job = shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        shared.waiting.fetch_sub(1, Ordering::Relaxed);
        handle(shared, target, &mut session, &watch, job);
    }
    shared.stuck.fetch_sub(1, Ordering::AcqRel);
}

fn handle(shared: &Shared, target: Device, session: &mut Session, watch: &Sender<Watch>, job: RunRequest) {
    let _span = job.span.entered();
    let gone = |slot: &Option<Reply>| slot.as_ref().is_none_or(|reply| reply.is_closed());
    if gone(&job.reply.lock().unwrap_or_else(PoisonError::into_inner)) {
        return;
    }
    let queue_time = job.queued.elapsed();
    if queue_time > shared.limits.wait {
        return answer(&job.reply, Err(EngineError::Overloaded { waiting: shared.waiting.load(Ordering::Relaxed) }));
    }
    let options = match RunOptions::new() {
        Ok(options) => Arc::new(options),
        Err(error) => return answer(&job.reply, Err(EngineError::Runtime(session::describe(&error)))),
    };
    let late = Arc::new(AtomicBool::new(false));
    let started = Watch::Started { options: options.clone(), late: late.clone(), reply: job.reply.clone() };
    if watch.send(started).is_err() {
        return answer(&job.reply, Err(EngineError::Stopped));
    }
    let begun = Instant::now();
    let run = AssertUnwindSafe(|| session::run(session, target, job.inputs, &job.wanted, &options));
    let result = catch_unwind(run).unwrap_or_else(|_| Err(RunError::Runtime("the runtime's binding panicked".into())));
    let run_time = begun.elapsed();
    let _ = watch.send(Watch::Finished);
    let result = match result {
        Err(_) if late.load(Ordering::Acquire) => Err(EngineError::Timeout { limit: shared.limits.run }),
        result => Ok(RunReport { result, target, queue_time, run_time }),
    };
    answer(&job.reply, result);
}

fn answer(reply: &Mutex<Option<Reply>>, result: Result<RunReport, EngineError>) {
    if let Some(reply) = reply.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Nobody may be waiting any more.
        let _ = reply.send(result);
    }
}

fn keep_watch(shared: &Arc<Shared>, target: Device, watched: &Receiver<Watch>, replaced: &AtomicBool) {
    while let Ok(watch) = watched.recv() {
        // A thread that was replaced and came back after all has finished what nobody waits for.
        let Watch::Started { options, late, reply } = watch else { continue };
        match watched.recv_timeout(shared.limits.run) {
            Ok(_) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        late.store(true, Ordering::Release);
        let _ = options.terminate();
        match watched.recv_timeout(shared.limits.grace) {
            Ok(_) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        answer(&reply, Err(EngineError::Timeout { limit: shared.limits.run }));
        let stuck = shared.stuck.fetch_add(1, Ordering::AcqRel) + 1;
        if stuck <= MAX_STUCK {
            tracing::error!(%target, stuck, "a kernel does not stop: another session takes the model over");
            replaced.store(true, Ordering::Release);
            if let Err(error) = spawn(shared.clone(), target, None) {
                tracing::error!(%target, %error, "no thread could be started");
            }
            // The thread ends when its kernel does, and takes itself off the count.
            continue;
        }
        tracing::error!(%target, stuck, "a kernel does not stop, and too many hang for another session");
        if watched.recv().is_err() {
            return;
        }
        shared.stuck.fetch_sub(1, Ordering::AcqRel);
    }
}
