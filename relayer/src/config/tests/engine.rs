//! `[engine]`, which several chains share, and the sections within it.

use super::*;

#[test]
fn options_of_providers_are_read_in_sections_of_their_own_and_from_variables() {
    let text = format!(
        "{}[engine]\nprovider = \"plugin\"\n[engine.cuda]\nmemory_limit = 2\narena = \"exact\"\n[engine.plugin]\nlibrary = \"p.so\"\n\
         options = [\"device = CPU\", \"empty=\", \"a=b=c\"]\n",
        bare()
    );
    let variables = [("ORACULUM_ENGINE_CUDA_MEMORY_LIMIT", "3"), ("ORACULUM_ENGINE_TENSORRT_FP16", "true")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings::parse(&text, path(), variables).unwrap();
    let ProviderOptions { cuda, tensorrt, plugin } = &settings.providers;
    assert_eq!(
        (cuda.memory_limit, cuda.arena, tensorrt.fp16),
        (Some(3 << 20), crate::engine::ArenaGrowth::Exact, true)
    );
    assert_eq!(plugin.library.as_deref(), Some(Path::new("/etc/oraculum/p.so")));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(plugin.options, [pair("device", "CPU"), pair("empty", ""), pair("a", "b=c")]);
    let options = settings.engine_options();
    assert_eq!((options.provider, options.providers), (Provider::Plugin, settings.providers.clone()));
    let older = parse(&bare()).unwrap();
    let changed = settings.changed_for_a_restart(&older);
    assert!(changed.contains(&"engine.cuda.arena".to_owned()) && changed.contains(&"engine.plugin.library".to_owned()));
}

#[test]
fn what_is_wrong_in_a_section_within_another_is_named_in_full() {
    let error = |lines: &str| parse(&format!("{}{lines}", bare())).unwrap_err().to_string();
    for (lines, says) in [
        (
            "[engine.cuda]\nmemory_limits = 1\n",
            "line 6: unknown key `memory_limits` in [engine.cuda]; did you mean `memory_limit`?",
        ),
        ("[engine.cudda]\n", "unknown key `cudda` in [engine]; did you mean `cuda`?"),
        (
            "[engine]\ncuda = 7\n",
            "line 6: engine.cuda is wrong: it is a value; write a section that begins with [engine.cuda]",
        ),
        (
            "[engine.cuda]\nmemory_limit = 0\n",
            "engine.cuda.memory_limit is wrong: 0 is out of range; write 1 to 1073741824 MiB",
        ),
        ("[engine.cuda]\nconvolution = \"exhaustive\"\n", "expected `default` or `heuristic`"),
        ("[engine.plugin]\noptions = [\"fast\"]\n", "write each as \"name=value\""),
        (
            "[engine]\nprovider = \"plugin\"\n",
            "line 6: engine.provider is wrong: it is `plugin`, and there is none; write its library",
        ),
        ("[cuda]\n", "unknown section `cuda`"),
        ("[\"engine.cuda\"]\n", "unknown section `engine.cuda`"),
    ] {
        assert!(error(lines).contains(says), "{lines}{}", error(lines));
    }
    let error = parse_with("ORACULUM_ENGINE_CUDA_MEMORY", "1").unwrap_err().to_string();
    assert!(error.contains("did you mean `ORACULUM_ENGINE_CUDA_MEMORY_LIMIT`?"), "{error}");
}

fn files(second: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let files = [("a.toml", valid().replace("queue = 64", "queue = 7")), ("b.toml", second.to_owned())];
    let paths = files.map(|(name, text)| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    });
    (folder, paths.to_vec())
}

#[test]
fn the_files_of_several_chains_share_the_first_ones_engine() {
    let bare = format!("[chain]\ncoordinator = \"{ADDRESS}\"\nchain_id = 7\n[node]\nowner = \"{ADDRESS}\"\n");
    let (_folder, paths) = files(&bare);
    let all = Settings::load_all(&paths).unwrap();
    assert_eq!(all.iter().map(|settings| settings.chain.chain_id).collect::<Vec<_>>(), [31_337, 7]);
    assert_eq!(all.iter().map(|settings| settings.engine.queue).collect::<Vec<_>>(), [7, 7]);
    let (_folder, paths) = files(&format!("{bare}[engine]\nqueue = 8\n"));
    let error = Settings::load_all(&paths).unwrap_err().to_string();
    assert!(error.contains("b.toml: engine is wrong: it differs from the first"), "{error}");
    let (_folder, paths) = files(&format!("{bare}[engine]\nqueue = 7\n"));
    Settings::load_all(&paths).unwrap();
}

#[test]
fn providers_of_the_first_file_hold_for_all_chains() {
    let bare = format!("[chain]\ncoordinator = \"{ADDRESS}\"\nchain_id = 7\n[node]\nowner = \"{ADDRESS}\"\n");
    let (_folder, paths) = files(&bare);
    let first = std::fs::read_to_string(&paths[0]).unwrap().replace("[engine.cuda]", "[engine.cuda]\nmemory_limit = 5");
    std::fs::write(&paths[0], first).unwrap();
    let all = Settings::load_all(&paths).unwrap();
    assert_eq!(all[1].providers.cuda.memory_limit, Some(5 << 20));
    std::fs::write(&paths[1], format!("{bare}[engine.cuda]\nmemory_limit = 6\n")).unwrap();
    let error = Settings::load_all(&paths).unwrap_err().to_string();
    assert!(error.contains("b.toml: engine is wrong: it differs from the first"), "{error}");
}
