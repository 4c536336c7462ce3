use std::{fs, path::Path};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::*;
use crate::{
    engine::{EngineOptions, Provider},
    model::tests::Draft,
    oip,
};

async fn engine() -> OnnxEngine {
    OnnxEngine::start(EngineOptions { provider: Provider::Cpu, ..EngineOptions::default() }).await.unwrap()
}

fn recipe(file: &str) -> ModelRecipe {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models").join(file);
    ModelRecipe {
        name: "wine/v1".into(),
        file: ModelFile::of_path(&file).unwrap(),
        task: String::new(),
        licence: "MIT".into(),
        labels: Vec::new(),
        inputs: Vec::new(),
        lane: ModelLane::Exact,
    }
}

async fn made(recipe: ModelRecipe) -> (tempfile::TempDir, Result<Model, NewModelError>) {
    let root = tempfile::tempdir().unwrap();
    let model = new_model(&engine().await, &ModelStore::new(root.path()), recipe, false).await;
    (root, model)
}

#[tokio::test]
async fn a_model_of_a_file_is_what_the_shipped_one_is_but_for_its_probes() {
    let (_root, model) =
        made(ModelRecipe { labels: vec!["a".into(), "b".into(), "c".into()], ..recipe("iris/model.onnx") }).await;
    let model = model.unwrap();
    let shipped = Model::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models/iris")).unwrap();
    assert_eq!((&model.details.inputs, &model.details.outputs), (&shipped.details.inputs, &shipped.details.outputs));
    let details_hash = shipped.card.details_hash;
    assert_eq!(crate::protocol::card::ModelCard { details_hash, ..model.card.clone() }, shipped.card);
    assert_eq!((model.profile, model.details.labels.len()), (shipped.profile, 3));
    // Rows of other numbers than 1 are probed, too.
    let rows = |probe: &Probe| tensor::decode(&probe.input).unwrap()[0].shape()[0];
    assert_eq!(model.details.probes.iter().map(rows).collect::<Vec<_>>(), [1, 2, 1, 1]);
}

#[tokio::test]
async fn the_same_file_gives_the_same_model() {
    let (first, second) = (made(recipe("language/model.onnx")).await, made(recipe("language/model.onnx")).await);
    assert_eq!(first.1.unwrap().id, second.1.unwrap().id);
}

#[tokio::test]
async fn the_lane_decides_about_the_profile_and_the_rules() {
    use crate::protocol::card::Agreement;
    for (lane, profile, exact) in [
        (ModelLane::Exact, "lane=exact;", true),
        (ModelLane::Tolerance, "lane=tolerance;guard=1;", false),
        (ModelLane::Native, "onnxruntime=", false),
    ] {
        let (_root, model) = made(ModelRecipe { lane, ..recipe("iris/model.onnx") }).await;
        let model = model.unwrap();
        assert!(model.profile.starts_with(profile), "{}", model.profile);
        assert_eq!(model.card.agreement == [Agreement::Exact], exact, "{lane:?}");
    }
}

