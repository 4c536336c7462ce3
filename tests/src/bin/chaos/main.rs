//! `./scripts/chaos`: a node through kills, bad endpoints, reorganisations and fee spikes, and the same audit of the chain
//! after each. The seed decides what is done; how it meets the node's own timing differs from run to run.

#![allow(clippy::print_stdout)] // telling what was done is what this program is for

mod faults;
mod fees;
mod fixture;
mod kill;
mod rare;
mod reorgs;
mod stages;

use std::{process::ExitCode, time::Instant};

use futures::StreamExt;
use oraculum_tests::Res;
use rand::{SeedableRng, rngs::StdRng};

const USAGE: &str = "usage: chaos [--seed N] [--short] [kill|faults|reorgs|fees|rare|stages]...";
const SCENARIOS: [&str; 6] = ["kill", "faults", "reorgs", "fees", "rare", "stages"];

/// What was asked for.
#[derive(Debug)]
struct Wish {
    seed: u64,
    short: bool,
    scenarios: Vec<String>,
}

fn wish(arguments: impl Iterator<Item = String>) -> Res<Wish> {
    let mut wish = Wish { seed: rand::random::<u32>().into(), short: false, scenarios: Vec::new() };
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seed" => wish.seed = arguments.next().ok_or(USAGE)?.parse().map_err(|_| USAGE)?,
            "--short" => wish.short = true,
            name if SCENARIOS.contains(&name) => wish.scenarios.push(argument),
            _ => return Err(USAGE.into()),
        }
    }
    if wish.scenarios.is_empty() {
        wish.scenarios = SCENARIOS.map(str::to_owned).to_vec();
    }
    Ok(wish)
}

#[tokio::main]
async fn main() -> ExitCode {
    let wish = match wish(std::env::args().skip(1)) {
        Ok(wish) => wish,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    println!("chaos: seed {}{}", wish.seed, if wish.short { ", short form" } else { "" });
    let scenarios = wish.scenarios.iter().map(|name| run(name, wish.seed, wish.short));
    // The short ones wait for blocks most of the time: side by side, they take as long as one.
    let at_once = if wish.short { scenarios.len() } else { 1 };
    let ended: Vec<bool> = futures::stream::iter(scenarios).buffer_unordered(at_once).collect().await;
    if ended.iter().all(|held| *held) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a scenario and tells how it ended; returns whether all held.
async fn run(name: &str, seed: u64, short: bool) -> bool {
    // Each draws from its own start, so that it is the same alone as among the others.
    let rng = StdRng::seed_from_u64(seed);
    let began = Instant::now();
    let told = match name {
        "kill" => kill::run(rng, short).await,
        "faults" => faults::run(rng, short).await,
        "reorgs" => reorgs::run(rng, short).await,
        "rare" => rare::run(rng, short).await,
        "stages" => stages::run(rng, short).await,
        _ => fees::run(rng, short).await,
    };
    match &told {
        Ok(told) => println!("{name}: {told} ({:.0} s)", began.elapsed().as_secs_f64()),
        Err(error) => {
            let short = if short { "--short " } else { "" };
            eprintln!("{name}: {error}\nto repeat it: ./scripts/chaos --seed {seed} {short}{name}");
        }
    }
    told.is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_crash_point_has_a_scenario_that_passes_it() {
        let tried = [&super::kill::USUAL[..], &super::reorgs::CRASHES, &super::rare::CLOSED, &super::rare::REPLACED];
        let tried: BTreeSet<&str> = tried.concat().into_iter().collect();
        assert_eq!(tried, oraculum::failpoint::POINTS.iter().copied().collect());
    }
}
