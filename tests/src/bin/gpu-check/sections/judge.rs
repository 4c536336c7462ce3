//! The shipped models on the device, beside the canonical judge.

use oraculum::{
    engine::{Engine, EngineOptions, OnnxEngine, Provider, Source},
    protocol::{Outcome, OutputFormat},
    text,
};
use oraculum_tests::Res;

use super::{verdict, yes};
use crate::{
    Verdict,
    arguments::Arguments,
    measure::Difference,
    subject::{SHIPPED, file_of, golden, load, numbers, random, shipped},
};

/// The tolerance that cards of native models have by default.
const ATOL: f64 = 1e-5;
const RTOL: f64 = 1e-4;
/// Random inputs of each model, beside the golden ones.
const RANDOM: usize = 100;

pub(crate) async fn run(arguments: &Arguments) -> Res<Verdict> {
    println!(
        "Golden inputs and {RANDOM} random ones of each shipped model; the tolerance is {ATOL} + {RTOL}·|value|.\n"
    );
    println!("| model | runs on | inputs | equal to the bit | largest difference | beyond the tolerance | within |");
    println!("|---|---|---:|---:|---:|---:|---|");
    let judge = OnnxEngine::start(EngineOptions { provider: Provider::Cpu, ..arguments.engine() }).await?;
    let device = OnnxEngine::start(arguments.engine_here()).await?;
    let partly = OnnxEngine::start(EngineOptions { partial: true, ..arguments.engine_here() }).await?;
    let (mut all, mut on_device) = (true, 0);
    for name in SHIPPED {
        let (engine, id) = match load(&device, file_of(name)?).await {
            Ok(id) => {
                on_device += 1;
                (&device, id)
            }
            Err(refused) => match load(&partly, file_of(name)?).await {
                Ok(id) => (&partly, id),
                Err(_) => {
                    println!(
                        "| {name} | refused: {} | | | | | |",
                        text::one_line(&refused.to_string()).replace('|', "\\|")
                    );
                    continue;
                }
            },
        };
        let judged = judge.load(Source::judged_card(&shipped(name)?)).await?;
        let place = engine.model(id).map_or_else(String::new, |model| model.place());
        let mut inputs = golden(name, &judged.signature.inputs)?;
        inputs.extend(random(name, RANDOM, 1)?);
        let (mut equal, mut difference) = (0, Difference::default());
        for input in &inputs {
            let found = engine.run_off_chain(id, input.clone(), OutputFormat::NATIVE.mask).await?;
            let expected = judge.run(judged.id, input.clone(), OutputFormat::NATIVE).await?;
            if (found.outcome, expected.outcome) != (Outcome::Ok, Outcome::Ok) {
                return Err(
                    format!("{name}: {} on the device, {} by the judge", found.outcome, expected.outcome).into()
                );
            }
            equal += usize::from(found.output == expected.output);
            difference =
                difference.and(Difference::of(&numbers(&found.output)?, &numbers(&expected.output)?, ATOL, RTOL));
        }
        let is_within = difference.beyond == 0;
        all &= is_within;
        println!(
            "| {name} | {place} | {} | {equal} | {:.1e} | {} of {} | {} |",
            inputs.len(),
            difference.largest,
            difference.beyond,
            difference.count,
            yes(is_within)
        );
    }
    println!("\n{on_device} of {} models run on {} as a whole.", SHIPPED.len(), arguments.subject());
    Ok(verdict(all && on_device > 0))
}
