//! A model in a process of its own, which holds no keys and can be killed: this program, started again as `oraculum
//! worker`.
//!
//! ```text
//! ChildSession::run ──▶ transfer ──▶ worker, in the other process ──▶ Runner (canonical/, ort/)
//! ```

pub(in crate::engine::backends) mod examination;
mod exchange;
pub(in crate::engine) mod sandbox;
pub(in crate::engine::backends) mod tensors;
mod transfer;
pub(in crate::engine::backends) mod wire;
pub(crate) mod worker;

use std::{
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, ChildStderr, Command},
    sync::Mutex as AsyncMutex,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    exchange::exchange,
    wire::{Failure, FailureKind, Load, Loaded, MAX_REPORT, Order, OrderKind, Report, ReportKind, RunnerOptions},
};
use crate::{
    engine::{
        backend::{Health, RunError, RunReport, RunRequest, Session},
        error::LoadError,
    },
    model::{OpenModelFile, graph::Signature},
    text,
};

/// Time that a run may go on after it should have ended, before its process is killed: a new one takes longer.
const STOP_GRACE: Duration = Duration::from_millis(500);
/// Time that a process may take to end.
const END_GRACE: Duration = Duration::from_secs(2);
/// Bytes of a line that a process writes, and of a reason that it gives.
const LONGEST_LINE: usize = 1_000;
/// Lines of a process that are logged.
const MAX_LINES: usize = 100;

/// A model that is loaded in a process of its own.
pub(super) struct ChildSession {
    connection: AsyncMutex<Connection>,
    health: Mutex<Health>,
    footprint: u64,
}

/// A process, and the socket to it.
struct Connection {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    process: Process,
}

/// A process, which is killed when this is dropped.
struct Process {
    child: Child,
    /// What it wrote last to standard error.
    last_words: Arc<Mutex<String>>,
}

impl ChildSession {
    /// Starts a process, and has it load the model. Dropping the future kills it.
    ///
    /// # Errors
    /// `LoadError::Model` or `File` where the file cannot be read; `Session` or `TooNew` where the model does not load, `Judge` where the
    /// judge cannot be used, and `Process` where the process failed.
    pub(super) async fn open(
        program: &Program,
        file: OpenModelFile,
        signature: &Signature,
        runner: RunnerOptions,
    ) -> Result<Self, LoadError> {
        let process = |error: std::io::Error| LoadError::Process(error.to_string());
        let (handle, told) = file.for_child(!signature.external.is_empty())?;
        let file = serde_json::to_string(&told).map_err(|error| process(error.into()))?;
        let load = Load { file, runner: Some(runner) };
        let mut connection = Connection::start(program, handle).map_err(process)?;
        let Loaded { footprint, inputs, outputs } = match connection.load(load).await {
            Ok(loaded) => loaded?,
            Err(error) => return Err(LoadError::Process(connection.process.end(&error).await.to_string())),
        };
        let names =
            |names: &[String]| names.iter().map(|name| text::shown(name).to_string()).collect::<Vec<_>>().join(", ");
        let expected: Vec<_> = signature.inputs.iter().map(|spec| spec.name.as_str()).collect();
        let expected_outputs: Vec<_> = signature.outputs.iter().map(|output| output.name()).collect();
        if inputs != expected || outputs != expected_outputs {
            let reason = format!("the runtime reads {} as inputs and {} as outputs", names(&inputs), names(&outputs));
            return Err(LoadError::Session(reason));
        }
        let held = connection.process.child.id().and_then(held_by);
        let footprint = held.unwrap_or(footprint);
        Ok(Self { connection: AsyncMutex::new(connection), health: Mutex::new(Health::Ready), footprint })
    }

