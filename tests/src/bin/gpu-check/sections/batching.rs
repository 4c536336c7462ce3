//! What stacking inputs gains, where a model has a batch dimension.

use std::time::{Duration, Instant};

use alloy::primitives::{B256, Bytes};
use oraculum::{engine::OnnxEngine, model::ModelFile, protocol::OutputFormat};
use oraculum_tests::{Res, onnx};

use super::verdict;
use crate::{
    Verdict,
    arguments::Arguments,
    measure::{Difference, Times},
    subject::{file_of, images, load, numbers, random},
};

/// Rows that are stacked.
const ROWS: u32 = 64;
/// Times that each is measured.
const RUNS: usize = 15;

pub(crate) async fn run(arguments: &Arguments) -> Res<Verdict> {
    println!(
        "{ROWS} rows one after another, and stacked in one run; medians of {RUNS}. A stacked row may differ from a single one by rounding.\n"
    );
    println!("| model | one after another, ms | stacked, ms | gain | largest difference |\n|---|---:|---:|---:|---:|");
    let size = if arguments.rehearse { 16 } else { 112 };
    let mut all = true;
    for name in ["iris", "digits", "credit", "convolutions"] {
        let engine = OnnxEngine::start(arguments.engine_here()).await?;
        let file =
            if name == "convolutions" { ModelFile::in_memory(onnx::network(size.into())) } else { file_of(name)? };
        let id = match load(&engine, file).await {
            Ok(id) => id,
            Err(error) => {
                println!(
                    "| {name} | refused: {} | | | |",
                    oraculum::text::one_line(&error.to_string()).replace('|', "\\|")
                );
                continue;
            }
        };
        let input = |rows| match name {
            "convolutions" => images(rows, size, 3),
            name => random(name, 1, rows)?.pop().ok_or_else(|| "no input".into()),
        };
        let (single, stacked) = (input(1)?, input(ROWS)?);
        // Random inputs begin alike: the first row is the same in both, where a model has one input.
        let difference = if name == "credit" { None } else { Some(compare(&engine, id, &single, &stacked).await?) };
        let (mut apart, mut together) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let began = Instant::now();
            for _ in 0..ROWS {
                once(&engine, id, &single).await?;
            }
            apart.push(began.elapsed());
            let began = Instant::now();
            once(&engine, id, &stacked).await?;
            together.push(began.elapsed());
        }
        let (apart, together) = (Times::new(apart).quantile(0.5), Times::new(together).quantile(0.5));
        let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
        let gain = apart.as_secs_f64() / together.as_secs_f64().max(1e-9);
        let told =
            difference.map_or_else(|| "not compared".to_owned(), |difference| format!("{:.1e}", difference.largest));
        all &= difference.is_none_or(|difference| difference.beyond == 0);
        println!("| {name} | {} | {} | {gain:.1} | {told} |", ms(apart), ms(together));
    }
    Ok(verdict(all))
}

async fn once(engine: &OnnxEngine, id: B256, input: &Bytes) -> Res<Bytes> {
    let ran = engine.run_off_chain(id, input.clone(), OutputFormat::NATIVE.mask).await?;
    ran.failure.map_or(Ok(ran.output), |failure| Err(failure.to_string().into()))
}

/// How far the first row of many is from the same row alone.
async fn compare(engine: &OnnxEngine, id: B256, single: &Bytes, stacked: &Bytes) -> Res<Difference> {
    let alone = numbers(&once(engine, id, single).await?)?;
    let first: Vec<_> = numbers(&once(engine, id, stacked).await?)?.into_iter().take(alone.len()).collect();
    Ok(Difference::of(&first, &alone, 1e-5, 1e-4))
}
