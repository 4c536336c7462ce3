//! What the jitter guard finds, what it finds by mistake, and what it costs, after `./scripts/setup`:
//!
//! ```text
//! cargo run -p oraculum-judge --example guard -- steps 40    steps near which native and judge part, 40 a kind: some minutes
//! cargo run -p oraculum-judge --example guard -- near 10     steps at most 2⁻²² away, whatever native makes of them
//! cargo run -p oraculum-judge --example guard -- false 3000  verdicts that it forbids on random inputs of the shipped models
//! cargo run -p oraculum-judge --example guard -- cost        a guarded judgement beside a plain one
//! ```

#![allow(clippy::print_stdout, reason = "a program that prints")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    error::Error,
    time::{Duration, Instant},
};

use oraculum_judge::{Guard, GuardVerdict, Limits, Session, Tensor, Weights};
use support::{
    SHIPPED, golden, judge, native, rows, shipped,
    steps::{self, LAYERS, STEPS},
    within_tolerance,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let count = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(10);
    match what.as_str() {
        "steps" => steps(count),
        "near" => near(count),
        "false" => mistakes(count),
        "cost" => cost(),
        _ => Err("say what: steps, near, false or cost".into()),
    }
}

/// Whether a verdict about a model's outputs, of which none may differ, is forbidden.
fn flagged(file: &[u8], inputs: &[Tensor], canonical: &[Tensor]) -> Result<bool, Box<dyn Error>> {
    let wanted: Vec<usize> = (0..canonical.len()).collect();
    let verdict = Guard::of(file)?.check(judge(), Limits::DEFAULT, inputs, &wanted, canonical, &|a, b| a == b)?;
    Ok(verdict != GuardVerdict::Silent)
}

fn steps(count: u64) -> Result<(), Box<dyn Error>> {
    let environment = native::environment();
    let (mut all, mut found) = (0, 0);
    for (layer, layers) in LAYERS.iter().enumerate() {
        for (step, name) in STEPS.iter().enumerate() {
            let started = Instant::now();
            let (mut parted, mut flags) = (0, 0);
            for seed in 0..count {
                let (file, inputs) = steps::model(judge(), layer, step, seed, 0.0);
                let canonical = judge().load(&file, Limits::DEFAULT)?.run_all(&inputs)?;
                if native::run(&environment, &file, &inputs)? != canonical {
                    parted += 1;
                    flags += u64::from(flagged(&file, &inputs, &canonical)?);
                }
            }
            println!("{layers}, {name}: {flags} of {parted} flagged, of {count} tried, {:?}", started.elapsed());
            (all, found) = (all + parted, found + flags);
        }
    }
    println!("{found} of {all} flagged: {:.2}%", 100.0 * found as f64 / all as f64);
    Ok(())
}

fn near(count: u64) -> Result<(), Box<dyn Error>> {
    let (mut all, mut found) = (0, 0);
    for (layer, layers) in LAYERS.iter().enumerate() {
        for (step, name) in STEPS.iter().enumerate() {
            let mut flags = 0;
            for seed in 0..count {
                let moved = steps::Numbers(seed).signed() * 2f32.powi(-22);
                let (file, inputs) = steps::model(judge(), layer, step, seed, moved);
                let canonical = judge().load(&file, Limits::DEFAULT)?.run_all(&inputs)?;
                flags += u64::from(flagged(&file, &inputs, &canonical)?);
            }
            println!("{layers}, {name}: {flags} of {count} flagged");
            (all, found) = (all + count, found + flags);
        }
    }
    println!("{found} of {all} flagged: {:.2}%", 100.0 * found as f64 / all as f64);
    Ok(())
}

/// Whether all outputs are equal by the rules of the shipped cards.
fn agrees(ours: &[Tensor], theirs: &[Tensor]) -> bool {
    ours.iter().zip(theirs).all(|(ours, theirs)| within_tolerance(ours, theirs))
}

/// Sessions that have run before give the same outputs, so that all inputs share two; fresh ones say the same of the first.
fn mistakes(count: u64) -> Result<(), Box<dyn Error>> {
    let (mut all, mut flags) = (0, 0);
    for (place, model) in SHIPPED.into_iter().enumerate() {
        let file = shipped(model);
        let guard = Guard::of(&file)?;
        let mut plain = judge().load(&file, Limits::DEFAULT)?;
        let load = |weights| -> Result<Session, Box<dyn Error>> {
            Ok(judge().load(&guard.file(weights)?, Guard::limits(Limits::DEFAULT))?)
        };
        let mut sessions = [load(Weights::Plus)?, load(Weights::Minus)?];
        let wanted: Vec<usize> = (0..plain.outputs().len()).collect();
        let each = count / 4 + u64::from((place as u64) < count % 4);
        let mut spoken = 0;
        for (row, inputs) in rows::random(model, each as usize).into_iter().enumerate() {
            let canonical = plain.run_all(&inputs)?;
            let mut speaks = false;
            for run in 1..=8 {
                let outputs = sessions[usize::from(run + 1) % 2].run(&guard.inputs(run, &inputs), &wanted)?;
                speaks |= !agrees(&outputs, &canonical);
            }
            if row < 10 || speaks {
                let verdict = guard.check(judge(), Limits::DEFAULT, &inputs, &wanted, &canonical, &agrees)?;
                if speaks != (verdict != GuardVerdict::Silent) {
                    return Err(format!("{model}: fresh sessions say {verdict:?}").into());
                }
            }
            spoken += u64::from(speaks);
        }
        println!("{model}: {spoken} of {each} forbidden");
        (all, flags) = (all + each, flags + spoken);
    }
    println!("{flags} of {all} forbidden: {:.3}%", 100.0 * flags as f64 / all as f64);
    Ok(())
}

/// The median of twenty times.
fn median(mut run: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..20 {
        let started = Instant::now();
        run()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn cost() -> Result<(), Box<dyn Error>> {
    for model in SHIPPED {
        let (file, inputs) = (shipped(model), golden(model).remove(0).inputs);
        let guard = Guard::of(&file)?;
        let plain = || judge().load(&file, Limits::DEFAULT)?.run_all(&inputs);
        let canonical = plain()?;
        let wanted: Vec<usize> = (0..canonical.len()).collect();
        let once = median(|| Ok(plain().map(drop)?))?;
        let guarded = median(|| {
            let canonical = plain()?;
            let verdict = guard.check(judge(), Limits::DEFAULT, &inputs, &wanted, &canonical, &agrees)?;
            if verdict == GuardVerdict::Silent { Ok(()) } else { Err("the guard speaks".into()) }
        })?;
        let rewritten = guard.file(Weights::Plus)?;
        let limits = Guard::limits(Limits::DEFAULT);
        let load = median(|| Ok(judge().load(&rewritten, limits).map(drop)?))?;
        let mut session = judge().load(&rewritten, limits)?;
        let run = median(|| Ok(session.run(&guard.inputs(1, &inputs), &wanted).map(drop)?))?;
        println!(
            "{model}: plain {once:?}, guarded {guarded:?}, {:.1} times as long; to load the rewritten model {load:?}, to run it {run:?}, \
             so with eight loads about {:?}",
            guarded.as_secs_f64() / once.as_secs_f64(),
            once + 8 * (load + run)
        );
    }
    Ok(())
}
