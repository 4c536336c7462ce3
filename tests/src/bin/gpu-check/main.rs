//! `./scripts/gpu-check`: all that only a GPU shows, in one report. With `--rehearse` the processor stands in for it.
//!
//! Each section runs in a process of its own, within a time of its own: what brings a driver down, or hangs in one, costs its
//! section and no other. The report is written anew after each, so that what is known is never lost.

#![allow(clippy::print_stdout)] // sections print what the report holds

mod arguments;
mod driver;
mod measure;
mod sections;
mod subject;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Section};

/// How a section ended, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What it looks at is as it should be.
    Passed = 0,
    /// It is not.
    Failed = 1,
    /// Nothing can be said of it here.
    NotHere = 3,
}

fn main() -> ExitCode {
    // The process of a model is this program, too.
    if std::env::args_os().nth(1).is_some_and(|first| first == "worker") {
        return oraculum::cli::main();
    }
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match arguments.section {
        Some(section) => runtime.block_on(run(section, &arguments)) as u8,
        None => match runtime.block_on(driver::run(&arguments)) {
            Ok(true) => 0,
            Ok(false) => 1,
            Err(error) => {
                eprintln!("error: {error}");
                1
            }
        },
    };
    // What hangs in a driver must not keep the process from ending.
    std::process::exit(code.into());
}

async fn run(section: Section, arguments: &Arguments) -> Verdict {
    let ended = match section {
        Section::Device => sections::device::run(arguments).await,
        Section::Refusals => sections::refusals::run(arguments).await,
        Section::Conformance => sections::conformance::run(arguments).await,
        Section::Judge => sections::judge::run(arguments).await,
        Section::Determinism => sections::determinism::run(arguments).await,
        Section::Batching => sections::batching::run(arguments).await,
        Section::Throughput => sections::throughput::run(arguments).await,
        Section::Bare => sections::throughput::bare(arguments),
        Section::Memory => sections::memory::run(arguments).await,
        Section::Loss => sections::loss::run(arguments).await,
    };
    ended.unwrap_or_else(|error| {
        println!("\n**It ended with an error:** {}", oraculum::text::one_line(&error.to_string()));
        Verdict::Failed
    })
}
