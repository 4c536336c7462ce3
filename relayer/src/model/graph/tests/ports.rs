//! Inputs and outputs, of whatever types.

use super::*;
use crate::model::graph::proto::ValueInfo;

pub(super) fn holder(inner: proto::Type) -> Option<Box<proto::Holder>> {
    Some(Box::new(proto::Holder { elem_type: Some(Box::new(inner)) }))
}

fn tensor_type(elem_type: i32, rank: usize) -> proto::Type {
    port("", elem_type, &vec![-1; rank]).r#type.unwrap()
}

fn typed(name: &str, r#type: proto::Type) -> ValueInfo {
    ValueInfo { name: name.into(), r#type: Some(r#type) }
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
        match refusal(&model(graph(vec![], vec![port], vec![]), vec![])) {
            Refused::UnsupportedType { tensor, kind } if tensor == "x" => kind,
            refused => panic!("{refused}"),
        }
    };
    // Even beside a tensor type: which of two a reader takes depends on their order.
    assert_eq!(other(|t| t.sequence = holder(tensor_type(1, 1))), "of several types");
    assert_eq!(other(|t| t.map = Some(proto::Other {})), "a map");
    assert_eq!(other(|t| t.sparse_tensor = Some(proto::Other {})), "a sparse tensor");
    assert_eq!(other(|t| t.tensor = None), "of no declared type");
    assert_eq!(other(|t| t.tensor.as_mut().unwrap().elem_type = 22), "of INT4");
    assert_eq!(other(|t| t.tensor.as_mut().unwrap().elem_type = 17), "of FLOAT8E4M3FN");
    let inner = |inner: fn() -> proto::Type| {
        let port = typed("x", proto::Type { sequence: holder(inner()), ..Default::default() });
        refusal(&model(graph(vec![], vec![port], vec![]), vec![])).to_string()
    };
    assert!(inner(|| tensor_type(22, 1)).contains("a sequence of tensors of INT4"));
    let nested = || proto::Type { sequence: holder(tensor_type(1, 1)), ..Default::default() };
    assert!(inner(nested).contains("a sequence of what are no tensors"));
}

#[test]
fn a_sequence_is_two_tensors_and_what_is_optional_is_there() {
    let sequence = || proto::Type { sequence: holder(tensor_type(11, 2)), ..Default::default() };
    let optional = |inner| proto::Type { optional: holder(inner), ..Default::default() };
    let inputs = vec![typed("xs", sequence()), typed("perhaps", optional(tensor_type(7, 1)))];
    let outputs = vec![typed("ys", optional(sequence())), port("z", 1, &[1])];
    let signature = inspect(&model(graph(vec![], inputs.clone(), outputs), vec![])).unwrap();
    let shown = |specs: &[TensorSpec]| specs.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&signature.inputs), ["xs FP64 [-1,-1,-1]", "xs.shapes INT64 [-1,2]", "perhaps INT64 [-1]"]);
    let outputs: Vec<_> = signature.outputs.iter().map(ToString::to_string).collect();
    assert_eq!(outputs, ["ys FP64 [-1,-1,-1]", "ys.shapes INT64 [-1,2]", "z FP32 [1]"]);
    let kinds: Vec<_> = signature.input_ports.iter().map(|port| port.kind).collect();
    assert_eq!(kinds, [PortKind::Sequence(ElementType::F64), PortKind::Tensor]);
    // The second tensor's name must be free.
    let mut taken = inputs;
    taken.push(port("xs.shapes", 1, &[1]));
    let told = refusal(&model(graph(vec![], taken, vec![port("z", 1, &[1])]), vec![])).to_string();
    assert!(told.contains("beside `xs.shapes`"), "{told}");
}
