//! Whether this machine's processor multiplies unsigned integers of eight bits with signed ones exactly, natively.
//!
//! Those with AVX2 and without VNNI add two products in sixteen bits, which saturate.

use prost::Message;

use crate::{
    engine::{Engine, EngineError, LoadError, OnnxEngine, Source},
    model::{
        ModelFile,
        graph::proto::{Dimension, Graph, Model, Node, OperatorSet, Shape, Size, TensorType, Type, ValueInfo},
    },
    protocol::{
        OutputFormat,
        tensor::{self, DType, Tensor, TensorError},
    },
};

/// Numbers of elements of a row, and of rows and columns.
const INNER: usize = 64;
const OUTER: usize = 16;

/// Why that is not known.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub(super) enum ProductError {
    #[error("ONNX Runtime does not multiply integers here: {0}")]
    Load(#[from] LoadError),
    #[error("ONNX Runtime does not multiply integers here: {0}")]
    Run(#[from] EngineError),
    #[error("ONNX Runtime does not multiply integers here: {0}")]
    Tensor(#[from] TensorError),
}

/// Runs a product of the largest integers with native ONNX Runtime: of one row, and of several, for which it has different
/// code.
///
/// # Errors
/// `ProductError` where native ONNX Runtime cannot be used.
pub(super) async fn are_exact(engine: &OnnxEngine) -> Result<bool, ProductError> {
    let loaded = engine.load(Source::file(ModelFile::in_memory(product()))).await?;
    for rows in [1, OUTER] {
        let unsigned = Tensor::new(DType::U8, 0, dims(&[rows, INNER]), vec![u8::MAX; rows * INNER].into())?;
        let signed = Tensor::new(DType::I8, 0, dims(&[INNER, OUTER]), vec![i8::MAX as u8; INNER * OUTER].into())?;
        let ran = engine.run(loaded.id, tensor::encode(&[unsigned, signed])?, OutputFormat::NATIVE).await?;
        let sum = i32::from(u8::MAX) * i32::from(i8::MAX) * INNER as i32;
        let expected: Vec<u8> = (0..rows * OUTER).flat_map(|_| sum.to_be_bytes()).collect();
        let outputs = tensor::decode(&ran.output).unwrap_or_default();
        if outputs.first().is_none_or(|output| output.data()[..] != expected[..]) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn dims(sizes: &[usize]) -> Vec<u32> {
    sizes.iter().map(|size| u32::try_from(*size).unwrap_or_default()).collect()
}

/// The file of a model that multiplies UINT8 [-1,64] with INT8 [64,16].
fn product() -> Vec<u8> {
    let port = |name: &str, elem_type, sizes: [Option<usize>; 2]| {
        let dim = |size: Option<usize>| Dimension { size: size.map(|size| Size::Value(size as i64)) };
        let tensor = TensorType { elem_type, shape: Some(Shape { dim: sizes.map(dim).to_vec() }) };
        ValueInfo { name: name.to_owned(), r#type: Some(Type { tensor: Some(tensor), ..Type::default() }) }
    };
    let node = Node {
        input: vec!["a".to_owned(), "b".to_owned()],
        output: vec!["y".to_owned()],
        op_type: "MatMulInteger".to_owned(),
        ..Node::default()
    };
    let graph = Graph {
        node: vec![node],
        name: "product".to_owned(),
        input: vec![port("a", 2, [None, Some(INNER)]), port("b", 3, [Some(INNER), Some(OUTER)])],
        output: vec![port("y", 6, [None, Some(OUTER)])],
        ..Graph::default()
    };
    let opset_import = vec![OperatorSet { domain: String::new(), version: 17 }];
    Model { ir_version: 8, graph: Some(graph), opset_import, functions: Vec::new() }.encode_to_vec()
}
