//! Weights in files beside a model's own.

use std::fs::File;

use super::*;

/// A model with its weights, changed by `change` once it is written.
pub(crate) fn external(draft: &Draft, change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let folder = draft.write();
    fs::write(folder.path().join("external.bin"), WEIGHTS).unwrap();
    change(folder.path());
    folder
}

/// Ways in which a model's weights are not what its details list, each with what is said of it.
pub(crate) fn wrong() -> Vec<(&'static str, tempfile::TempDir, &'static str)> {
    let listed = Draft::external;
    let file = |path: &str| json!({ "path": path, "sha256": sha256(&WEIGHTS), "size": WEIGHTS.len() });
    let listing = |files: Value| {
        let mut draft = listed();
        draft.details["files"] = files;
        draft
    };
    let bin = |folder: &Path| folder.join("external.bin");
    let away = |folder: &Path| {
        let elsewhere = folder.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::rename(bin(folder), elsewhere.join("external.bin")).unwrap();
        elsewhere
    };
    let mut below = Draft::external();
    below.file = renamed("a/b.bin_____");
    below.details["files"] = json!([file("a/b.bin_____")]);
    vec![
        (
            "hash",
            external(&listed(), |folder| fs::write(bin(folder), 2f32.to_le_bytes()).unwrap()),
            "fetch the model again",
        ),
        (
            "truncated",
            external(&listed(), |folder| fs::write(bin(folder), [0; 3]).unwrap()),
            "has 3 bytes, but details.json lists 4",
        ),
        ("longer", external(&listed(), |folder| fs::write(bin(folder), [0; 5]).unwrap()), "has 5 bytes"),
        (
            "swapped",
            external(&listed(), |folder| assert!(fs::copy(folder.join("card.json"), bin(folder)).is_ok())),
            "it is JSON",
        ),
        (
            "pointer",
            external(&listed(), |folder| {
                fs::write(bin(folder), "version https://git-lfs.github.com/spec/v1\n").unwrap()
            }),
            "git lfs pull",
        ),
        ("missing", external(&listed(), |folder| fs::remove_file(bin(folder)).unwrap()), "external.bin is missing"),
        (
            "folder",
            external(&listed(), |folder| {
                fs::remove_file(bin(folder)).unwrap();
                fs::create_dir(bin(folder)).unwrap();
            }),
            "cannot be read",
        ),
        ("unlisted", external(&listing(json!([])), |_| {}), "details.json does not list it"),
        (
            "unused",
            external(&listing(json!([file("external.bin"), file("more.bin")])), |folder| {
                assert!(fs::copy(bin(folder), folder.join("more.bin")).is_ok())
            }),
            "more.bin is listed in details.json, but holds no weights",
        ),
        (
            "link",
            external(&listed(), |folder| {
                std::os::unix::fs::symlink(away(folder).join("external.bin"), bin(folder)).unwrap()
            }),
            "symbolic link",
        ),
        (
            "link out",
            external(&listed(), |folder| {
                fs::remove_file(bin(folder)).unwrap();
                std::os::unix::fs::symlink(shipped("bad/external.bin"), bin(folder)).unwrap();
            }),
            "symbolic link",
        ),
        (
            "link on the way",
            external(&below, |folder| {
                let elsewhere = away(folder);
                fs::rename(elsewhere.join("external.bin"), elsewhere.join("b.bin_____")).unwrap();
                std::os::unix::fs::symlink(elsewhere, folder.join("a")).unwrap();
            }),
            "symbolic link",
        ),
        (
            "traversal",
            external(&listing(json!([file("../external.bin")])), |_| {}),
            "no path to a file within the model's folder",
        ),
        (
            "absolute",
            external(&listing(json!([file("/etc/passwd")])), |_| {}),
            "files[0].path: `/etc/passwd` is no path",
        ),
        ("card", external(&listing(json!([file("card.json")])), |_| {}), "is no file with weights"),
        ("the model itself", external(&listing(json!([file("model.onnx")])), |_| {}), "the model's own file"),
        ("twice", external(&listing(json!([file("external.bin"), file("external.bin")])), |_| {}), "listed twice"),
        (
            "a key too many",
            external(
                &listing(json!([{ "path": "external.bin", "sha256": sha256(&WEIGHTS), "size": 4, "url": "" }])),
                |_| {},
            ),
            "files[0]",
        ),
        (
            "no size",
            external(&listing(json!([{ "path": "external.bin", "sha256": sha256(&WEIGHTS) }])), |_| {}),
            "size",
        ),
        (
            "a negative size",
            external(&listing(json!([{ "path": "external.bin", "sha256": sha256(&WEIGHTS), "size": -4 }])), |_| {}),
            "files[0].size",
        ),
    ]
}

