//! What holds over any backend: lost sessions are opened anew, runs are cancelled, deadlines are given.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures::FutureExt;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    engine::{
        backend::{Backend, Health, RunError, RunReport, RunRequest, Session},
        devices::Devices,
        homes::Native,
    },
    model::{OpenModelFile, graph::Signature},
};

/// A backend whose sessions do as they are told, and otherwise give their input back.
#[derive(Default)]
pub(super) struct Scripted {
    loads: AtomicUsize,
    pub(super) script: Arc<Script>,
}

#[derive(Default)]
pub(super) struct Script {
    /// What the next runs do.
    steps: Mutex<Vec<Step>>,
    /// Number of the next loads that fail.
    pub(super) failing_loads: AtomicUsize,
    cancelled: Notify,
    deadline: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// The session ends in its run.
    End,
    /// The run fails below the model, and takes the session with it.
    Fail,
    /// The run goes on until it is cancelled.
    Wait,
    /// The run goes on for ever.
    Hang,
}

struct ScriptedSession {
    script: Arc<Script>,
    health: Mutex<Health>,
}

impl Backend for Scripted {
    fn load(
        &self,
        file: OpenModelFile,
        _: Arc<Signature>,
        _: Device,
    ) -> BoxFuture<'_, Result<Box<dyn Session>, LoadError>> {
        async move {
            file.verify()?;
            self.loads.fetch_add(1, Ordering::Relaxed);
            let left = |left: usize| left.checked_sub(1);
            if self.script.failing_loads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok() {
                return Err(LoadError::Session("told to".into()));
            }
            let session = ScriptedSession { script: self.script.clone(), health: Mutex::new(Health::Ready) };
            Ok(Box::new(session) as Box<dyn Session>)
        }
        .boxed()
    }
}

impl Session for ScriptedSession {
    fn run(
        &self,
        batch: RunRequest,
        deadline: Instant,
        cancel: CancellationToken,
    ) -> BoxFuture<'_, Result<RunReport, RunError>> {
        async move {
            *self.script.deadline.lock().unwrap() = Some(deadline);
            let step = self.script.steps.lock().unwrap().pop();
            let fail = |reason: &str| *self.health.lock().unwrap() = Health::Failed(reason.into());
            match step {
                Some(Step::End) => {
                    fail("ended");
                    return Err(RunError::Ended("told to".into()));
                }
                Some(Step::Fail) => {
                    fail("failed");
                    return Err(RunError::Runtime("told to".into()));
                }
                Some(Step::Wait) => {
                    cancel.cancelled().await;
                    self.script.cancelled.notify_one();
                    return Err(RunError::Cancelled);
                }
                Some(Step::Hang) => {
                    *self.health.lock().unwrap() = Health::Busy;
                    std::future::pending::<()>().await;
                }
                None => {}
            }
            let outputs = batch.wanted.into_iter().zip(batch.inputs).collect();
            Ok(RunReport { result: Ok(outputs), run_time: Duration::from_millis(1), trace: None, guard: None })
        }
        .boxed()
    }

    fn footprint(&self) -> u64 {
        FOOTPRINT
    }

    fn health(&self) -> Health {
        self.health.lock().unwrap().clone()
    }
}

/// Bytes that a scripted session holds.
const FOOTPRINT: u64 = 1_000;

/// A model that gives its input back, whose name makes it another model.
fn identity(input: &str) -> Vec<u8> {
    let ports = |name| vec![port(name, 1, &[1])];
    model(graph(vec![node("Identity", &[input], &["y"])], ports(input), ports("y")), vec![])
}

struct Rig {
    engine: OnnxEngine,
    backend: Arc<Scripted>,
    folder: tempfile::TempDir,
    id: B256,
}

impl Rig {
    /// An engine over a scripted backend, with a model of one input and one output that lies on disk.
    async fn new() -> Self {
        Self::with_memory(0).await
    }

    /// The same, where sessions may hold so many bytes.
    async fn with_memory(memory: u64) -> Self {
        let backend = Arc::new(Scripted::default());
        let devices = Devices::processor();
        let native = Native { backend: backend.clone(), partial: None, runtime: "1.30.0".to_owned(), devices };
        let engine = OnnxEngine::over(native, EngineOptions { memory, ..EngineOptions::default() });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.onnx"), identity("x")).unwrap();
        let file = ModelFile::of_path(&folder.path().join("model.onnx")).unwrap();
        let id = engine.load(Source::file(file)).await.unwrap().id;
        Self { engine, backend, folder, id }
    }

    /// Has the next runs do these, in order.
    fn script(&self, steps: &[Step]) {
        *self.backend.script.steps.lock().unwrap() = steps.iter().rev().copied().collect();
    }

    async fn run(&self) -> Result<Inference, EngineError> {
        self.engine.run(self.id, pack(&[Tensor::f32(vec![1], &[1.0]).unwrap()]), NATIVE).await
    }