    fn set(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    async fn run_once(
        &self,
        request: &RunRequest,
        deadline: Instant,
        cancel: &CancellationToken,
    ) -> Result<RunReport, RunError> {
        let mut connection = self.connection.lock().await;
        let Connection { reader, writer, process } = &mut *connection;
        // A message that was cut off leaves a process that nobody can talk to.
        let mut unfinished = KillUnfinished { process: Some(process), health: &self.health };
        let mut exchange = std::pin::pin!(exchange(reader, writer, request));
        let stopped = tokio::select! {
            biased;
            exchanged = &mut exchange => Ok(exchanged),
            () = cancel.cancelled() => Err(RunError::Cancelled),
            () = sleep_until(deadline) => Err(RunError::Late),
        };
        let (exchanged, stopped) = match stopped {
            Ok(exchanged) => (exchanged, None),
            Err(stopped) => match timeout(STOP_GRACE, &mut exchange).await {
                Ok(exchanged) => (exchanged, Some(stopped)),
                Err(_) => return Err(stopped),
            },
        };
        let Some(process) = unfinished.process.take() else { return Err(RunError::Ended("it is gone".to_owned())) };
        let report = match exchanged {
            Ok(report) => report,
            Err(error) => Err(process.end(&error).await),
        };
        self.set(match &report {
            Err(error @ (RunError::Ended(_) | RunError::Runtime(_) | RunError::Device(_) | RunError::Killed(_))) => {
                Health::Failed(error.to_string())
            }
            _ => Health::Ready,
        });
        stopped.map_or(report, Err)
    }
}

/// Kills a process in the middle of a run that is given up.
struct KillUnfinished<'a> {
    process: Option<&'a mut Process>,
    health: &'a Mutex<Health>,
}

impl Drop for KillUnfinished<'_> {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            let _ = process.child.start_kill();
            let killed = Health::Failed("its run was given up, and its process killed".to_owned());
            *self.health.lock().unwrap_or_else(PoisonError::into_inner) = killed;
        }
    }
}

impl Session for ChildSession {
    fn run(
        &self,
        request: RunRequest,
        deadline: Instant,
        cancel: CancellationToken,
    ) -> BoxFuture<'_, Result<RunReport, RunError>> {
        Box::pin(async move {
            self.set(Health::Busy);
            self.run_once(&request, deadline, &cancel).await
        })
    }

    fn footprint(&self) -> u64 {
        self.footprint
    }

    fn health(&self) -> Health {
        // A process may end while it has nothing to do.
        if let Ok(mut connection) = self.connection.try_lock()
            && let Ok(Some(status)) = connection.process.child.try_wait()
        {
            self.set(Health::Failed(ended(status)));
        }
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Connection {
    /// Starts the program as the process of a model, whose file is its standard output.
    fn start(program: &Program, file: std::fs::File) -> std::io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = theirs.into_std()?;
        theirs.set_nonblocking(false)?;
        let mut child = Command::new(&program.path)
            .args(program.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::from(file))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // A terminal's signals are for the node.
            .process_group(0)
            .spawn()?;
        let last_words = Arc::<Mutex<String>>::default();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log(stderr, child.id().unwrap_or_default(), last_words.clone()));
        }
        let (reader, writer) = ours.into_split();
        Ok(Self { reader, writer, process: Process { child, last_words } })
    }

    /// Has the process load its model; the inner error is the model's or the judge's.
    async fn load(&mut self, load: Load) -> std::io::Result<Result<Loaded, LoadError>> {
        transfer::send(&mut self.writer, Order::from(OrderKind::Load(load))).await?;
        let mut lines = 0;
        loop {
            match transfer::receive::<Report>(&mut self.reader, MAX_REPORT).await?.kind {
                Some(ReportKind::Preparing(doing)) if lines < MAX_LINES => {
                    lines += 1;
                    tracing::info!("{}", text::cut(&text::one_line(&doing).to_string(), LONGEST_LINE));
                }
                Some(ReportKind::Loaded(loaded)) => return Ok(Ok(loaded)),
                Some(ReportKind::NotLoaded(failure)) => return Ok(Err(not_loaded(failure))),
                _ => return Ok(Err(LoadError::Process("it says what it should not".to_owned()))),
            }
        }
    }
}