/// The model with another path to its weights, of the same length.
fn renamed(path: &str) -> Vec<u8> {
    let mut file = fs::read(shipped("bad/external.onnx")).unwrap();
    let old = b"external.bin";
    let at = file.windows(old.len()).position(|window| window == old).unwrap();
    file[at..at + old.len()].copy_from_slice(path.as_bytes());
    file
}

#[test]
fn weights_that_are_not_as_listed_are_refused_in_one_line() {
    let store = tempfile::tempdir().unwrap();
    for (name, folder, says) in wrong() {
        let refused = ModelStore::new(store.path()).stage(folder.path()).map(|staged| staged.model.id);
        let told = refused.expect_err(name).to_string();
        assert!(told.contains(says) && told.lines().count() == 1, "{name}: {told}");
        let left = fs::read_dir(store.path()).unwrap().count();
        assert_eq!(left, 0, "{name}");
    }
}

#[test]
fn a_model_is_added_with_its_weights_and_names_them_in_its_card() {
    let root = tempfile::tempdir().unwrap();
    let store = ModelStore::new(root.path());
    let mut below = Draft::external();
    below.file = renamed("a/b.bin_____");
    below.details["files"][0]["path"] = json!("a/b.bin_____");
    let folder = external(&below, |folder| {
        fs::create_dir(folder.join("a")).unwrap();
        fs::rename(folder.join("external.bin"), folder.join("a/b.bin_____")).unwrap();
    });
    let added = add(&store, folder.path()).unwrap();
    assert_eq!(fs::read(added.folder.join("a/b.bin_____")).unwrap(), WEIGHTS);
    assert!(added.verify().is_ok());
    // Other weights make another card.
    let mut other = Draft::external();
    other.details["files"][0]["sha256"] = json!(sha256(b"other"));
    let other = Model::open(other.write().path()).unwrap().id;
    assert_ne!(other, Model::open(Draft::external().write().path()).unwrap().id);
    // Weights that were lost since are put back.
    fs::remove_file(added.folder.join("a/b.bin_____")).unwrap();
    assert!(add(&store, folder.path()).is_err());
    assert!(store.stage(folder.path()).unwrap().install(true).unwrap().verify().is_ok());
}

/// The files of a model as it is opened: what happens to them later is seen.
#[test]
fn weights_that_are_written_to_or_replaced_are_seen() {
    let draft = Draft::external();
    let named = ["external.bin".to_owned()];
    let opened = |folder: &Path| Model::open(folder).unwrap().onnx().open().unwrap().weights(&named).unwrap().unwrap();
    let touched = |change: fn(&Path)| {
        let folder = external(&draft, |_| {});
        let mut weights = opened(folder.path());
        assert!(weights.verify().is_ok() && weights.check_unwritten().is_ok());
        change(folder.path());
        (weights.check_untouched().is_err(), weights.check_unwritten().is_err())
    };
    let bin = "external.bin";
    assert_eq!(touched(|_| {}), (false, false));
    assert_eq!(touched(|folder| fs::write(folder.join("external.bin"), [0; 4]).unwrap()), (true, true));
    // The open file is the same still, and a session that has it goes on.
    assert_eq!(touched(|folder| fs::remove_file(folder.join("external.bin")).unwrap()), (true, false));
    assert_eq!(
        touched(|folder| {
            let (file, away) = (folder.join("external.bin"), folder.join("away"));
            fs::rename(&file, &away).unwrap();
            fs::write(&file, [0; 4]).unwrap();
            fs::remove_file(&file).unwrap();
            fs::rename(&away, &file).unwrap();
        }),
        (true, false)
    );
    // Written to, with the old time set again.
    assert_eq!(
        touched(|folder| {
            let path = folder.join("external.bin");
            let before = fs::metadata(&path).unwrap().modified().unwrap();
            fs::write(&path, [0; 4]).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        }),
        (true, true)
    );
    // The folder is the one that was opened, whatever lies at its path.
    let folder = external(&draft, |_| {});
    let weights = opened(folder.path());
    let other = external(&draft, |folder| fs::write(folder.join(bin), [0; 4]).unwrap());
    let moved = other.path().join("moved");
    fs::rename(folder.path(), &moved).unwrap();
    fs::create_dir(folder.path()).unwrap();
    fs::copy(other.path().join(bin), folder.path().join(bin)).unwrap();
    assert!(weights.verify().is_ok());
    assert_eq!(fs::read(weights.folder().join(bin)).unwrap(), WEIGHTS);
}
