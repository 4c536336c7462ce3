//! The models that a node serves: those of its store at the start, and those that come while it runs.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use alloy::primitives::B256;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::NodeError;
use crate::{
    config::NodeSettings,
    engine::{LoadError, OnnxEngine, Source},
    metrics::Metrics,
    model::{Model, ModelStore, StoreChange, StoreChanges},
    text,
};

/// Time between two looks at the store.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Names and ids of the models that are served, the newest first: a name that was pointed to another model is found there
/// first.
pub type ServedModels = Vec<(String, B256)>;

/// Loads the models that a configuration names, or all of its store.
///
/// # Errors
/// `Model` or `ModelNotLoaded` for the first that is not sound, `NoModel` where there is none.
pub(super) async fn load(settings: &NodeSettings, engine: &OnnxEngine) -> Result<ServedModels, NodeError> {
    let store = ModelStore::new(&settings.models_dir);
    let chosen = if settings.serve.is_empty() {
        store.list()?.into_iter().map(|summary| summary.model).collect::<Result<Vec<_>, _>>()?
    } else {
        settings.serve.iter().map(|name| store.open(name)).collect::<Result<Vec<_>, _>>()?
    };
    if chosen.is_empty() {
        return Err(NodeError::NoModel(settings.models_dir.clone()));
    }
    let mut served = Vec::new();
    for model in chosen {
        let failed = |error| NodeError::ModelNotLoaded { name: model.name.clone(), error };
        engine.load(source(settings, None, &model)).await.map_err(failed)?;
        served.push((model.name, model.id));
    }
    Ok(served)
}

/// A model to load, which stays in memory if the configuration says so.
fn source(settings: &NodeSettings, folder: Option<&str>, model: &Model) -> Source {
    let source = Source::card(model);
    if names(&settings.pinned, folder, model) { source.pinned() } else { source }
}

/// Whether a list names a model: by its name, its id, or its folder in the store.
fn names(list: &[String], folder: Option<&str>, model: &Model) -> bool {
    let folder = folder.or_else(|| model.folder.file_name()?.to_str());
    let id = model.id.to_string();
    list.iter().any(|name| *name == model.name || Some(name.as_str()) == folder || *name == id)
}

/// Served models by their ids; where one has two names, with the newest.
pub(super) fn by_id(served: &ServedModels) -> HashMap<B256, String> {
    served.iter().rev().map(|(name, id)| (*id, name.clone())).collect()
}

/// Has metrics show where models run.
pub(super) fn tell_places(served: &ServedModels, engine: &OnnxEngine, metrics: &Metrics) {
    for model in served.iter().filter_map(|(_, id)| engine.model(*id)) {
        metrics.serves(model.id, &model.place(), model.is_elsewhere());
    }
}

/// Loads what comes to the store, for as long as it is polled. A model that leaves it is served until the node ends: whoever
/// asks it by its id shall not lose it to a tidied folder.
pub(super) async fn follow(
    settings: &NodeSettings,
    mut changes: StoreChanges,
    engine: &OnnxEngine,
    served: &watch::Sender<ServedModels>,
    names: &watch::Sender<HashMap<B256, String>>,
    metrics: &Metrics,
) -> Infallible {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let changed = match changes.poll() {
            Ok(changed) => changed,
            Err(error) => {
                debug!(%error, "the store cannot be read; looking again");
                continue;
            }
        };
        for StoreChange { folder, model } in changed {
            let added = match model {
                Some(Ok(model)) => {
                    add(settings, &folder, &model, engine, served).await.map_err(|error| error.to_string())
                }
                Some(Err(error)) => Err(error.to_string()),
                None => {
                    let folder = text::shown(&folder);
                    info!(folder, "this model's folder is gone: it is served until the node ends");
                    Ok(false)
                }
            };
            match added {
                Ok(true) => {
                    tell_places(&served.borrow(), engine, metrics);
                    names.send_replace(by_id(&served.borrow()));
                }
                Ok(false) => {}
                Err(error) => {
                    let (folder, error) = (text::shown(&folder), text::escaped(&error));
                    warn!(folder, error, "this model is not served; it is tried again when its folder changes");
                }
            }
        }
    }
}

/// Loads a model, if the configuration wants it; whether it is new.
async fn add(
    settings: &NodeSettings,
    folder: &str,
    model: &Model,
    engine: &OnnxEngine,
    served: &watch::Sender<ServedModels>,
) -> Result<bool, LoadError> {
    let id = model.id.to_string();
    if !settings.serve.is_empty() && !names(&settings.serve, Some(folder), model) {
        return Ok(false);
    }
    engine.load(source(settings, Some(folder), model)).await?;
    let named = (model.name.clone(), model.id);
    let is_new = served.send_if_modified(|served| {
        // Of two with one name, the one that came last has it.
        let has_name = served.iter().find(|(name, _)| *name == named.0).is_some_and(|first| *first == named);
        if !has_name {
            served.retain(|other| *other != named);
            served.insert(0, named);
        }
        !has_name
    });
    if is_new {
        info!(model = model.name, %id, "a model came, and is loaded");
    }
    Ok(is_new)
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;
    use crate::{
        engine::{EngineOptions, Provider},
        model::ModelFile,
    };

    #[tokio::test]
    async fn metrics_show_a_model_that_runs_elsewhere_than_asked() {
        let iris = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models/iris/model.onnx");
        for (provider, elsewhere) in [(Provider::Cpu, 0), (Provider::Auto, 1)] {
            let engine = OnnxEngine::start(EngineOptions { provider, ..EngineOptions::default() }).await.unwrap();
            let model = engine.load(Source::file(ModelFile::of_path(&iris).unwrap())).await.unwrap();
            if model.place() != "cpu" {
                eprintln!("skipped: this machine has a GPU");
                return;
            }
            let (metrics, mut registry, mut text) = (Metrics::default(), Registry::default(), String::new());
            tell_places(&vec![("iris".into(), model.id)], &engine, &metrics);
            metrics.register(&mut registry);
            encode(&mut text, &registry).unwrap();
            let line = format!("model_elsewhere{{model=\"{}\",provider=\"cpu\"}} {elsewhere}\n", model.id);
            assert!(text.contains(&line), "{text}");
        }
    }
}
