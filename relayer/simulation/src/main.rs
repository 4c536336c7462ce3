//! `./scripts/simulate`: lives of nodes, each from one seed, on every core.
//!
//! ```text
//! simulate [--seeds N] [--from SEED]    N lives, from a seed that is drawn and printed
//! simulate --seed SEED                  one life, with its last lines
//! ```

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
    process::ExitCode,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Instant,
};

const USAGE: &str = "usage: simulate [--seeds N] [--from SEED] | --seed SEED";

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
    let (mut seeds, mut from, mut one) = (1_000, None, None);
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return Err(USAGE.into()) };
        let value: u64 = value.parse().map_err(|_| USAGE)?;
        match name.as_str() {
            "--seeds" => seeds = value,
            "--from" => from = Some(value),
            "--seed" => one = Some(value),
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
    many(from, seeds)
}

fn many(from: u64, seeds: u64) -> Result<bool, Box<dyn std::error::Error>> {
    let began = Instant::now();
    let (next, requests, failed) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let live = || -> std::io::Result<()> {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= seeds {
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
        "{seeds} lives with {} requests in {:.1} s: {failed} violated something",
        requests.into_inner(),
        began.elapsed().as_secs_f64()
    );
    Ok(failed == 0)
}
