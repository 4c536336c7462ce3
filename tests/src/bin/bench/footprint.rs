//! Time and memory before the first request: a node with the shipped models that starts and waits, and a large model beside
//! a bare session.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use oraculum::{
    engine::{EngineOptions, OnnxEngine, Provider, Source},
    model::ModelFile,
};
use oraculum_tests::{
    Res,
    anvil::Anvil,
    consumer::Consumer,
    deployment::Deployment,
    node::{Node, binary},
    onnx,
};
use tokio::{io::AsyncReadExt, process::Command, time::sleep};

use super::{engine::bare_session, fixture::percentile, process};

/// The shipped models.
const MODELS: [&str; 4] = ["iris", "credit", "digits", "language"];
/// Time after which a node has settled.
const IDLE: Duration = Duration::from_secs(5);
/// MiB of weights of the large model.
const LARGE: i64 = 512;

/// Starts a node `starts` times, then loads the large model on each side.
pub(super) async fn run(starts: usize) -> Res<()> {
    idle(starts).await?;
    large().await
}

async fn idle(starts: usize) -> Res<()> {
    let anvil = Anvil::start().await?;
    let deployment = Deployment::deploy(&anvil.local.ws_url()).await?;
    let consumer = Consumer::new(&deployment, &MODELS).await?;
    let mut node = Node::new(&deployment, &anvil.local.ws_url(), 0, &[])?;
    deployment.seat(1, &node.signer, &consumer.ids()).await?;
    // The first start makes the journal, and compiles the judge where nobody has.
    let mut times = Vec::new();
    for _ in 0..=starts.max(1) {
        node.stop().await?;
        let began = Instant::now();
        node.start().await?;
        while !matches!(node.get("/ready").await, Ok((200, _))) {
            if node.ended()? {
                return Err(format!("the node ended at its start\n{}", node.log()).into());
            }
            sleep(Duration::from_millis(2)).await;
        }
        times.push(began.elapsed().as_secs_f64());
    }
    let mut times = times.split_off(1);
    times.sort_by(f64::total_cmp);
    println!(
        "start to ready: p50 {:.2} s, at most {:.2} s, of {}",
        percentile(&times, 0.5),
        percentile(&times, 1.0),
        times.len()
    );
    sleep(IDLE).await;
    let pid = node.pid().ok_or("the node is not running")?;
    println!("idle with {} models: node {:.0} MB", MODELS.len(), process::resident(&node)?);
    let mut children =
        process::children(pid)?.iter().map(|child| process::unshared(*child)).collect::<Res<Vec<_>>>()?;
    children.sort_by(f64::total_cmp);
    let shown: Vec<_> = children.iter().map(|megabytes| format!("{megabytes:.0}")).collect();
    println!("processes of its models, what each has for itself: {} MB", shown.join(", "));
    node.stop().await?;
    Ok(())
}

async fn large() -> Res<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("product.onnx");
    fs::write(&file, onnx::product(LARGE))?;
    let size = fs::metadata(&file)?.len() as f64 / 1048576.0;
    let mut bare = Command::new(std::env::current_exe()?)
        .arg("hold")
        .arg(&file)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    bare.stdout.as_mut().ok_or("no output")?.read_exact(&mut [0]).await?;
    let floor = process::unshared(bare.id().ok_or("the bare session has ended")?)?;
    drop(bare);
    println!("a model of {size:.0} MB, loaded: bare session {floor:.0} MB");
    let own = std::process::id();
    for (side, trust_models) in [("in a process of its own", false), ("in the node's process", true)] {
        let worker = Some(binary()?);
        let options = EngineOptions { provider: Provider::Cpu, trust_models, worker, ..EngineOptions::default() };
        let before = process::unshared(own)?;
        let engine = OnnxEngine::start(options).await?;
        let loaded = engine.load(Source::file(ModelFile::of_path(&file)?)).await?;
        sleep(Duration::from_millis(500)).await;
        let mut held = process::unshared(own)? - before;
        for child in process::children(own)? {
            held += process::unshared(child)?;
        }
        println!("| {side} | {held:.0} MB | {:.2} of the bare session's |", held / floor);
        drop((loaded, engine));
        sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// Loads a model into a bare session, says so, and waits for the end of standard input.
pub(super) fn hold(file: &Path) -> Res<()> {
    let session = bare_session(file)?;
    println!();
    std::io::stdin().lines().count();
    drop(session);
    Ok(())
}
