//! The hardware that a configuration asks for: its driver and libraries, and whether a model runs on it.

use super::checks::{Check, Tried, hanging, tried};
use crate::engine::{Driver, EngineOptions, Found, Library, Needs, Opened, Provider, Source, runtime};

/// Looks for all that the provider of an engine needs, and tries it.
pub(super) async fn look(options: &EngineOptions) -> Vec<Check> {
    let plugin = options.providers.plugin.library.clone();
    let (provider, path) = (options.provider, options.runtime.clone());
    let needs = tokio::task::spawn_blocking(move || {
        let runtime = runtime::Library::find(path.as_deref()).ok()?;
        Some(Needs::of(provider, &runtime.path, plugin.as_deref()))
    });
    // Without the runtime, which another check tells of, nothing says what it needs.
    let needs = needs.await.ok().flatten().unwrap_or_default();
    let mut checks = Vec::new();
    if provider != Provider::Plugin || needs.libraries.iter().any(|library| library.part == "NVIDIA driver") {
        checks.extend(driver(&Driver::find().await, needs.cuda));
    }
    checks.extend(needs.libraries.iter().filter(|library| library.part != "NVIDIA driver").map(library));
    checks.push(trial(options, needs.missing().next().is_some()).await);
    checks
}

fn driver(driver: &Driver, cuda: Option<u32>) -> Vec<Check> {
    const NAME: &str = "NVIDIA driver";
    let mut checks = Vec::new();
    let place = driver.library.as_ref().map_or_else(String::new, |found| format!(", {}", found.path.display()));
    checks.push(match driver.lacks(cuda) {
        Some(reason) => Check::missing(NAME, reason, None),
        None => Check::ok(NAME, format!("{}{place}", driver.version().unwrap_or("of unknown version"))),
    });
    checks.extend(match &driver.gpus {
        Ok(gpus) => gpus
            .iter()
            .map(|gpu| Check::ok(&format!("GPU {}", gpu.index), format!("{}, {} MiB", gpu.name, gpu.memory)))
            .collect(),
        // CUDA does without this program, and the trial decides.
        Err(reason) => vec![Check::missing("GPU", reason.clone(), None).not_asked_for()],
    });
    checks
}

fn library(library: &Library) -> Check {
    let Library { part, name, found, opened, remedy } = library;
    match found {
        Some(Found { path, version }) => {
            let version = version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
            Check::ok(part, format!("{name}{version}, {}", path.display()))
        }
        None => {
            let check = Check::missing(part, format!("{name} was not found"), Some(remedy.clone()));
            if *opened == Opened::Perhaps { check.not_asked_for() } else { check }
        }
    }
}

/// Whether a model runs on every device that is asked for. A library that was not found, as was told before, explains why not.
async fn trial(options: &EngineOptions, is_explained: bool) -> Check {
    let devices: Vec<_> = options.devices.iter().map(u32::to_string).collect();
    // What falls back to the processor does not show whether the device works.
    let provider = if options.provider == Provider::Auto { Provider::Cuda } else { options.provider };
    let name = format!("{provider} {}", devices.join(","));
    let options = EngineOptions { provider, ..options.clone() };
    match tried(options, Source::file).await {
        Tried::Ran(took) => Check::ok(&name, format!("a model runs ({took:.1?})")),
        Tried::Failed(_) if is_explained => {
            Check::missing(&name, "no model runs, for want of the above".to_owned(), None)
        }
        Tried::Failed(reason) => Check::missing(&name, format!("no model runs: {reason}"), None),
        Tried::Hangs => hanging(&name, "the trial of a model".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::checks::State, *};

    #[test]
    fn a_library_that_few_models_need_may_be_absent() {
        let named = |opened, found| Library {
            part: "cuFFT",
            name: "libcufft.so.12".into(),
            found,
            opened,
            remedy: "install it".into(),
        };
        let found = Found { path: "/x/libcufft.so.12".into(), version: Some("12.5".into()) };
        let there = library(&named(Opened::Later, Some(found)));
        assert_eq!((there.state, there.detail.as_str()), (State::Ok, "libcufft.so.12 12.5, /x/libcufft.so.12"));
        let missing = library(&named(Opened::Later, None));
        assert_eq!((missing.state, missing.remedy.as_deref()), (State::Missing, Some("install it")));
        assert_eq!(library(&named(Opened::Perhaps, None)).state, State::Absent);
    }

    #[test]
    fn a_driver_without_its_library_is_missing_and_without_nvidia_smi_is_not() {
        let library = Some(Found { path: "/x/libcuda.so.1".into(), version: Some("580.1".into()) });
        let with = Driver { kernel: None, library, gpus: Err("nvidia-smi cannot be run".into()) };
        let states =
            |driver: &Driver| super::driver(driver, Some(13)).iter().map(|check| check.state).collect::<Vec<_>>();
        assert_eq!(states(&with), [State::Ok, State::Absent]);
        assert_eq!(states(&Driver { library: None, ..with }), [State::Missing, State::Absent]);
    }
}
