//! The process of a model: it loads one model, takes the means away from itself that it needs no more, and runs what it
//! is sent. Its standard input is the socket to the node, and it ends when that does.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
    sync::mpsc::{self, Receiver},
    thread,
};

use super::{
    sandbox::{self, Isolation},
    wire::{self, Failure, FailureKind, Load, Loaded, Order, OrderKind, Report, ReportKind, Run, Runtime},
};
use crate::{
    engine::backends::{canonical, ort},
    model::{ModelFile, OpenModelFile},
};

/// Something that runs one model in this process.
pub(in crate::engine::backends) trait Runner {
    /// What the node is told of the loaded model.
    fn loaded(&self) -> Loaded;

    /// Runs the model once.
    fn run(&mut self, run: Run) -> ReportKind;

    /// What ends the run that goes on, if there is something that does: another thread calls it.
    fn stopper(&self) -> Option<Box<dyn Fn() + Send>> {
        None
    }

    /// What the process can be kept from while it runs the model.
    fn isolation(&self) -> Isolation {
        Isolation::Full
    }

    /// Does what may be done while nobody waits.
    ///
    /// # Errors
    /// Why the process must not run the model any more.
    fn idle(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Serves the node behind standard input until that is closed.
pub(crate) fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}

/// Tells the node, which reads standard error; without a reader there is nobody to tell.
fn say(what: &str) {
    let _ = io::Write::write_all(&mut io::stderr(), format!("{what}\n").as_bytes());
}

fn serve() -> Result<(), String> {
    let told = |error: io::Error| format!("the node's socket: {error}");
    let input = io::stdin().as_fd().try_clone_to_owned().map_err(told)?;
    let mut socket = UnixStream::from(input);
    let load = match wire::read::<Order>(&mut socket) {
        Ok(Order { kind: Some(OrderKind::Load(load)) }) => load,
        Ok(_) => return Err("this is the process of a model: nodes start it".to_owned()),
        Err(error) => return Err(format!("this is the process of a model, which nodes start: {error}")),
    };
    let mut reader = socket.try_clone().map_err(told)?;
    let mut report = |kind: ReportKind| wire::write(&mut socket, &Report::from(kind)).map_err(told);
    let mut runner = match open(load, &mut |doing| report(ReportKind::Preparing(doing))) {
        Ok(runner) => runner,
        Err(failure) => return report(ReportKind::NotLoaded(failure)),
    };
    // Threads that are started from here on are isolated, too.
    for missing in
        sandbox::enter(runner.isolation()).map_err(|reason| format!("the process cannot be isolated: {reason}"))?
    {
        say(&format!("not isolated from {missing}"));
    }
    let (orders, received) = mpsc::channel();
    let stop = runner.stopper();
    let reading = thread::Builder::new().name("orders".to_owned());
    reading
        .spawn(move || {
            while let Ok(Order { kind: Some(kind) }) = wire::read(&mut reader) {
                if let (OrderKind::Stop(_), Some(stop)) = (&kind, &stop) {
                    stop();
                } else if orders.send(kind).is_err() {
                    break;
                }
            }
            // The node is gone: nobody wants what the other thread still does.
            std::process::exit(0);
        })
        .map_err(|error| format!("no thread could be started: {error}"))?;
    report(ReportKind::Loaded(runner.loaded()))?;
    run_all(&mut *runner, &received, report)
}

fn run_all(
    runner: &mut dyn Runner,
    orders: &Receiver<OrderKind>,
    mut report: impl FnMut(ReportKind) -> Result<(), String>,
) -> Result<(), String> {
    while let Ok(order) = orders.recv() {
        // Nothing is loaded twice, and the judge cannot be stopped but by its fuel, or with its process.
        let OrderKind::Run(run) = order else { continue };
        report(runner.run(run))?;
        runner.idle()?;
    }
    Ok(())
}

fn open(load: Load, preparing: &mut dyn FnMut(String) -> Result<(), String>) -> Result<Box<dyn Runner>, Failure> {
    let sha256 = load.sha256.as_slice().try_into().map_err(|_| failure(FailureKind::Runtime, "no hash".into()))?;
    let file: OpenModelFile = ModelFile::with_hash(load.file.into(), sha256)
        .open()
        .map_err(|error| failure(FailureKind::Model, error.to_string()))?;
    match load.runtime {
        Some(Runtime::Judge(options)) => canonical::runner::open(&file, &options, preparing),
        Some(Runtime::Native(options)) => ort::runner::open(&file, &options),
        None => Err(failure(FailureKind::Runtime, "nothing to run the model with".into())),
    }
}

/// A failure without an output.
pub(in crate::engine::backends) fn failure(kind: FailureKind, reason: String) -> Failure {
    Failure { kind: kind.into(), reason, output: 0, run_time: 0 }
}
