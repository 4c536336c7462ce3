pub(crate) mod weights;

use serde_json::{Value, json};

use super::*;

/// A model's folder that can be changed before it is written, with hashes and id to match.
pub(crate) struct Draft {
    pub(crate) card: Value,
    pub(crate) details: Value,
    pub(crate) file: Vec<u8>,
}

/// Content of `bad/external.bin`.
pub(crate) const WEIGHTS: [u8; 4] = 1f32.to_le_bytes();

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models").join(name)
}

fn parse(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

impl Draft {
    pub(crate) fn iris() -> Self {
        let folder = shipped("iris");
        Self {
            card: parse(&folder.join("card.json")),
            details: parse(&folder.join("details.json")),
            file: fs::read(folder.join("model.onnx")).unwrap(),
        }
    }

    /// A card for another file, with one input and one output.
    pub(crate) fn bare(file: Vec<u8>, input: &str, output: &str) -> Self {
        let port = |name: &str| json!([{ "datatype": "FP32", "name": name, "shape": [-1] }]);
        let details = json!({ "inputs": port(input), "outputs": port(output) });
        Self { file, details, ..Self::iris() }
    }

    /// A model whose weights lie in `external.bin`, which is listed, and yet to be written.
    pub(crate) fn external() -> Self {
        let mut draft = Self::bare(fs::read(shipped("bad/external.onnx")).unwrap(), "x", "y");
        for side in ["inputs", "outputs"] {
            draft.details[side][0]["shape"] = json!([-1, 1]);
        }
        draft.details["files"] = json!([{ "path": "external.bin", "sha256": sha256(&WEIGHTS), "size": WEIGHTS.len() }]);
        // The judge is given no files beside the model's.
        draft.card["profile"] =
            json!("onnxruntime=1.30.0;provider=cpu;intra_op=1;inter_op=1;execution=sequential;optimization=basic");
        draft
    }

    pub(crate) fn write(&self) -> tempfile::TempDir {
        let folder = tempfile::Builder::new().prefix("model-").tempdir().unwrap();
        let (mut card, mut details) = (self.card.clone(), self.details.clone());
        // preserve_order keeps keys as they were; the canonical form sorts them, and so does this.
        details.sort_all_objects();
        let details = details.to_string();
        card["sha256"] = json!(sha256(&self.file));
        card["details"] = json!(sha256(details.as_bytes()));
        let path = folder.path().join("card.json");
        // The id of a card that breaks a rule is whatever its draft says.
        fs::write(&path, card.to_string()).unwrap();
        if let Err(ModelError::IdMismatch { actual, .. }) = card_file::read(&path).and_then(|file| file.card(&path)) {
            card["modelId"] = json!(actual);
        }
        fs::write(&path, card.to_string()).unwrap();
        fs::write(folder.path().join("details.json"), details).unwrap();
        fs::write(folder.path().join("model.onnx"), &self.file).unwrap();
        folder
    }
}

/// The error of opening a changed iris.
fn refusal(change: impl FnOnce(&mut Draft)) -> ModelError {
    let mut draft = Draft::iris();
    change(&mut draft);
    Model::open(draft.write().path()).expect_err("the folder is refused")
}

/// Adds a model without running it.
fn add(store: &ModelStore, source: &Path) -> Result<Model, ModelError> {
    store.stage(source)?.install(false)
}

#[test]
fn the_shipped_models_are_what_their_cards_say() {
    let models = ModelStore::new(shipped(".")).list().unwrap();
    assert!(models.len() >= 3);
    for summary in models {
        let model = summary.model.unwrap();
        assert!(!model.read_file().unwrap().is_empty());
        assert!(!model.details.probes.is_empty());
    }
}

#[test]
fn a_card_with_a_key_too_many_or_too_few_is_refused() {
    let syntax = |error| assert!(matches!(&error, ModelError::Syntax { .. }), "{error}");
    syntax(refusal(|draft| draft.card["maxOutputByte"] = json!(1)));
    syntax(refusal(|draft| draft.card["agreement"][0]["gap"] = json!("0.1")));
    syntax(refusal(|draft| draft.card["agreement"][0]["kind"] = json!("close")));
    let within = |atol| json!({ "kind": "elementwise", "atol": atol, "rtol": "0" });
    syntax(refusal(|draft| draft.card["agreement"][0] = within(json!("1e-5"))));
    syntax(refusal(|draft| draft.card["agreement"][0] = within(json!(0.00001))));
    syntax(refusal(|draft| draft.card["maxInputBytes"] = json!(-1)));
    syntax(refusal(|draft| drop(draft.card.as_object_mut().unwrap().remove("verifier"))));
}

#[test]
fn a_card_that_the_registry_would_refuse_is_refused() {
    let invalid = |error| assert!(matches!(&error, ModelError::InvalidCard { .. }), "{error}");
    invalid(refusal(|draft| draft.card["agreement"] = json!([])));
    invalid(refusal(|draft| draft.card["agreement"] = vec![json!({"kind": "exact"}); 17].into()));
    invalid(refusal(|draft| draft.card["maxInputBytes"] = json!(0)));
    invalid(refusal(|draft| draft.card["maxOutputBytes"] = json!(131_073)));
    invalid(refusal(|draft| draft.card["name"] = json!("Iris")));
    for file in ["../model.onnx", "/etc/passwd", "a/b", "..", ""] {
        invalid(refusal(|draft| draft.card["file"] = json!(file)));
    }
}

#[test]
fn an_id_or_a_hash_that_does_not_match_is_named() {
    let folder = Draft::iris().write();
    let path = folder.path().join("card.json");
    let mut card = parse(&path);
    card["maxOutputBytes"] = json!(4000);
    fs::write(&path, card.to_string()).unwrap();
    assert!(matches!(Model::open(folder.path()), Err(ModelError::IdMismatch { .. })));

    let folder = Draft::iris().write();
    fs::write(folder.path().join("details.json"), "{}").unwrap();
    assert!(matches!(Model::open(folder.path()), Err(ModelError::Altered { .. })));

    let folder = Draft::iris().write();
    let model = Model::open(folder.path()).unwrap();
    fs::write(&model.file, b"\x08altered").unwrap();
    let error = model.read_file().unwrap_err();
    assert!(matches!(&error, ModelError::Altered { .. }) && error.to_string().contains("fetch"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    for name in ["card.json", "details.json", "model.onnx"] {
        let folder = Draft::iris().write();
        fs::remove_file(folder.path().join(name)).unwrap();
        let error = Model::open(folder.path()).and_then(|model| model.read_file()).unwrap_err();
        assert!(matches!(&error, ModelError::Missing { path } if path.ends_with(name)), "{error}");
    }
}

/// A card is no part of what is hashed: an editor may put a byte order mark before it.
#[test]
fn a_card_may_begin_with_a_byte_order_mark() {
    let folder = Draft::iris().write();
    let path = folder.path().join("card.json");
    fs::write(&path, format!("\u{feff}{}", fs::read_to_string(&path).unwrap())).unwrap();
    assert!(Model::open(folder.path()).is_ok());
}

#[test]
fn details_must_be_canonical() {
    for text in [
        r#"{"outputs":[],"inputs":[]}"#,
        r#"{"inputs": [],"outputs":[]}"#,
        r#"{"inputs":[],"outputs":[],"x":1.5}"#,
        r#"{"inputs":[],"inputs":[],"outputs":[]}"#,
        "{\"inputs\":[],\"outputs\":[],\"x\":\"\\u0061\"}",
        "{\"inputs\":[],\"outputs\":[]}\n",
    ] {
        let error = Details::parse(Path::new("details.json"), text.as_bytes()).unwrap_err();
        assert!(matches!(error, ModelError::Syntax { .. }), "{text}");
    }
    assert!(Details::parse(Path::new("details.json"), r#"{"inputs":[],"outputs":[],"x":"é"}"#.as_bytes()).is_ok());
}

#[test]
fn a_model_is_found_by_folder_name_and_id() {
    let store = ModelStore::new(shipped("."));
    let id = store.open("iris").unwrap().id;
    assert_eq!(store.open("iris/v1").unwrap().id, id);
    assert_eq!(store.open(&id.to_string()).unwrap().id, id);
    for name in ["", ".", "..", "../iris", "nothing", "bad"] {
        assert!(matches!(store.open(name), Err(ModelError::Unknown { .. })), "{name}");
    }
}

#[test]
fn a_name_that_two_models_have_is_ambiguous() {
    let root = tempfile::tempdir().unwrap();
    let store = ModelStore::new(root.path());
    let mut draft = Draft::iris();
    let first = add(&store, draft.write().path()).unwrap();
    draft.card["maxInputBytes"] = json!(1000);
    let second = draft.write();
    let refused = add(&store, second.path()).unwrap_err();
    assert!(matches!(&refused, ModelError::NameInUse { name, .. } if name == "iris/v1"), "{refused}");
    fs::rename(second.path(), root.path().join("second")).unwrap();
    assert!(matches!(store.open("iris/v1"), Err(ModelError::Ambiguous { .. })));
    assert_eq!(store.open(&first.id.to_string()).unwrap().id, first.id);
}

#[test]
fn a_model_is_added_whole_or_not_at_all() {
    let root = tempfile::tempdir().unwrap();
    let store = ModelStore::new(root.path().join("new"));
    let added = add(&store, &shipped("digits")).unwrap();
    assert_eq!(added.folder, store.root().join("digits"));
    assert!(added.read_file().is_ok());
    // Again, it changes nothing.
    assert_eq!(add(&store, &shipped("digits")).unwrap().id, added.id);

    let damaged = Draft::iris().write();
    fs::write(damaged.path().join("model.onnx"), "altered").unwrap();
    assert!(matches!(add(&store, damaged.path()), Err(ModelError::Altered { .. })));
    let random = fs::read(shipped("bad/random.onnx")).unwrap();
    assert!(matches!(add(&store, Draft::bare(random, "x", "y").write().path()), Err(ModelError::Refused(_))));
    assert!(add(&store, Path::new("/nowhere")).is_err());
    let hidden = tempfile::Builder::new().prefix(".hidden-").tempdir().unwrap();
    for name in ["card.json", "details.json", "model.onnx"] {
        fs::copy(shipped("iris").join(name), hidden.path().join(name)).unwrap();
    }
    assert!(matches!(add(&store, hidden.path()), Err(ModelError::HiddenFolder { .. })));
    let names: Vec<_> = fs::read_dir(store.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["digits"]);
}

#[test]
fn a_folder_that_holds_another_model_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let store = ModelStore::new(root.path());
    add(&store, &shipped("iris")).unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = other.path().join("iris");
    fs::create_dir(&other).unwrap();
    for name in ["card.json", "details.json", "model.onnx"] {
        fs::copy(shipped("digits").join(name), other.join(name)).unwrap();
    }
    assert!(matches!(add(&store, &other), Err(ModelError::Occupied { .. })));
    assert_eq!(store.open("iris").unwrap().name, "iris/v1");
    let replaced = store.stage(&other).unwrap().install(true).unwrap();
    assert_eq!(store.open("iris").unwrap().id, replaced.id);
    assert_eq!(store.list().unwrap().len(), 1);
    // The place of a namesake in another folder is taken, too, and nothing hidden stays.
    store.stage(&shipped("digits")).unwrap().install(true).unwrap();
    let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["digits"]);
}

#[test]
fn a_model_is_removed_by_any_of_its_names_and_an_unsound_one_by_its_folder() {
    let root = tempfile::tempdir().unwrap();
    let store = ModelStore::new(root.path());
    for name in ["iris", "iris/v1"] {
        let id = add(&store, &shipped("iris")).unwrap().id;
        assert_eq!(store.remove(name).unwrap().model.unwrap().id, id);
        assert!(matches!(store.remove(name), Err(ModelError::Unknown { .. })));
    }
    add(&store, &shipped("iris")).unwrap();
    fs::write(root.path().join("iris/card.json"), "{}").unwrap();
    assert!(store.remove("iris/v1").is_err());
    assert!(store.remove("iris").unwrap().model.is_err());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn what_is_wrong_in_a_folder_names_the_field() {
    for (told, error) in [
        ("inputs[0].shape[1]: -2 is no dimension", refusal(|draft| draft.details["inputs"][0]["shape"][1] = json!(-2))),
        (
            "outputs[0].datatype: `F32` is no datatype",
            refusal(|draft| draft.details["outputs"][0]["datatype"] = json!("F32")),
        ),
        ("probes[1].input: ", refusal(|draft| draft.details["probes"][1]["input"] = json!("5.1"))),
        ("labels: ", refusal(|draft| draft.details["labels"] = json!("setosa"))),
        ("agreement[0]: unknown field `gap`", refusal(|draft| draft.card["agreement"][0]["gap"] = json!("0.1"))),
        ("maxInputBytes: ", refusal(|draft| draft.card["maxInputBytes"] = json!(-1))),
    ] {
        let error = error.to_string();
        assert!(error.contains(told) && error.lines().count() == 1, "{told}: {error}");
    }
}

#[test]
fn a_store_that_is_not_there_is_empty() {
    assert!(ModelStore::new("/nowhere").list().unwrap().is_empty());
}
