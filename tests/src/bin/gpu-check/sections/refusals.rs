//! What is refused, and what is judged by the processor.

use oraculum::{
    engine::{EngineOptions, OnnxEngine, Provider, StartError},
    model::ModelFile,
    protocol::{
        Outcome, OutputFormat,
        tensor::{self, Tensor},
    },
    text,
};
use oraculum_tests::{Res, onnx};

use super::{verdict, yes};
use crate::{
    Verdict,
    arguments::Arguments,
    subject::{self, models},
};

pub(crate) async fn run(arguments: &Arguments) -> Res<Verdict> {
    println!("| | as it should be | found |\n|---|---|---|");
    let mut all = true;
    let mut row = |what: &str, is: bool, found: &str| {
        println!("| {what} | {} | {} |", yes(is), text::one_line(found).replace('|', "\\|"));
        all &= is;
    };
    let is_processor = arguments.provider() == Provider::Cpu;
    let engine = OnnxEngine::start(arguments.engine_here()).await?;
    let strings = || ModelFile::of_path(&models().join("bad/no-batch.onnx"));
    let taken = subject::load(&engine, strings()?).await;
    let told = taken.as_ref().map_or_else(ToString::to_string, |_| "it is loaded".to_owned());
    row(
        "a model with strings is refused, for the processor would have to run it",
        taken.is_ok() == is_processor,
        &told,
    );
    if !is_processor {
        let options = EngineOptions { partial: true, ..arguments.engine_here() };
        let partly = OnnxEngine::start(options).await?;
        let place = match subject::load(&partly, strings()?).await {
            Ok(id) => partly.model(id).map_or_else(String::new, |model| model.place()),
            Err(error) => error.to_string(),
        };
        // A plugin is given no strings at all.
        let expected = if arguments.provider() == Provider::Plugin { "strings" } else { "+cpu" };
        row("with `partial` the same model says where it runs", place.contains(expected), &place);
    }
    let reshape = subject::load(&engine, ModelFile::in_memory(onnx::reshape())).await;
    match reshape {
        Err(error) => row("a model that can fail is loaded", false, &error.to_string()),
        Ok(id) => {
            let run = async |size: i64| {
                let tensors = [Tensor::f32(vec![4], &[1.0; 4])?, Tensor::i64(vec![1], &[size])?];
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
                    engine.run_off_chain(id, tensor::encode(&tensors)?, OutputFormat::NATIVE.mask).await,
                )
            };
            let sound = run(4).await?;
            let is_on_it = sound.as_ref().is_ok_and(|ran| ran.outcome == Outcome::Ok && !ran.profile.provider_fallback);
            let told = sound.map_or_else(|error| error.to_string(), |ran| ran.profile.to_string());
            row("an answer says where it was computed", is_on_it, &told);
            let failing = run(5).await?;
            let is_bad = failing.as_ref().is_ok_and(|ran| ran.outcome == Outcome::BadInput);
            let told = failing.map_or_else(
                |error| error.to_string(),
                |ran| ran.failure.map_or_else(|| "no failure".to_owned(), |failure| failure.to_string()),
            );
            row("a run that fails is bad input, which the processor confirms", is_bad, &told);
        }
    }
    if !is_processor {
        let none = EngineOptions { devices: vec![arguments.device(), 99], ..arguments.engine_here() };
        let refused = OnnxEngine::start(none).await.err();
        let told = refused.as_ref().map_or_else(|| "it starts".to_owned(), ToString::to_string);
        let is_named = matches!(refused, Some(StartError::Device { .. })) && told.contains(":99 cannot be used");
        row("a device that there is not is named", is_named, &told);
    }
    Ok(verdict(all))
}