    fn loads(&self) -> usize {
        self.backend.loads.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_or_fails_is_opened_anew_by_the_next_run() {
    let rig = Rig::new().await;
    assert_eq!(rig.run().await.unwrap().outcome, Outcome::Ok);
    assert_eq!(rig.loads(), 1);
    for (step, label) in [(Step::Fail, "runtime"), (Step::Hang, "timeout")] {
        let before = rig.loads();
        rig.script(&[step]);
        let error = rig.run().await.unwrap_err();
        assert_eq!((error.metrics_label(), error.fault() == Fault::Request), (label, false), "{step:?}");
        for _ in 0..3 {
            assert_eq!(rig.run().await.unwrap().outcome, Outcome::Ok, "{step:?}");
        }
        assert_eq!(rig.loads(), before + 1, "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_in_which_the_session_ends_is_tried_once_more_and_then_given_up() {
    let rig = Rig::new().await;
    rig.script(&[Step::End]);
    assert_eq!(rig.run().await.unwrap().outcome, Outcome::Ok);
    assert_eq!(rig.loads(), 2);
    rig.script(&[Step::End, Step::End]);
    let error = rig.run().await.unwrap_err();
    assert_eq!((error.metrics_label(), error.fault()), ("crashed", Fault::Request));
    // The next request has a session again.
    assert_eq!(rig.run().await.unwrap().outcome, Outcome::Ok);
    assert_eq!(rig.loads(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_opened_anew_is_tried_again_after_a_pause() {
    let rig = Rig::new().await;
    rig.backend.script.failing_loads.store(1, Ordering::Relaxed);
    rig.script(&[Step::Fail]);
    rig.run().await.unwrap_err();
    for _ in 0..10 {
        let error = rig.run().await.unwrap_err();
        assert!(matches!(&error, EngineError::Stopped(reason) if reason.contains("told to")), "{error}");
        assert_eq!(error.fault(), Fault::Backend);
    }
    assert_eq!(rig.loads(), 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(rig.run().await.unwrap().outcome, Outcome::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_altered_is_not_opened_anew() {
    let rig = Rig::new().await;
    let path = rig.folder.path().join("model.onnx");
    let file = std::fs::read(&path).unwrap();
    std::fs::write(&path, gather()).unwrap();
    rig.script(&[Step::Fail]);
    rig.run().await.unwrap_err();
    let error = rig.run().await.unwrap_err();
    assert!(error.to_string().contains("altered"), "{error}");
    assert_eq!(rig.loads(), 1);
    std::fs::write(&path, file).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(rig.run().await.unwrap().outcome, Outcome::Ok);
}

#[tokio::test(start_paused = true)]
async fn sessions_that_hang_are_replaced_until_there_are_too_many() {
    let rig = Rig::new().await;
    for _ in 0..5 {
        rig.script(&[Step::Hang]);
        assert!(matches!(rig.run().await, Err(EngineError::Timeout { .. })));
    }
    let error = rig.run().await.unwrap_err();
    assert!(matches!(&error, EngineError::Stopped(reason) if reason.starts_with('5')), "{error}");
    assert_eq!(rig.loads(), 5);
}

#[tokio::test]
async fn a_run_is_cancelled_when_nobody_waits_for_it_and_its_session_serves_on() {
    let rig = Rig::new().await;
    rig.script(&[Step::Wait]);
    let waiting = tokio::time::timeout(Duration::from_millis(50), rig.run()).await;
    assert!(waiting.is_err());
    rig.backend.script.cancelled.notified().await;
    assert_eq!(rig.run().await.unwrap().outcome, Outcome::Ok);
    assert_eq!(rig.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_has_its_deadline_from_when_it_begins() {
    let rig = Rig::new().await;
    tokio::time::advance(Duration::from_secs(60)).await;
    rig.run().await.unwrap();
    let deadline = rig.backend.script.deadline.lock().unwrap().unwrap();
    assert_eq!(deadline, Instant::now() + Limits::default().run);
}

#[tokio::test(start_paused = true)]
async fn the_model_that_was_used_least_recently_makes_room_for_another() {
    let rig = Rig::with_memory(2 * FOOTPRINT + FOOTPRINT / 2).await;
    let run = async |id: B256| {
        tokio::time::advance(Duration::from_secs(1)).await;
        let before = rig.loads();
        let input = pack(&[Tensor::f32(vec![1], &[1.0]).unwrap()]);
        assert_eq!(rig.engine.run(id, input, NATIVE).await.unwrap().outcome, Outcome::Ok);
        rig.loads() - before
    };
    let load = async |name: &str| rig.engine.load(in_memory(identity(name))).await.unwrap().id;
    let (first, second) = (rig.id, load("a").await);
    assert_eq!((run(first).await, run(second).await, run(first).await), (0, 0, 0));
    // The third takes the place of the second, and the second that of the first.
    let third = load("b").await;
    assert_eq!((run(first).await, run(third).await), (0, 0));
    assert_eq!(run(second).await, 1);
    assert_eq!((run(third).await, run(second).await, run(first).await), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_pinned_model_stays_and_what_finds_no_room_says_so() {
    let rig = Rig::with_memory(2 * FOOTPRINT + FOOTPRINT / 2).await;
    let pinned = async |name: &str| rig.engine.load(in_memory(identity(name)).pinned()).await;
    pinned("a").await.unwrap();
    // This evicts the rig's own model, and then nothing is left to evict.
    pinned("b").await.unwrap();
    let error = rig.run().await.unwrap_err();
    assert_eq!((error.metrics_label(), error.fault()), ("out_of_memory", Fault::Load));
    assert!(error.to_string().contains("raise `engine.memory`"), "{error}");
    let Err(error) = pinned("c").await else { panic!("there is no room") };
    assert!(matches!(error, LoadError::Memory { .. }), "{error}");
}
