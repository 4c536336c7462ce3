//! What is looked at on every machine: ONNX Runtime, the canonical judge, and what isolates models.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::timeout;

use crate::{
    engine::{Abilities, Engine, EngineOptions, JudgeFiles, OnnxEngine, Source, runtime, smallest_model},
    model::ModelFile,
    protocol::{
        OutputFormat,
        tensor::{self, Tensor},
    },
    text,
};

/// Time that a trial may take beyond what the engine's own limits allow.
const GRACE: Duration = Duration::from_secs(10);

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// The thing.
    pub name: String,
    pub state: State,
    /// Where it is and in which version, or why it cannot be used.
    pub detail: String,
    /// What to do where it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Whether something has not ended that may never.
    #[serde(skip)]
    pub hangs: bool,
}

/// Whether a thing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It is there, and can be used.
    Ok,
    /// It is not, and is asked for.
    Missing,
    /// It is not, and nothing that is asked for needs it.
    Absent,
}

impl Check {
    /// Something that is there.
    pub(super) fn ok(name: &str, detail: String) -> Self {
        Self { name: name.to_owned(), state: State::Ok, detail, remedy: None, hangs: false }
    }

    /// Something that is not, or cannot be used.
    pub(super) fn missing(name: &str, detail: String, remedy: Option<String>) -> Self {
        Self { name: name.to_owned(), state: State::Missing, detail, remedy, hangs: false }
    }

    /// The same, where nobody asked for it.
    pub(super) fn not_asked_for(self) -> Self {
        let state = if self.state == State::Missing { State::Absent } else { self.state };
        Self { state, ..self }
    }

    /// For people, in one line.
    pub(super) fn line(&self) -> String {
        let state = match self.state {
            State::Ok => "ok",
            State::Missing => "missing",
            State::Absent => "absent",
        };
        let remedy = self.remedy.as_ref().map_or_else(String::new, |remedy| format!(": {remedy}"));
        text::escaped(&format!("{state:8} {:16} {}{remedy}", self.name, self.detail))
    }
}

/// ONNX Runtime, and whether a model runs in it on the processor.
pub(super) async fn runtime(options: &EngineOptions) -> Check {
    const NAME: &str = "ONNX Runtime";
    let path = options.runtime.clone();
    let loaded = tokio::task::spawn_blocking(move || runtime::Library::find(path.as_deref())).await;
    let runtime = match loaded.map_err(|error| error.to_string()) {
        Ok(Ok(runtime)) => runtime,
        Ok(Err(error)) => return Check::missing(NAME, error.to_string(), None),
        Err(error) => return Check::missing(NAME, error, None),
    };
    let found = format!("{}, {}", runtime.version, runtime.path.display());
    let processor = EngineOptions { provider: crate::engine::Provider::Cpu, ..options.clone() };
    match tried(processor, Source::file).await {
        Tried::Ran(took) => Check::ok(NAME, format!("{found}; a model runs ({took:.1?})")),
        Tried::Failed(reason) => Check::missing(NAME, format!("{found}: no model runs: {reason}"), None),
        Tried::Hangs => hanging(NAME, found),
    }
}

/// The canonical judge, and whether a model runs in it: in a process of its own, isolated.
pub(super) async fn judge(options: &EngineOptions) -> Check {
    const NAME: &str = "canonical judge";
    let JudgeFiles { wasm, cache } = match JudgeFiles::find(options.judge.as_deref()) {
        Ok(files) => files,
        Err(error) => return Check::missing(NAME, error.to_string(), None),
    };
    let found = wasm.display().to_string();
    let code = if has_code(&cache) { "its compiled code is kept in" } else { "compiled now, and kept in" };
    match tried(options.clone(), Source::judged).await {
        Tried::Ran(took) => Check::ok(NAME, format!("{found}; {code} {}; a model runs ({took:.1?})", cache.display())),
        Tried::Failed(reason) => Check::missing(NAME, format!("{found}: no model runs: {reason}"), None),
        Tried::Hangs => hanging(NAME, found),
    }
}

/// Whether the judge's compiled code is there: files of code with their hashes beside.
fn has_code(cache: &Path) -> bool {
    let below = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>()
    };
    let versions = below(cache).into_iter().flat_map(|judge| below(&judge.join("modules")));
    versions.flat_map(|version| below(&version)).any(|file| file.extension().is_some_and(|end| end == "sha256"))
}

/// What the processes of models isolate themselves with.
pub(super) fn isolation() -> Vec<Check> {
    let Abilities { seccomp, landlock } = Abilities::try_out();
    let seccomp = match seccomp {
        Ok(()) => Check::ok("seccomp", "system calls of the processes of models are filtered".to_owned()),
        Err(reason) => Check::missing(
            "seccomp",
            reason,
            Some("allow seccomp filters, without which models of the exact lane do not load".to_owned()),
        ),
    };
    let landlock = match landlock {
        Ok(version) => Check::ok("Landlock", format!("{version}; files are refused once more")),
        // Seccomp opens no files either.
        Err(reason) => {
            Check::missing("Landlock", reason, Some("Linux 6.12 or later with it adds a second lock".to_owned()))
                .not_asked_for()
        }
    };
    vec![seccomp, landlock]
}

/// How a trial ended.
pub(super) enum Tried {
    /// A model ran; the time from the start of its engine on.
    Ran(Duration),
    Failed(String),
    Hangs,
}

/// Something that does not end.
pub(super) fn hanging(name: &str, found: String) -> Check {
    let detail = format!("{found}: it hangs, and was given up");
    Check { hangs: true, ..Check::missing(name, detail, None) }
}

/// Runs the smallest model in an engine of its own.
pub(super) async fn tried(options: EngineOptions, source: impl FnOnce(ModelFile) -> Source) -> Tried {
    let (limit, began) = (options.limits.load + options.limits.run + GRACE, Instant::now());
    let source = source(ModelFile::in_memory(smallest_model()));
    let run = async move {
        let engine = OnnxEngine::start(options).await.map_err(|error| error.to_string())?;
        let id = engine.load(source).await.map_err(|error| error.to_string())?.id;
        let input = Tensor::f32(vec![1], &[1.0]).and_then(|tensor| tensor::encode(&[tensor]));
        let input = input.map_err(|error| error.to_string())?;
        let ran = engine.run(id, input, OutputFormat::NATIVE).await.map_err(|error| error.to_string())?;
        ran.failure.map_or(Ok(()), |failure| Err(failure.to_string()))
    };
    match timeout(limit, run).await {
        Ok(Ok(())) => Tried::Ran(began.elapsed()),
        Ok(Err(reason)) => Tried::Failed(reason),
        Err(_) => Tried::Hangs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_state_thing_place_and_remedy() {
        let missing = Check::missing("cuDNN", "libcudnn.so.9 was not found".into(), Some("install it".into()));
        assert_eq!(missing.line(), "missing  cuDNN            libcudnn.so.9 was not found: install it");
        assert_eq!(missing.not_asked_for().state, State::Absent);
        assert_eq!(Check::ok("a", "b\n\u{1b}".into()).line(), "ok       a                b\\n\\u{1b}");
    }

    #[test]
    fn compiled_code_counts_with_its_hash_only() {
        let cache = tempfile::tempdir().unwrap();
        let modules = cache.path().join("wasmtime-1-abc/modules/wasmtime-1");
        assert!(!has_code(cache.path()));
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("code"), "").unwrap();
        assert!(!has_code(cache.path()));
        fs::write(modules.join("code.sha256"), "").unwrap();
        assert!(has_code(cache.path()));
    }
}
