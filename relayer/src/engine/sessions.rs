//! The sessions of a model, one per device, and the queue before them.
//!
//! ```text
//! run ──▶ queue ──▶ a free session ──▶ Session::run ──▶ reply
//!         limits.queue, limits.wait    limits.run, then limits.grace: after that the session is given up
//! ```
//!
//! A session that failed, ended or was given up is opened anew by the next run that comes to its device, from the model's
//! file, which is read and checked again.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    backend::{Backend, Health, RunError, RunReport, RunRequest, Session},
    error::{EngineError, LoadError},
    memory::{Hold, Memory, Resident, Shortage},
    profile::Device,
};
use crate::model::{ModelError, ModelFile, OpenModelFile, graph::Signature};

/// Sessions of a model that may hang in a run that was given up before no more are opened.
const MAX_HANGING: usize = 4;
/// Time for which a session that could not be opened anew is not tried again.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// Time limits, and the length of a model's queue.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of requests that may wait per model.
    pub queue: usize,
    /// Time that a request may wait in the queue.
    pub wait: Duration,
    /// Time that a model may run.
    pub run: Duration,
    /// Time that a run may go on after that, before its session is given up.
    pub grace: Duration,
    /// Time that a session may take to open.
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

/// A run, where it was, and how long it took to get there.
#[derive(Debug)]
pub(super) struct Attempt {
    pub report: RunReport,
    pub device: Device,
    /// Time between the request and its run.
    pub queue_time: Duration,
}

/// What the sessions of a model may use.
#[derive(Clone)]
pub(super) struct Terms {
    pub limits: Limits,
    pub memory: Arc<Memory>,
    /// Whether they stay in memory, whoever else needs it.
    pub pinned: bool,
}

/// The sessions of a model.
pub(super) struct Sessions {
    backend: Arc<dyn Backend>,
    file: ModelFile,
    signature: Arc<Signature>,
    terms: Terms,
    /// Size of the model's files, in bytes.
    size: u64,
    /// Bytes that a session held last; of none yet, that size.
    footprint: AtomicU64,
    last_used: Mutex<Instant>,
    /// One permit for each slot in `idle`.
    free: Arc<Semaphore>,
    idle: Mutex<Vec<Slot>>,
    waiting: AtomicUsize,
    /// Sessions whose run was given up and goes on.
    hanging: Mutex<Vec<Loaded>>,
}

/// A session, and the memory that it holds.
struct Loaded {
    session: Box<dyn Session>,
    hold: Hold,
}

/// A device's place for a session.
struct Slot {
    device: Device,
    session: Option<Loaded>,
    /// When the session could not be opened anew, and why.
    failed: Option<(Instant, String)>,
}

/// A slot in use; back among the idle ones when it is dropped.
struct Taken {
    sessions: Arc<Sessions>,
    slot: Option<Slot>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let idle = &self.sessions.idle;
        idle.lock().unwrap_or_else(PoisonError::into_inner).extend(self.slot.take());
    }
}

impl Sessions {
    /// Opens a session of `opened`, which is `file`, on every device.
    ///
    /// # Errors
    /// The first session's that does not open: `LoadError::Model`, `Session`, `Memory` or `Timeout`.
    pub(super) async fn open(
        backend: Arc<dyn Backend>,
        file: ModelFile,
        opened: &OpenModelFile,
        signature: Arc<Signature>,
        devices: &[Device],
        terms: Terms,
    ) -> Result<Arc<Self>, LoadError> {
        let (idle, hanging, waiting) = Default::default();
        let free = Arc::new(Semaphore::new(0));
        let size = opened.size()? + opened.weights(&signature.external)?.map_or(0, |weights| weights.size());
        let (footprint, last_used) = (AtomicU64::new(size), Mutex::new(Instant::now()));
        let sessions =
            Self { backend, file, signature, terms, size, footprint, last_used, free, idle, waiting, hanging };
        let mut slots = Vec::with_capacity(devices.len());
        for device in devices {
            let session = sessions.load(opened.clone(), *device).await?;
            slots.push(Slot { device: *device, session: Some(session), failed: None });
        }
        sessions.free.add_permits(slots.len());
        *sessions.idle.lock().unwrap_or_else(PoisonError::into_inner) = slots;
        let sessions = Arc::new(sessions);
        let resident: Weak<dyn Resident> = Arc::<Self>::downgrade(&sessions);
        sessions.terms.memory.register(resident);
        Ok(sessions)
    }

    /// Memory that a session holds, in bytes.
    pub(super) fn footprint(&self) -> u64 {
        self.footprint.load(Ordering::Relaxed)
    }

