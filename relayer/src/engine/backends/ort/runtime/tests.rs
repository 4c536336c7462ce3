use super::*;

#[test]
fn the_installed_runtime_is_found_and_loaded_once() {
    let library = Library::find(None).unwrap();
    assert!(is_recent(&library.version), "{}", library.version);
    assert_eq!(Library::find(Some(&library.path)).unwrap(), library);
    let runtime = library.load().unwrap();
    assert!(std::ptr::eq(library.load().unwrap(), runtime));
    let other = Library { path: "/elsewhere/libonnxruntime.so".into(), ..library };
    assert!(matches!(other.load(), Err(RuntimeError::AnotherIsLoaded { .. })));
}

#[test]
fn a_path_without_a_file_is_named() {
    let error = Library::find(Some(Path::new("/nowhere/libonnxruntime.so"))).unwrap_err();
    assert!(matches!(&error, RuntimeError::NoFile { path } if path.ends_with("libonnxruntime.so")));
    assert!(error.to_string().contains("--runtime"));
}

#[test]
fn a_file_that_is_no_library_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = version_of(file.path()).unwrap_err();
    assert!(matches!(error, RuntimeError::NotARuntime { .. }));
    assert!(error.to_string().contains("file too short"), "{error}");
}

#[test]
fn versions_before_the_oldest_that_works_are_refused() {
    for (version, recent) in [
        ("1.30.0", true),
        ("1.24.0", true),
        ("2.0.1", true),
        ("1.23.9", false),
        ("1.4.0", false),
        ("1", false),
        ("", false),
    ] {
        assert_eq!(is_recent(version), recent, "{version}");
    }
}
