//! `./scripts/simulate`: lives of nodes, each from one seed, on every core.
//!
//! ```text
//! simulate [--seeds N] [--from SEED] [--plant FAULT]    N lives, from a seed that is drawn and printed
//! simulate --seed SEED [--plant FAULT]                  one life, with its last lines and the hash of all
//! simulate --faults                                     whether a life finds each fault that can be planted
//! ```
//!
//! The exit code is 1 if something did not hold; with `--faults`, if a fault was not found.

#![allow(clippy::print_stdout)] // printing what was found is what this program is for

mod abi;
mod check;
mod endpoint;
mod evm;
mod faults;
mod journal;
mod life;
mod node;
mod process;
mod trace;
mod world;

use std::{
    process::{Command, ExitCode},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Instant,
};

use oraculum::failpoint::{FAULTS, plant};

const USAGE: &str =
    "usage: simulate [--seeds N] [--from SEED] [--plant FAULT] | --seed SEED [--plant FAULT] | --faults";
/// Lives in which a planted fault has to be found.
const FAULT_SEEDS: u64 = 1_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether everything held.
fn run(arguments: &[String]) -> Result<bool, Box<dyn std::error::Error>> {
    if arguments == ["--faults"] {
        return faults();
    }
    let (mut seeds, mut from, mut one, mut planted) = (1_000, None, None, false);
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return Err(USAGE.into()) };
        let number = || value.parse::<u64>().map_err(|_| USAGE);
        match name.as_str() {
            "--seeds" => seeds = number()?,
            "--from" => from = Some(number()?),
            "--seed" => one = Some(number()?),
            "--plant" if plant(value) => planted = true,
            "--plant" => return Err(format!("no such fault; there are {}", FAULTS.join(", ")).into()),
            _ => return Err(USAGE.into()),
        }
    }
    if let Some(seed) = one {
        let lived = life::live(seed)?;
        lived.trace.iter().for_each(|line| println!("{line}"));
        lived.violations.iter().for_each(|what| println!("violated: {what}"));
        println!(
            "seed {seed}: {} requests, {} violations, trace {}",
            lived.requests,
            lived.violations.len(),
            lived.hash
        );
        return Ok(lived.violations.is_empty());
    }
    let from = from.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("{seeds} lives from seed {from}");
    many(from, seeds, planted)
}

/// Plants each fault in a process of its own. Returns whether all were found.
fn faults() -> Result<bool, Box<dyn std::error::Error>> {
    let (seeds, from) = (FAULT_SEEDS.to_string(), u64::from(rand::random::<u32>()).to_string());
    let mut all = true;
    for fault in FAULTS {
        let mut command = Command::new(std::env::current_exe()?);
        let output = command.args(["--plant", fault, "--seeds", &seeds, "--from", &from]).output()?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = told.lines().find(|line| line.starts_with("seed "));
        println!("{fault}: {}", found.unwrap_or("not found"));
        all &= found.is_some();
    }
    Ok(all)
}

/// Lives many lives; `until_found` ends at the first in which something does not hold.
fn many(from: u64, seeds: u64, until_found: bool) -> Result<bool, Box<dyn std::error::Error>> {
    let began = Instant::now();
    let (next, requests, failed) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let live = || -> std::io::Result<()> {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= seeds || until_found && failed.load(Ordering::Relaxed) > 0 {
                return Ok(());
            }
            let lived = life::live(from + at)?;
            requests.fetch_add(lived.requests, Ordering::Relaxed);
            if let Some(first) = lived.violations.first() {
                failed.fetch_add(1, Ordering::Relaxed);
                println!("seed {}: {first} ({} in all), trace {}", from + at, lived.violations.len(), lived.hash);
            }
        }
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(live)).collect();
        running
            .into_iter()
            .try_for_each(|one| one.join().unwrap_or_else(|_| Err(std::io::Error::other("a life panicked"))))
    })?;
    let failed = failed.into_inner();
    println!(
        "{} lives with {} requests in {:.1} s: {failed} violated something",
        next.into_inner().min(seeds),
        requests.into_inner(),
        began.elapsed().as_secs_f64()
    );
    Ok(failed == 0)
}
