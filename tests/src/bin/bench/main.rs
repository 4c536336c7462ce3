//! `./scripts/bench`: timings, each beside a floor measured in the same run. They are printed, and decide nothing.

#![allow(clippy::print_stdout)] // printing figures is what this program is for

mod backlog;
mod blocks;
mod engine;
mod fixture;
mod flood;
mod footprint;
mod journal;
mod latency;
mod load;
mod log_server;
mod plot;
mod process;
mod soak;
mod throughput;

use std::process::ExitCode;

use oraculum_tests::Res;

const USAGE: &str = "usage: bench latency [REQUESTS] | blocks [SECONDS] | throughput [REQUESTS] | memory [REQUESTS]
     | backlog [BLOCKS EVENTS] | load [SECONDS] | soak [SECONDS SVG] | journal [OPERATIONS SVG]
     | engine [RUNS] | footprint [STARTS]";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match measure(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &[&str]) -> Res<()> {
    let Some((figure, rest)) = arguments.split_first() else { return Err(USAGE.into()) };
    let number = |at: usize, default: usize| rest.get(at).map_or(Ok(default), |text| text.parse::<usize>());
    match *figure {
        "latency" => latency::run(number(0, 500)?).await,
        "blocks" => blocks::run(number(0, 60)?).await,
        "throughput" => throughput::run(number(0, 10_000)?).await,
        "memory" => throughput::memory(number(0, 100_000)?).await,
        "backlog" => backlog::run(number(0, 200_000)?, number(1, 20_000)?).await,
        "load" => load::run(number(0, 60)?).await,
        "soak" => soak::run(number(0, 3_600)?, rest.get(1).copied()).await,
        "journal" => journal::run(number(0, 4_000_000)? as u64, rest.get(1).copied()),
        "engine" => engine::run(number(0, 2_000)?).await,
        "footprint" => footprint::run(number(0, 5)?).await,
        "hold" if rest.len() == 1 => footprint::hold(rest[0].as_ref()),
        "session" => engine::bare(),
        "floor" if rest.len() == 5 => {
            latency::floor([rest[0], rest[1]], rest[2].parse()?, rest[3].parse()?, rest[4].parse()?).await
        }
        _ => Err(USAGE.into()),
    }
}