/// Every type of element, logarithms that take no negative numbers, loops, functions.
#[tokio::test]
async fn models_of_unusual_form_get_probes() {
    for name in ["no-batch", "nan", "slow", "dropout", "sparse-input"] {
        let (_root, model) = made(recipe(&format!("bad/{name}.onnx"))).await;
        let model = model.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!model.details.probes.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn given_inputs_become_the_probes() {
    let json = |data: &str| {
        format!(r#"{{"inputs":[{{"name":"features","shape":[1,4],"datatype":"FP32","data":{data}}}]}}"#).into_bytes()
    };
    let given = |data: &str| {
        let inputs = vec![("a.json".to_owned(), json("[5.1,3.5,1.4,0.2]")), ("b.json".to_owned(), json(data))];
        ModelRecipe { inputs, ..recipe("iris/model.onnx") }
    };
    let (_root, model) = made(given("[1,2,3,4]")).await;
    let probes = model.unwrap().details.probes;
    let first = oip::unpack_outputs(&probes[0].input, ["x"]).unwrap();
    assert_eq!((probes.len(), first[0].data[0].clone()), (2, serde_json::json!(5.1)));
    let (_root, refused) = made(given("[1,2,3]")).await;
    assert!(refused.unwrap_err().to_string().starts_with("--inputs b.json: the data of `features`"));
    let (_root, refused) = made(given("[1,2,3,NaN]")).await;
    let told = refused.unwrap_err().to_string();
    assert!(told.starts_with("the model does not answer --inputs b.json: Unrepresentable"), "{told}");
}

/// F15: a file that is no model, or that cannot be one, is called what it is, and leaves nothing in the store.
#[tokio::test]
async fn what_cannot_become_a_model_is_refused_with_its_reason() {
    let lfs = tempfile::NamedTempFile::new().unwrap();
    fs::write(lfs.path(), "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n").unwrap();
    let named = |name: &str| ModelRecipe { name: name.into(), ..recipe("iris/model.onnx") };
    let labelled = |labels: &[&str]| ModelRecipe {
        labels: labels.iter().map(ToString::to_string).collect(),
        ..recipe("iris/model.onnx")
    };
    for (recipe, says) in [
        (recipe("bad/zipmap.onnx"), "options={'zipmap': False}"),
        (recipe("bad/newer-opset.onnx"), "its opset is 99"),
        (recipe("bad/not-onnx.onnx"), "not an ONNX file"),
        (recipe("bad/escaping.onnx"), "no path to a file within the model's folder"),
        (recipe("bad/random.onnx"), "random numbers"),
        (ModelRecipe { file: ModelFile::of_path(lfs.path()).unwrap(), ..recipe("iris/model.onnx") }, "`git lfs pull`"),
        (named("Wine"), "`Wine` is no name for a model"),
        (named("../wine"), "starts with a dot"),
        (
            labelled(&["a", "b"]),
            "2 labels, but no output has 2 values in a row: the model gives probabilities FP32 [-1,3]",
        ),
        (labelled(&["a", "", "c"]), "a label is empty"),
    ] {
        let (root, model) = made(recipe).await;
        let told = model.unwrap_err().to_string();
        assert!(told.contains(says) && told.lines().count() == 1, "{says}: {told}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "{says}");
    }
}

#[tokio::test]
async fn a_name_that_is_in_use_is_replaced_only_when_asked() {
    let (root, store) = (tempfile::tempdir().unwrap(), engine().await);
    let (folder, engine) = (ModelStore::new(root.path()), store);
    let make = async |licence: &str, replace| {
        let recipe = ModelRecipe { licence: licence.into(), ..recipe("iris/model.onnx") };
        new_model(&engine, &folder, recipe, replace).await
    };
    let first = make("MIT", false).await.unwrap();
    assert_eq!(make("MIT", false).await.unwrap().id, first.id, "again, it changes nothing");
    assert!(make("other", false).await.unwrap_err().to_string().contains("--replace"));
    let second = make("other", true).await.unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(folder.open("wine/v1").unwrap().id, second.id);
}

/// A change of a file: a byte in it, its end, or a piece of it twice.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, usize),
}

impl Mutation {
    fn any() -> impl Strategy<Value = Self> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            4 => (index(), 1u8..).prop_map(|(at, bits)| Self::Flip(at, bits)),
            1 => index().prop_map(Self::Cut),
            1 => (index(), 1usize..64).prop_map(|(at, length)| Self::Repeat(at, length)),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Flip(at, bits) => {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Repeat(at, length) => {
                let at = at.index(bytes.len());
                let piece = bytes[at..(at + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

/// A folder with mutations in a file, as it would be downloaded or written by hand: it is a model, or refused in one line.
#[test]
fn a_mutated_folder_is_a_model_or_refused_in_one_line() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = runtime.block_on(engine());
    let whole = Draft::iris();
    let files = ["card.json", "details.json", "model.onnx"];
    let strategy = (0..files.len(), prop::collection::vec(Mutation::any(), 1..4), any::<bool>());
    let mut runner = TestRunner::new(Config { cases: 256, failure_persistence: None, ..Config::default() });
    let result = runner.run(&strategy, |(file, mutations, mends_hashes)| {
        let mutate = |mut bytes: Vec<u8>| {
            mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
            bytes
        };
        let folder = match (files[file], mends_hashes) {
            // With hashes to match, what is in the file itself is judged.
            ("model.onnx", true) => {
                Draft { file: mutate(whole.file.clone()), card: whole.card.clone(), details: whole.details.clone() }
                    .write()
            }
            ("details.json", true) => {
                let Ok(details) = serde_json::from_slice(&mutate(whole.details.to_string().into_bytes())) else {
                    return Ok(());
                };
                Draft { file: whole.file.clone(), card: whole.card.clone(), details }.write()
            }
            (name, _) => {
                let folder = whole.write();
                let path = folder.path().join(name);
                fs::write(&path, mutate(fs::read(&path).unwrap())).unwrap();
                folder
            }
        };
        let root = tempfile::tempdir().unwrap();
        let told = match ModelStore::new(root.path()).stage(folder.path()) {
            Ok(staged) => {
                runtime.block_on(engine.load(Source::card(&staged.model))).err().map(|error| error.to_string())
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(told) = told {
            prop_assert!(!told.is_empty() && !told.contains(char::is_control), "{told:?}");
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