    /// Runs the model once. Dropping the future takes the request out of the queue, or cancels its run.
    ///
    /// # Errors
    /// `EngineError::Overloaded` where too many wait or this one waited too long; `Stopped` where there is no session and
    /// none can be opened; `Timeout`, `OutOfMemory`, `Device`, `Runtime`, `Limit` or `Crashed` where the run gave nothing.
    pub(super) async fn run(self: &Arc<Self>, request: RunRequest) -> Result<Attempt, EngineError> {
        let queued = Instant::now();
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = queued;
        let permit = self.queue().await?;
        self.run_with(permit, request, queued).await
    }

    /// Runs the model once if a session is open and has nothing to do; what comes of it is nobody's concern.
    pub(super) async fn run_if_free(self: &Arc<Self>, request: &RunRequest) {
        let is_open =
            |slot: &Slot| slot.session.as_ref().is_some_and(|loaded| loaded.session.health() == Health::Ready);
        if !self.idle.lock().unwrap_or_else(PoisonError::into_inner).last().is_some_and(is_open) {
            return;
        }
        if let Ok(permit) = self.free.clone().try_acquire_owned()
            && let Err(error) = self.run_with(permit, request.clone(), Instant::now()).await
        {
            tracing::debug!(%error, "a warm-up failed");
        }
    }

    async fn run_with(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        request: RunRequest,
        queued: Instant,
    ) -> Result<Attempt, EngineError> {
        let slot = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(slot) = slot else { return Err(EngineError::Stopped("it has no device".into())) };
        let taken = Taken { sessions: self.clone(), slot: Some(slot), _permit: permit };
        let cancel = CancellationToken::new();
        let gone = cancel.clone().drop_guard();
        let run = Run(Some(taken.run(request, queued, cancel).in_current_span().boxed())).await;
        gone.disarm();
        run
    }

    /// Waits for a session.
    async fn queue(&self) -> Result<OwnedSemaphorePermit, EngineError> {
        let stopped = |error: &dyn std::fmt::Display| EngineError::Stopped(error.to_string());
        match self.free.clone().try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(stopped(&TryAcquireError::Closed)),
            Err(TryAcquireError::NoPermits) => {}
        }
        let waiting = Waiting::begin(&self.waiting);
        let Limits { queue, wait, .. } = self.terms.limits;
        if waiting.before >= queue {
            return Err(EngineError::Overloaded { waiting: waiting.before });
        }
        match timeout(wait, self.free.clone().acquire_owned()).await {
            Ok(permit) => permit.map_err(|error| stopped(&error)),
            Err(_) => Err(EngineError::Overloaded { waiting: self.waiting.load(Ordering::Relaxed) }),
        }
    }

    async fn load(&self, file: OpenModelFile, device: Device) -> Result<Loaded, LoadError> {
        let short = |Shortage { needed, limit }| LoadError::Memory { needed: needed >> 20, limit: limit >> 20 };
        let Terms { limits: Limits { load: limit, .. }, memory, .. } = &self.terms;
        // An estimate makes room before the memory is taken.
        let mut hold = memory.hold(device, self.footprint()).map_err(short)?;
        let load = self.backend.load(file, self.signature.clone(), device);
        let session = timeout(*limit, load).await.unwrap_or(Err(LoadError::Timeout(*limit)))?;
        // What is seen of a process is its part of the machine's memory, and not what it holds of a device's.
        let held = if matches!(device, Device::Cpu | Device::Judge) { session.footprint() } else { self.size };
        hold.resize(device, held).map_err(short)?;
        self.footprint.store(held, Ordering::Relaxed);
        Ok(Loaded { session, hold })
    }

    /// Opens a session from the file as it lies on the disk now.
    async fn reload(&self, device: Device) -> Result<Loaded, LoadError> {
        let file = self.file.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let opened = file.open()?;
            opened.verify()?;
            Ok::<_, ModelError>(opened)
        });
        let opened = opened.await.map_err(|error| LoadError::Session(error.to_string()))??;
        self.load(opened, device).await
    }

    /// Number of sessions that still hang.
    fn hanging(&self) -> usize {
        let mut hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        hanging.retain(|loaded| loaded.session.health() == Health::Busy);
        hanging.len()
    }
}

impl Resident for Sessions {
    fn idle_since(&self) -> Option<Instant> {
        let last_used = *self.last_used.lock().unwrap_or_else(PoisonError::into_inner);
        (!self.terms.pinned).then_some(last_used)
    }

    fn idle(&self, on: &dyn Fn(Device) -> bool) -> u64 {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = idle.iter().filter(|slot| on(slot.device)).filter_map(|slot| slot.session.as_ref());
        sessions.map(|loaded| loaded.hold.bytes()).sum()
    }

    fn evict(&self, on: &dyn Fn(Device) -> bool) -> bool {
        let evicted = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.iter_mut().filter(|slot| on(slot.device)).find_map(|slot| slot.session.take())
        };
        if evicted.is_some() {
            tracing::debug!(file = %self.file.sha256(), "a model that was not asked for makes room for another");
        }
        evicted.is_some()
    }
}

