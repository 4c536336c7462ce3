//! A device that is lost. It cannot be taken away here without touching its settings; the process that holds it is killed instead,
//! which to the node is the same.

use std::fs;

use oraculum::{
    engine::{Engine, EngineOptions, OnnxEngine, Provider, Source},
    protocol::OutputFormat,
    text,
};
use oraculum_tests::Res;
use rustix::process::{Pid, Signal, kill_process};

use super::{verdict, yes};
use crate::{
    Verdict,
    arguments::Arguments,
    subject::{file_of, load, random, shipped},
};

pub(crate) async fn run(arguments: &Arguments) -> Res<Verdict> {
    println!("| what is killed | answered before | answered after | found |\n|---|---|---|---|");
    let before = children();
    let engine = OnnxEngine::start(arguments.engine()).await?;
    let id = load(&engine, file_of("iris")?).await?;
    let held: Vec<_> = children().into_iter().filter(|child| !before.contains(child)).collect();
    let native = killed(&format!("the process of a model on {}", arguments.subject()), &engine, id, &held).await?;
    let before = children();
    let judge = OnnxEngine::start(EngineOptions { provider: Provider::Cpu, ..arguments.engine() }).await?;
    let id = judge.load(Source::judged_card(&shipped("iris")?)).await?.id;
    let held: Vec<_> = children().into_iter().filter(|child| !before.contains(child)).collect();
    let judged = killed("the process of a model in the judge", &judge, id, &held).await?;
    println!(
        "\nA loss of the device itself (`Xid`, a reset) is not provoked: that would touch its settings. To the node it is the end of the \
         processes that hold it, as here."
    );
    Ok(verdict(native == Some(true) && judged == Some(true)))
}

/// Kills processes between two runs; whether both were answered, or `None` where there is no process.
async fn killed(what: &str, engine: &OnnxEngine, id: alloy::primitives::B256, held: &[u32]) -> Res<Option<bool>> {
    let run = async || {
        let input = random("iris", 1, 1)?.pop().unwrap_or_default();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(engine.run(id, input, OutputFormat::NATIVE).await)
    };
    let first = run().await?;
    if held.is_empty() {
        println!("| {what} | {} | | there is none |", yes(first.is_ok()));
        return Ok(None);
    }
    for process in held {
        // One that has ended by itself is gone as well.
        let process = i32::try_from(*process).ok().and_then(Pid::from_raw);
        process.map(|process| kill_process(process, Signal::KILL));
    }
    let second = run().await?;
    let is_same = first.as_ref().ok().map(|ran| &ran.output) == second.as_ref().ok().map(|ran| &ran.output);
    let told = second.as_ref().map_or_else(ToString::to_string, |_| {
        if is_same { "the same output".into() } else { "**another output**".into() }
    });
    println!("| {what} | {} | {} | {} |", yes(first.is_ok()), yes(second.is_ok()), text::one_line(&told));
    Ok(Some(first.is_ok() && second.is_ok() && is_same))
}

/// Processes that this one started.
fn children() -> Vec<u32> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten();
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse::<u32>().ok());
    let is_child = |process: &u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|parent| parent.trim() == own))
    };
    numbers.filter(is_child).collect()
}
