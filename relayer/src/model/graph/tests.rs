mod contents;
mod ports;
mod survey;

use std::path::Path;

use proptest::prelude::*;

use super::{
    operators::{CONTRIB, CONTRIB_RANDOM, RANDOM},
    proto::{Attribute, Graph, Node, SparseTensor, Tensor},
    *,
};
use crate::{
    engine::tests::build::{attribute, graph, model, node, number, port},
    protocol::cast::ElementType,
};

fn refusal(file: &[u8]) -> Refused {
    inspect(file).expect_err("the file is refused")
}

fn bad(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models/bad").join(name)).unwrap()
}

fn one_node(node: Node) -> Vec<u8> {
    model(graph(vec![node], vec![port("x", 1, &[1])], vec![port("y", 1, &[1])]), vec![])
}

fn function(name: &str, nodes: Vec<Node>) -> proto::Function {
    proto::Function { name: name.into(), domain: "local".into(), node: nodes, ..Default::default() }
}

fn local(name: &str) -> Node {
    Node { domain: "local".into(), ..node(name, &["x"], &["y"]) }
}

fn external() -> Tensor {
    at("weights.bin")
}

/// Weights in a file.
fn at(location: &str) -> Tensor {
    let entry = proto::Entry { key: "location".into(), value: location.into() };
    Tensor { name: "w".into(), external_data: vec![entry], data_location: 1, ..Default::default() }
}

#[test]
fn the_malicious_files_are_refused_for_what_they_are() {
    let refusal = |name: &str| refusal(&bad(name));
    let location = "../iris/model.onnx".into();
    assert_eq!(refusal("escaping.onnx"), Refused::ExternalPath { tensor: "bias".into(), location });
    assert_eq!(
        refusal("custom-op.onnx"),
        Refused::CustomOperator { domain: "com.example".into(), operator: "Oracle".into() }
    );
    assert_eq!(refusal("random.onnx"), Refused::RandomOperator { operator: "RandomNormal".into() });
    let kind = "a sequence of maps".into();
    assert_eq!(refusal("sequence.onnx"), Refused::UnsupportedType { tensor: "xs".into(), kind });
    assert!(matches!(refusal("not-onnx.onnx"), Refused::NotOnnx(_)));
}

#[test]
fn inputs_and_outputs_come_in_the_models_order_without_its_weights() {
    let mut graph = graph(
        vec![node("Add", &["x", "w"], &["y"])],
        vec![port("w", 1, &[1]), port("x", 7, &[-1, 4])],
        vec![port("y", 1, &[1])],
    );
    graph.initializer.push(Tensor { name: "w".into(), ..Default::default() });
    let signature = inspect(&model(graph, vec![])).unwrap();
    let x = TensorSpec { name: "x".into(), element: ElementType::I64, shape: Some(vec![None, Some(4)]) };
    assert_eq!(signature.inputs, [x]);
    assert_eq!(signature.outputs[0].name(), "y");
}

#[test]
fn every_random_operator_is_refused_wherever_it_hides() {
    for operator in RANDOM {
        let random = || node(operator, &["x"], &["y"]);
        let expected = Refused::RandomOperator { operator: operator.into() };
        assert_eq!(refusal(&one_node(random())), expected);
        let mut branch = node("If", &["x"], &["y"]);
        branch.attribute.push(attribute(graph(vec![random()], vec![], vec![])));
        assert_eq!(refusal(&one_node(branch)), expected);
        let calls = graph(vec![local("f")], vec![port("x", 1, &[1])], vec![port("y", 1, &[1])]);
        assert_eq!(refusal(&model(calls, vec![function("f", vec![random()])])), expected);
    }
}

#[test]
fn the_runtimes_own_operators_are_allowed_by_name() {
    assert!(CONTRIB.is_sorted());
    let own = |operator: &str| Node { domain: "com.microsoft".into(), ..node(operator, &["x"], &["y"]) };
    for operator in CONTRIB {
        assert!(inspect(&one_node(own(operator))).is_ok(), "{operator}");
    }
    for operator in CONTRIB_RANDOM {
        assert_eq!(refusal(&one_node(own(operator))), Refused::RandomOperator { operator: operator.into() });
    }
    for operator in ["BeamSearch", "SampleOp", "Rfft", "NoSuchOperator", ""] {
        assert_eq!(refusal(&one_node(own(operator))), Refused::ContribOperator { operator: operator.into() });
    }
    // By this name in this domain only.
    let elsewhere = Node { domain: "com.microsoft.nchwc".into(), ..node("Attention", &["x"], &["y"]) };
    assert!(matches!(refusal(&one_node(elsewhere)), Refused::CustomOperator { .. }));
}

