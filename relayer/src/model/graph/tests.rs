use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::engine::tests::build::{attribute, graph, model, node, port};

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
    let entry = proto::Entry { key: "location".into(), value: "/etc/passwd".into() };
    Tensor { name: "w".into(), external_data: vec![entry], data_location: 0 }
}

#[test]
fn the_malicious_files_are_refused_for_what_they_are() {
    let refusal = |name: &str| refusal(&bad(name));
    assert_eq!(refusal("external.onnx"), Refused::ExternalData { tensor: "bias".into() });
    assert_eq!(
        refusal("custom-op.onnx"),
        Refused::CustomOperator { domain: "com.example".into(), operator: "Oracle".into() }
    );
    assert_eq!(refusal("random.onnx"), Refused::RandomOperator { operator: "RandomNormal".into() });
    assert_eq!(refusal("sequence.onnx"), Refused::UnsupportedType { tensor: "xs".into(), kind: "a sequence".into() });
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
fn weights_in_other_files_are_refused_wherever_they_hide() {
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
    assert_eq!(
        refusal(&in_attribute(|a| a.g = Some(Graph { initializer: vec![external()], ..Default::default() }))),
        expected
    );
    let mut holder = graph(vec![], vec![], vec![]);
    holder.sparse_initializer.push(sparse());
    assert_eq!(refusal(&model(holder, vec![])), expected);
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
    assert_eq!(signature.outputs[1], OutputSpec::Other { name: "probabilities".into(), kind: "a sequence".into() });
    let mut alone = port("maps", 1, &[1]);
    alone.r#type = Some(proto::Type { sequence: Some(proto::Other {}), ..Default::default() });
    let told = refusal(&model(graph(vec![], vec![], vec![alone]), vec![])).to_string();
    assert!(told.contains("`maps` is a sequence") && told.contains("options={'zipmap': False}"), "{told}");
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
fn ports_of_other_types_are_refused() {
    for (elem_type, refused) in
        [(1, false), (16, false), (14, true), (15, true), (17, true), (22, true), (0, true), (99, true)]
    {
        let file = model(graph(vec![], vec![port("x", elem_type, &[1])], vec![port("y", 1, &[1])]), vec![]);
        assert_eq!(inspect(&file).is_err(), refused, "{elem_type}");
        let alone = model(graph(vec![], vec![], vec![port("y", elem_type, &[1])]), vec![]);
        assert_eq!(inspect(&alone).is_err(), refused, "{elem_type}");
    }
    let other = |fill: fn(&mut proto::Type)| {
        let mut port = port("x", 1, &[1]);
        fill(port.r#type.as_mut().unwrap());
        refusal(&model(graph(vec![], vec![], vec![port]), vec![]))
    };
    let refused = |kind: &str| Refused::UnsupportedType { tensor: "x".into(), kind: kind.into() };
    // Even beside a tensor type: which of two a reader takes depends on their order.
    assert_eq!(other(|t| t.sequence = Some(proto::Other {})), refused("a sequence"));
    assert_eq!(other(|t| t.map = Some(proto::Other {})), refused("a map"));
    assert_eq!(other(|t| t.optional = Some(proto::Other {})), refused("optional"));
    assert_eq!(other(|t| t.sparse_tensor = Some(proto::Other {})), refused("a sparse tensor"));
    assert_eq!(other(|t| t.tensor = None), refused("of no declared type"));
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
        if let Err(refused) = inspect(&file) {
            let told = refused.to_string();
            prop_assert!(told.len() < 1500 && !told.chars().any(char::is_control), "{:?}", told);
        }
    }
}