/// A run that somebody waits for. Where nobody does any more, it goes on as a task of its own: the session is free again when
/// the run has ended, and not before.
struct Run(Option<BoxFuture<'static, Result<Attempt, EngineError>>>);

impl Future for Run {
    type Output = Result<Attempt, EngineError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = || EngineError::Stopped("its run has ended".into());
        let result = ready!(self.0.as_mut().map_or(Poll::Ready(Err(ended())), |run| run.poll_unpin(context)));
        self.0 = None;
        Poll::Ready(result)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let (Some(run), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(run);
        }
    }
}

/// One more that waits, until it is dropped.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    /// Number of those that waited before it.
    before: usize,
}

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        Self { count, before: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Taken {
    async fn run(
        mut self,
        request: RunRequest,
        queued: Instant,
        cancel: CancellationToken,
    ) -> Result<Attempt, EngineError> {
        let sessions = self.sessions.clone();
        let Some(slot) = self.slot.as_mut() else { return Err(EngineError::Stopped("its place is gone".into())) };
        let limit = sessions.terms.limits.run;
        let attempt = match slot.attempt(&sessions, request.clone(), queued, &cancel).await? {
            // The session may have ended for reasons of its own: once more, in a new one.
            Err(RunError::Ended(reason) | RunError::Killed(reason)) => {
                tracing::warn!(device = %slot.device, reason, "a session ended in a run, which is tried once more");
                slot.attempt(&sessions, request, queued, &cancel).await?
            }
            attempt => attempt,
        };
        attempt.map_err(|error| unanswered(error, limit))
    }
}

/// Error of a request whose run says nothing about its input.
fn unanswered(error: RunError, limit: Duration) -> EngineError {
    match error {
        RunError::OutOfMemory(reason) | RunError::Killed(reason) => EngineError::OutOfMemory(reason),
        RunError::Device(reason) => EngineError::Device(reason),
        RunError::Runtime(reason) => EngineError::Runtime(reason),
        RunError::Limit(reason) => EngineError::Limit(reason),
        RunError::Ended(reason) => EngineError::Crashed(reason),
        RunError::Late => EngineError::Timeout { limit },
        RunError::Cancelled => EngineError::Stopped("nobody waits for the answer any more".into()),
    }
}

impl Slot {
    /// Runs the model once; the inner error is the run's.
    async fn attempt(
        &mut self,
        sessions: &Sessions,
        request: RunRequest,
        queued: Instant,
        cancel: &CancellationToken,
    ) -> Result<Result<Attempt, RunError>, EngineError> {
        let loaded = self.ready(sessions).await?;
        let Limits { run, grace, .. } = sessions.terms.limits;
        let (device, queue_time) = (self.device, queued.elapsed());
        if cancel.is_cancelled() {
            self.session = Some(loaded);
            return Ok(Err(RunError::Cancelled));
        }
        let deadline = Instant::now() + run;
        let given_up = async {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = sleep_until(deadline) => {}
            }
            sleep(grace).await;
        };
        let ended = tokio::select! {
            biased;
            result = loaded.session.run(request, deadline, cancel.clone()) => Some(result),
            () = given_up => None,
        };
        let Some(result) = ended else {
            tracing::error!(%device, "a run does not stop; its session is given up, and the model is loaded anew");
            sessions.hanging.lock().unwrap_or_else(PoisonError::into_inner).push(loaded);
            return Ok(Err(RunError::Late));
        };
        self.session = Some(loaded);
        Ok(result.map(|report| Attempt { report, device, queue_time }))
    }

    /// Takes the session out, opened anew if it is lost.
    async fn ready(&mut self, sessions: &Sessions) -> Result<Loaded, EngineError> {
        if let Some(loaded) = self.session.take() {
            match loaded.session.health() {
                Health::Ready => return Ok(loaded),
                lost => tracing::error!(device = %self.device, ?lost, "a session is lost; the model is loaded anew"),
            }
        }
        if let Some((at, reason)) = &self.failed
            && at.elapsed() < REOPEN_PAUSE
        {
            return Err(EngineError::Stopped(reason.clone()));
        }
        let hanging = sessions.hanging();
        if hanging > MAX_HANGING {
            return Err(EngineError::Stopped(format!("{hanging} runs hang that were given up")));
        }
        match sessions.reload(self.device).await {
            Ok(loaded) => {
                self.failed = None;
                tracing::info!(device = %self.device, "a session was opened anew");
                Ok(loaded)
            }
            // Others may have ended by the next try.
            Err(error @ LoadError::Memory { .. }) => Err(EngineError::OutOfMemory(error.to_string())),
            Err(error) => {
                self.failed = Some((Instant::now(), error.to_string()));
                Err(EngineError::Stopped(error.to_string()))
            }
        }
    }
}