/// F15: what a text becomes must not depend on a machine's locales.
#[test]
fn a_string_normalizer_is_refused_where_a_locale_decides_that_not_every_machine_has() {
    let text =
        |name: &str, text: &str| Attribute { name: name.into(), s: text.into(), r#type: 3, ..Default::default() };
    let judged = |attributes: &[Attribute]| {
        inspect(&one_node(Node { attribute: attributes.to_vec(), ..node("StringNormalizer", &["x"], &["y"]) }))
    };
    let (lower, keeps) = (text("case_change_action", "LOWER"), text("case_change_action", "NONE"));
    let (sensitive, locale) = (number("is_case_sensitive", 1), |name: &str| text("locale", name));
    assert_eq!(refusal(&bad("text-locale.onnx")), Refused::Locale { locale: None });
    // Neither changes nor ignores case.
    for attributes in [vec![sensitive.clone()], vec![sensitive.clone(), keeps.clone(), locale("tr_TR")]] {
        assert!(judged(&attributes).is_ok(), "{attributes:?}");
    }
    for name in ["C", "POSIX", "C.UTF-8"] {
        assert!(judged(&[lower.clone(), locale(name)]).is_ok(), "{name}");
    }
    for (attributes, says) in [
        (vec![], "without the attribute"),
        (vec![lower.clone()], "en_US.UTF-8"),
        (vec![lower.clone(), sensitive.clone()], "en_US.UTF-8"),
        (vec![keeps], "en_US.UTF-8"),
        (vec![lower.clone(), locale("")], "the machine's environment"),
        (vec![lower.clone(), locale("tr_TR.UTF-8")], "`tr_TR.UTF-8`"),
        (vec![lower, locale("C"), locale("tr_TR")], "`C`"),
        // In a function the value may be anything.
        (vec![Attribute { name: "case_change_action".into(), r#type: 3, ..Default::default() }, sensitive], "en_US"),
    ] {
        let told = judged(&attributes).unwrap_err().to_string();
        assert!(told.contains(says) && told.contains("locale=\"C.UTF-8\""), "{told}");
    }
}

#[test]
fn dropout_is_refused_only_where_it_may_drop() {
    assert!(inspect(&one_node(node("Dropout", &["x", "ratio"], &["y"]))).is_ok());
    assert!(inspect(&one_node(node("Dropout", &["x", "", ""], &["y"]))).is_ok());
    let training = one_node(node("Dropout", &["x", "ratio", "training"], &["y"]));
    let refused = || Refused::TrainingDropout { training: "training".into() };
    assert_eq!(refusal(&training), refused());
    let calls = graph(vec![local("f")], vec![port("x", 1, &[1])], vec![port("y", 1, &[1])]);
    let function = function("f", vec![node("Dropout", &["x", "ratio", "training"], &["y"])]);
    assert_eq!(refusal(&model(calls, vec![function])), refused());
    assert_eq!(refusal(&bad("training.onnx")), Refused::TrainingDropout { training: "on".into() });
}

/// F15: a Dropout whose training input is a constant false never drops.
#[test]
fn a_dropout_that_is_off_for_good_is_allowed() {
    let file = bad("dropout.onnx");
    assert!(inspect(&file).is_ok());
    // The value false, as raw data: one bit makes it true.
    let raw = [0x4a, 1, 0];
    let at = file.windows(3).position(|window| window == raw).unwrap();
    let mut on = file.clone();
    on[at + 2] = 1;
    assert_eq!(refusal(&on), Refused::TrainingDropout { training: "raw".into() });
    // A second definition of the name is not looked into.
    let mut again = file.clone();
    let definition = Graph { node: vec![node("Identity", &["x"], &["raw"])], ..Default::default() };
    // Protobuf merges what follows into the graph that is there.
    again.extend(Model { graph: Some(definition), ..Default::default() }.encode_to_vec());
    assert_eq!(refusal(&again), Refused::TrainingDropout { training: "raw".into() });
}

#[test]
fn weights_in_other_files_are_refused_outside_of_initializers() {
    let expected = Refused::ExternalData { tensor: "w".into() };
    let in_attribute = |fill: fn(&mut Attribute)| {
        let mut holder = node("Constant", &[], &["y"]);
        let mut attribute = Attribute::default();
        fill(&mut attribute);
        holder.attribute.push(attribute);
        one_node(holder)
    };
    let sparse = || SparseTensor { values: Some(external()), indices: None };
    assert_eq!(refusal(&in_attribute(|a| a.t = Some(external()))), expected);
    assert_eq!(refusal(&in_attribute(|a| a.tensors = vec![external()])), expected);
    let mut holder = graph(vec![], vec![], vec![]);
    holder.sparse_initializer.push(sparse());
    assert_eq!(refusal(&model(holder, vec![])), expected);
}

/// F15: an initializer of any graph may lie in a file below the model's folder, and in no other.
#[test]
fn initializers_name_files_below_the_models_folder() {
    let with = |tensor: Tensor| {
        let ports = || (vec![port("x", 1, &[1])], vec![port("y", 1, &[1])]);
        let (inputs, outputs) = ports();
        let mut holder = graph(vec![node("Identity", &["x"], &["y"])], inputs, outputs);
        holder.initializer.push(tensor.clone());
        let (inputs, outputs) = ports();
        let inner = Graph { initializer: vec![tensor, at("b.bin")], ..Default::default() };
        let branch = Node { attribute: vec![attribute(inner)], ..node("If", &["x"], &["y"]) };
        (model(holder, vec![]), model(graph(vec![branch], inputs, outputs), vec![]))
    };
    let (main, inner) = with(at("weights/a.bin"));
    assert_eq!(inspect(&main).unwrap().external, ["weights/a.bin"]);
    assert_eq!(inspect(&inner).unwrap().external, ["b.bin", "weights/a.bin"]);
    for location in
        ["/etc/passwd", "../w", "a/../../w", "a//b", "./w", "", "a\\w", "C:w", "*/_ORT_MEM_ADDR_/*", "a/", "w\0"]
    {
        let expected = Refused::ExternalPath { tensor: "w".into(), location: location.into() };
        let (main, inner) = with(at(location));
        assert_eq!((refusal(&main), refusal(&inner)), (expected.clone(), expected), "{location}");
    }
    // What does not say clearly where it lies is read by some runtimes, one way or the other.
    let entries = || Tensor { data_location: 0, ..at("w") };
    let nowhere = || Tensor { external_data: vec![], ..at("w") };
    let twice = || Tensor { external_data: [at("a").external_data, at("b").external_data].concat(), ..at("w") };
    for tensor in [entries(), nowhere(), twice()] {
        assert_eq!(refusal(&with(tensor).0), Refused::ExternalData { tensor: "w".into() });
    }
}

/// F15: weights may be listed among the inputs, sparse ones too, and are none.
#[test]
fn a_sparse_initializer_is_no_input() {
    let names: Vec<_> = inspect(&bad("sparse-input.onnx")).unwrap().inputs.into_iter().map(|spec| spec.name).collect();
    assert_eq!(names, ["x"]);
}

/// F15: an output that is no tensor does not keep the others from being served, and alone it names the remedy.
#[test]
fn an_output_that_is_no_tensor_may_stand_beside_one() {
    let signature = inspect(&bad("zipmap.onnx")).unwrap();
    assert!(matches!(&signature.outputs[0], OutputSpec::Tensor(spec) if spec.name == "label"));
    assert_eq!(
        signature.outputs[1],
        OutputSpec::Other { name: "probabilities".into(), kind: "a sequence of maps".into() }
    );
    let mut alone = port("maps", 1, &[1]);
    let map = proto::Type { map: Some(proto::Other {}), ..Default::default() };
    alone.r#type = Some(proto::Type { sequence: ports::holder(map), ..Default::default() });
    let told = refusal(&model(graph(vec![], vec![], vec![alone]), vec![])).to_string();
    assert!(told.contains("`maps` is a sequence of maps") && told.contains("options={'zipmap': False}"), "{told}");
}

/// F15: a model that gives nothing answers nothing.
#[test]
fn a_model_without_outputs_is_refused() {
    assert_eq!(refusal(&bad("no-outputs.onnx")), Refused::NoOutputs);
}

/// F15: a file that is something else is called that.
#[test]
fn files_of_other_kinds_are_called_what_they_are() {
    let refused = |file: &[u8]| refusal(file).to_string();
    assert!(refused(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n").contains("Git LFS pointer"));
    assert!(refused(b"<!DOCTYPE html><html></html>").contains("a web page"));
    assert!(refused(b"\x1f\x8b\x08\0\0").contains("gunzip"));
    let mut cut = bad("dropout.onnx");
    cut.pop();
    assert!(refused(&cut).contains("cut off"));
}

#[test]
fn a_models_own_functions_are_allowed() {
    let calls = graph(vec![local("f")], vec![port("x", 1, &[1])], vec![port("y", 1, &[1])]);
    let file = model(calls, vec![function("f", vec![node("Relu", &["x"], &["y"])])]);
    assert!(inspect(&file).is_ok());
}

#[test]
fn functions_that_call_themselves_are_refused() {
    let calls = graph(vec![local("f")], vec![port("x", 1, &[1])], vec![port("y", 1, &[1])]);
    let file = model(calls, vec![function("f", vec![local("g")]), function("g", vec![local("f")])]);
    assert!(matches!(refusal(&file), Refused::RecursiveFunction { .. }));
}

#[test]
fn functions_that_double_forty_times_are_refused() {
    let level = |i: u32| function(&format!("f{i}"), vec![local(&format!("f{}", i + 1)), local(&format!("f{}", i + 1))]);
    let mut functions: Vec<_> = (0..40).map(level).collect();
    functions.push(function("f40", vec![node("Relu", &["x"], &["y"])]));
    let calls = graph(vec![local("f0")], vec![port("x", 1, &[1])], vec![port("y", 1, &[1])]);
    assert_eq!(refusal(&model(calls, functions)), Refused::TooManyNodes);
}

#[test]
fn functions_may_not_pass_for_a_runtimes_own_operators() {
    for domain in ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "org.pytorch.aten"] {
        let mut function = function("f", vec![]);
        function.domain = domain.into();
        let file = model(graph(vec![], vec![], vec![]), vec![function]);
        assert!(matches!(refusal(&file), Refused::ReservedFunction { .. }), "{domain}");
    }
}

#[test]
fn graphs_nested_without_end_are_refused() {
    // A field of a message, length-delimited: by hand, since encoding would itself need a deep stack.
    let field = |tag: u8, bytes: Vec<u8>| {
        let mut out = vec![tag << 3 | 2];
        prost::encoding::encode_varint(bytes.len() as u64, &mut out);
        out.extend(bytes);
        out
    };
    let nested = |levels| (0..levels).fold(Vec::new(), |graph, _| field(1, field(5, field(6, graph))));
    // The model holds a graph, which holds nodes with attributes that hold graphs.
    assert!(matches!(refusal(&field(7, nested(2_000))), Refused::NotOnnx(_)));
    assert_eq!(refusal(&field(7, nested(20))), Refused::NoOutputs);
}

#[test]
fn an_empty_file_and_one_without_a_graph_are_no_models() {
    assert!(matches!(refusal(&[]), Refused::Foreign(_)));
    let file = Model { ir_version: 8, ..Default::default() }.encode_to_vec();
    assert!(matches!(refusal(&file), Refused::NotOnnx(_)));
}

proptest! {
    /// F15: however a valid file is damaged, it is read or refused in one line.
    #[test]
    fn a_damaged_file_is_read_or_refused_in_one_line(
        name in prop::sample::select(vec!["dropout.onnx", "zipmap.onnx", "sparse-input.onnx", "custom-op.onnx", "slow.onnx"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut file = bad(name);
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let _ = Contents::read(&file);
        if let Err(refused) = inspect(&file) {
            let told = refused.to_string();
            prop_assert!(told.len() < 1500 && !told.chars().any(char::is_control), "{:?}", told);
        }
    }
}