impl Process {
    /// Waits for the end of a process that broke its connection, and says how it ended.
    async fn end(&mut self, error: &std::io::Error) -> RunError {
        let status = match timeout(END_GRACE, self.child.wait()).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return RunError::Ended(error.to_string()),
            Err(_) => {
                let _ = self.child.start_kill();
                return RunError::Ended(format!("its process broke the connection ({error}) and was killed"));
            }
        };
        let last_words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        let told = ended(status);
        let told = if last_words.is_empty() { told } else { format!("{told}: {last_words}") };
        // Somebody, perhaps the system for want of memory, chose this process: the request is not to blame.
        if status.signal() == Some(9) { RunError::Killed(told) } else { RunError::Ended(told) }
    }
}

/// Logs what a process writes to standard error: a few lines, each cut.
async fn log(stderr: ChildStderr, process: u32, last_words: Arc<Mutex<String>>) {
    let (mut pieces, mut lines) = (BufReader::new(stderr), 0);
    let mut line = Vec::new();
    // A piece ends with a line, or where a line is longer than anybody reads.
    while let Ok(1..) = (&mut pieces).take(LONGEST_LINE as u64).read_until(b'\n', &mut line).await {
        let told = text::cut(&String::from_utf8_lossy(&line), LONGEST_LINE);
        line.clear();
        if lines < MAX_LINES {
            tracing::warn!(process, "the process of a model says: {told}");
        } else {
            // Whoever says so much has nothing to tell, and shall not keep the node busy.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        lines += 1;
        *last_words.lock().unwrap_or_else(PoisonError::into_inner) = told;
    }
}

/// Bytes of memory that a process has to itself, where the system tells.
fn held_by(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// How a process ended, in words.
fn ended(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(11), _) => "its process crashed (a memory fault, signal 11)".to_owned(),
        (Some(9), _) => "its process was killed (signal 9), perhaps for want of memory".to_owned(),
        (Some(signal), _) => format!("its process was ended by signal {signal}"),
        (None, code) => format!("its process ended with code {}", code.unwrap_or_default()),
    }
}

fn not_loaded(failure: Failure) -> LoadError {
    let kind = failure.kind();
    let reason = text::cut(&failure.reason, LONGEST_LINE);
    match kind {
        FailureKind::Judge => LoadError::Judge(reason),
        FailureKind::File => LoadError::File(reason),
        FailureKind::Runtime | FailureKind::Memory | FailureKind::Device => LoadError::Process(reason),
        FailureKind::TooNew => LoadError::TooNew(reason),
        FailureKind::Model | FailureKind::NotTensor | FailureKind::Limit | FailureKind::TooLong => {
            LoadError::Session(reason)
        }
    }
}

/// Program that is started as the process of a model.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Program {
    path: PathBuf,
    arguments: &'static [&'static str],
}

impl Program {
    /// This program, or another build of it.
    ///
    /// # Errors
    /// Where the system does not say what this program is.
    pub(in crate::engine) fn find(other: Option<&Path>) -> std::io::Result<Self> {
        let path = match other {
            Some(path) => return Ok(Self { path: path.to_path_buf(), arguments: COMMAND }),
            None => std::env::current_exe()?,
        };
        // The file of a running program may be replaced; what runs stays what it is.
        let running = Path::new("/proc/self/exe");
        let path = if running.exists() { running.to_path_buf() } else { path };
        Ok(Self { path, arguments: HERE })
    }
}

/// Command of the process of a model.
const COMMAND: &[&str] = &["worker"];
/// What makes this program the process of a model.
#[cfg(not(test))]
const HERE: &[&str] = COMMAND;
/// What makes the program of the unit tests the process of a model.
#[cfg(test)]
const HERE: &[&str] =
    &["engine::backends::child::the_unit_tests_stand_for_the_program", "--exact", "--ignored", "--nocapture"];

/// Runs as the process of a model, for the other tests.
#[cfg(test)]
#[test]
#[ignore = "other tests start it as the process of a model"]
fn the_unit_tests_stand_for_the_program() {
    assert_eq!(worker::main(), std::process::ExitCode::SUCCESS);
}
