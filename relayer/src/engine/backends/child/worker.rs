//! The process of a model: it takes the means away from itself that no model needs, loads one model, and runs what it is
//! sent. Its standard input is the socket to the node, and it ends when that does.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    time::Timespec,
};

use super::{
    tensors, transfer,
    wire::{
        self, Failure, FailureKind, Load, Loaded, MAX_DATA, Order, OrderKind, Outputs, Report, ReportKind, Run,
        RunnerOptions,
        examine::{Done, Examine, Examined, Finding, Step},
    },
};
use crate::{
    engine::backends::{canonical, ort},
    model::OpenModelFile,
};

/// Tells the node what was found, with the tensors that follow it; fails where nobody listens.
pub(in crate::engine::backends) type ReportFinding<'a> =
    dyn FnMut(Finding, Vec<wire::Tensor>) -> Result<(), String> + 'a;

/// Something that runs one model in this process.
pub(in crate::engine::backends) trait Runner {
    /// What the node is told of the loaded model.
    fn loaded(&self) -> Loaded;

    /// Runs the model once.
    ///
    /// # Errors
    /// Why there are no outputs.
    fn run(&mut self, run: Run) -> Result<Results, Failure>;

    /// Takes a step of an examination, and reports what is found, with the tensors that follow it.
    ///
    /// # Errors
    /// Why the step could not be taken; where `report` fails nobody hears of it.
    fn examine(&mut self, step: Step, report: &mut ReportFinding<'_>) -> Result<(), Failure> {
        let _ = (step, report);
        Err(failure(FailureKind::Runtime, "this process serves its model".to_owned()))
    }

    /// Whether there is something to check while nobody waits.
    fn has_to_check(&self) -> bool {
        false
    }

    /// Begins to check that; what must not run the model any more ends the process.
    ///
    /// # Errors
    /// Why nothing can be checked.
    fn check(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Results of a run.
pub(in crate::engine::backends) struct Results {
    pub tensors: Vec<wire::Tensor>,
    pub trace: Option<wire::Trace>,
    pub guard: Option<wire::Guard>,
    /// Nanoseconds that the model ran.
    pub run_time: u64,
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

/// Ends the process for a reason.
pub(in crate::engine::backends) fn end(reason: &str) -> ! {
    say(reason);
    std::process::exit(1);
}

/// Tells the node, which reads standard error; without a reader there is nobody to tell.
fn say(what: &str) {
    let _ = io::Write::write_all(&mut io::stderr(), format!("{what}\n").as_bytes());
}

fn serve() -> Result<(), String> {
    let told = |error: io::Error| format!("the node's socket: {error}");
    let input = io::stdin().as_fd().try_clone_to_owned().map_err(told)?;
    let socket = UnixStream::from(input);
    let load = match transfer::read::<Order>(&socket) {
        Ok(Order { kind: Some(OrderKind::Load(load)) }) => load,
        Ok(_) => return Err("this is the process of a model: nodes start it".to_owned()),
        Err(error) => return Err(format!("this is the process of a model, which nodes start: {error}")),
    };
    let watched = socket.try_clone().map_err(told)?;
    let watch = move || end_with(watched.try_clone().map_err(told)?);
    let report = |kind: ReportKind| transfer::write(&socket, Report::from(kind)).map_err(told);
    let mut runner = match open(load, &watch, &mut |doing| report(ReportKind::Preparing(doing))) {
        Ok(runner) => runner,
        Err(failure) => return report(ReportKind::NotLoaded(failure)),
    };
    report(ReportKind::Loaded(runner.loaded()))?;
    loop {
        let order = match transfer::read::<Order>(&socket) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            order => order.map_err(told)?,
        };
        let run = match order.kind {
            Some(OrderKind::Run(run)) => run,
            Some(OrderKind::Examine(Examine { step: Some(step) })) => {
                let mut found = |finding: Finding, tensors: Vec<wire::Tensor>| {
                    report(ReportKind::Examined(Examined { finding: Some(finding) }))?;
                    tensors.into_iter().try_for_each(|tensor| transfer::write(&socket, tensor)).map_err(told)
                };
                let failure = runner.examine(step, &mut found).err();
                found(Finding::Done(Done { failure }), Vec::new())?;
                continue;
            }
            _ => return Err("the node sent an order that no model carries out".to_owned()),
        };
        match runner.run(run) {
            Ok(Results { tensors, run_time, .. }) if weight(&tensors) > MAX_DATA.into() => {
                let length = weight(&tensors);
                let too_long = failure(FailureKind::TooLong, format!("{length} bytes of output"));
                report(ReportKind::Failed(Failure { run_time, length, ..too_long }))?;
            }
            Ok(Results { tensors, trace, guard, run_time }) => {
                let count = u32::try_from(tensors.len()).unwrap_or(u32::MAX);
                report(ReportKind::Outputs(Outputs { tensors: count, run_time, trace: trace.is_some(), guard }))?;
                tensors.into_iter().try_for_each(|tensor| transfer::write(&socket, tensor)).map_err(told)?;
                trace.into_iter().try_for_each(|trace| transfer::write(&socket, trace)).map_err(told)?;
            }
            Err(failure) => report(ReportKind::Failed(failure))?,
        }
        if runner.has_to_check() && is_quiet(&socket) {
            runner.check()?;
        }
    }
}

/// Bytes that all tensors take in the node.
fn weight(tensors: &[wire::Tensor]) -> u64 {
    tensors.iter().map(tensors::weight).fold(0, u64::saturating_add)
}

/// Whether the node sends nothing for a while.
fn is_quiet(socket: &UnixStream) -> bool {
    const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&PAUSE)) == Ok(0)
}

/// Ends this process when the node closes its socket or is gone: nobody wants what a run still does then.
fn end_with(socket: UnixStream) -> Result<(), String> {
    let wait = move || {
        // A closed socket is told of without being asked for; an interruption is none.
        let mut closed = [PollFd::new(&socket, PollFlags::empty())];
        while poll(&mut closed, None).is_err() {}
        std::process::exit(0);
    };
    let waiting = thread::Builder::new().name("node".to_owned()).spawn(wait);
    waiting.map(drop).map_err(|error| format!("no thread could be started: {error}"))
}

/// Opens the model. `watch` ends the process with the node from then on: a thread, which files are closed to only if it is
/// started after they are.
fn open(
    load: Load,
    watch: &dyn Fn() -> Result<(), String>,
    preparing: &mut dyn FnMut(String) -> Result<(), String>,
) -> Result<Box<dyn Runner>, Failure> {
    let told = serde_json::from_str(&load.file).map_err(|error| failure(FailureKind::Runtime, error.to_string()))?;
    let file = OpenModelFile::from_parent(told).map_err(|error| failure(FailureKind::File, error.to_string()))?;
    match load.runner {
        Some(RunnerOptions::Judge(options)) => {
            // Compiling takes long, and what is loaded then opens no file in any thread.
            watch().map_err(|reason| failure(FailureKind::Runtime, reason))?;
            match options.examine {
                true => canonical::examiner::open(&file, &options, preparing),
                false => canonical::runner::open(&file, &options, preparing),
            }
        }
        Some(RunnerOptions::Native(options)) => ort::runner::open(&file, &options, watch),
        None => Err(failure(FailureKind::Runtime, "nothing is named to run the model".to_owned())),
    }
}

/// A failure without an output.
pub(in crate::engine::backends) fn failure(kind: FailureKind, reason: String) -> Failure {
    Failure { kind: kind.into(), reason, output: 0, run_time: 0, length: 0 }
}
