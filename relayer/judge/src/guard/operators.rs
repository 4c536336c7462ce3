//! What each operator of ONNX does to types and to rounding errors.

use super::node::Node;

/// Numbers of element types in ONNX.
pub(super) mod elem {
    pub(crate) const FLOAT: i64 = 1;
    pub(crate) const UINT8: i64 = 2;
    pub(crate) const INT8: i64 = 3;
    pub(crate) const UINT16: i64 = 4;
    pub(crate) const INT16: i64 = 5;
    pub(crate) const INT32: i64 = 6;
    pub(crate) const INT64: i64 = 7;
    pub(crate) const STRING: i64 = 8;
    pub(crate) const BOOL: i64 = 9;
    pub(crate) const FLOAT16: i64 = 10;
    pub(crate) const DOUBLE: i64 = 11;
    pub(crate) const UINT32: i64 = 12;
    pub(crate) const UINT64: i64 = 13;
    pub(crate) const BFLOAT16: i64 = 16;
    pub(crate) const UINT4: i64 = 21;
    pub(crate) const INT4: i64 = 22;
    pub(crate) const UINT2: i64 = 25;
    pub(crate) const INT2: i64 = 26;

    /// Types of which the guard knows what to do with them: those above. Not complex numbers, nor floats of 8 bits or fewer.
    pub(crate) fn is_known(elem: i64) -> bool {
        matches!(elem, 1..=13 | 16 | 21 | 22 | 25 | 26)
    }
}

/// Whether an operator rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Its results are rounded, in ways that differ between machines: its float outputs are jittered.
    Rounds,
    /// Its results are elements of its inputs, or what every machine makes of them alike: a step that a small change of an
    /// input may take is taken by the input's own jitter.
    Exact,
}

/// Where the element type of an output comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Like(usize),
    Is(i64),
}

/// Element types of a node's outputs, in order, the last rule holding for all further ones; `None` for an operator that is
/// not known. Operators with graphs are not among these.
pub(super) fn rules(node: &Node<'_>) -> Option<Vec<Rule>> {
    use Rule::{Is, Like};
    use elem::{BOOL, FLOAT, INT32, INT64, STRING, UINT8};
    let attribute = |name: &str, default: i64| Is(node.int(name).unwrap_or(default));
    if node.domain == "ai.onnx.ml" {
        return Some(match node.op {
            "ArrayFeatureExtractor" | "Binarizer" | "Imputer" | "TreeEnsemble" => vec![Like(0)],
            "FeatureVectorizer"
            | "LinearRegressor"
            | "Normalizer"
            | "OneHotEncoder"
            | "SVMRegressor"
            | "Scaler"
            | "TreeEnsembleRegressor" => vec![Is(FLOAT)],
            "LinearClassifier" | "SVMClassifier" | "TreeEnsembleClassifier" => {
                vec![Is(if node.has("classlabels_strings") { STRING } else { INT64 }), Is(FLOAT)]
            }
            "LabelEncoder" => vec![Is(label_encoder(node)?)],
            _ => return None,
        });
    }
    if !matches!(node.domain, "" | "ai.onnx") {
        return None;
    }
    Some(match node.op {
        "Abs"
        | "Acos"
        | "Acosh"
        | "Add"
        | "AffineGrid"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "AveragePool"
        | "BatchNormalization"
        | "BitShift"
        | "BitwiseAnd"
        | "BitwiseNot"
        | "BitwiseOr"
        | "BitwiseXor"
        | "Ceil"
        | "Celu"
        | "CenterCropPad"
        | "Clip"
        | "Col2Im"
        | "Compress"
        | "Concat"
        | "ConcatFromSequence"
        | "Conv"
        | "ConvTranspose"
        | "Cos"
        | "Cosh"
        | "CumProd"
        | "CumSum"
        | "DFT"
        | "DeformConv"
        | "DepthToSpace"
        | "Det"
        | "Div"
        | "Einsum"
        | "Elu"
        | "Erf"
        | "Exp"
        | "Expand"
        | "Flatten"
        | "Floor"
        | "GRU"
        | "Gather"
        | "GatherElements"
        | "GatherND"
        | "Gelu"
        | "Gemm"
        | "GlobalAveragePool"
        | "GlobalLpPool"
        | "GlobalMaxPool"
        | "GridSample"
        | "GroupNormalization"
        | "HardSigmoid"
        | "HardSwish"
        | "Hardmax"
        | "Identity"
        | "InstanceNormalization"
        | "LRN"
        | "LSTM"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "LpNormalization"
        | "LpPool"
        | "MatMul"
        | "Max"
        | "MaxRoiPool"
        | "MaxUnpool"
        | "Mean"
        | "MeanVarianceNormalization"
        | "Min"
        | "Mish"
        | "Mod"
        | "Mul"
        | "Neg"
        | "NegativeLogLikelihoodLoss"
        | "Not"
        | "Optional"
        | "OptionalGetElement"
        | "PRelu"
        | "Pad"
        | "Pow"
        | "RNN"
        | "Range"
        | "Reciprocal"
        | "ReduceL1"
        | "ReduceL2"
        | "ReduceLogSum"
        | "ReduceLogSumExp"
        | "ReduceMax"
        | "ReduceMean"
        | "ReduceMin"
        | "ReduceProd"
        | "ReduceSum"
        | "ReduceSumSquare"
        | "Relu"
        | "Reshape"
        | "Resize"
        | "ReverseSequence"
        | "RoiAlign"
        | "RotaryEmbedding"
        | "Round"
        | "STFT"
        | "Scatter"
        | "ScatterElements"
        | "ScatterND"
        | "Selu"
        | "SequenceAt"
        | "SequenceConstruct"
        | "SequenceErase"
        | "SequenceInsert"
        | "Shrink"
        | "Sigmoid"
        | "Sign"
        | "Sin"
        | "Sinh"
        | "Slice"
        | "Softmax"
        | "SoftmaxCrossEntropyLoss"
        | "Softplus"
        | "Softsign"
        | "SpaceToDepth"
        | "Split"
        | "SplitToSequence"
        | "Sqrt"
        | "Squeeze"
        | "StringConcat"
        | "StringNormalizer"
        | "Sub"
        | "Sum"
        | "Swish"
        | "Tan"
        | "Tanh"
        | "TensorScatter"
        | "ThresholdedRelu"
        | "Tile"
        | "Transpose"
        | "Trilu"
        | "Unsqueeze"
        | "Upsample" => vec![Like(0)],
        "And" | "Equal" | "Greater" | "GreaterOrEqual" | "IsInf" | "IsNaN" | "Less" | "LessOrEqual"
        | "OptionalHasElement" | "Or" | "RegexFullMatch" | "Xor" => vec![Is(BOOL)],
        "ArgMax" | "ArgMin" | "NonMaxSuppression" | "NonZero" | "SequenceLength" | "Shape" | "Size" => vec![Is(INT64)],
        "Attention" => vec![Like(0), Like(1), Like(2), Like(0)],
        "BitCast" | "Cast" => vec![Is(node.int("to")?)],
        "BlackmanWindow" | "HammingWindow" | "HannWindow" | "MelWeightMatrix" => {
            vec![attribute("output_datatype", FLOAT)]
        }
        "CastLike" | "RMSNormalization" | "Where" => vec![Like(1)],
        "ConstantOfShape" => vec![Is(node.tensor("value").map_or(FLOAT, |tensor| tensor.elem))],
        "ConvInteger" | "MatMulInteger" => vec![Is(INT32)],
        "DequantizeLinear" => match node.int("output_dtype") {
            Some(to) if to != 0 => vec![Is(to)],
            _ => vec![Like(1)],
        },
        "Dropout" | "MaxPool" | "TopK" | "Unique" => {
            vec![Like(0), Is(if node.op == "Dropout" { BOOL } else { INT64 })]
        }
        "DynamicQuantizeLinear" => vec![Is(UINT8), Is(FLOAT), Is(UINT8)],
        "EyeLike" => node.int("dtype").map_or(vec![Like(0)], |to| vec![Is(to)]),
        // Mean and inverse deviation are of the type in which they are computed, which the judge takes to be f64 for f64.
        "LayerNormalization" => vec![Like(0), attribute("stash_type", FLOAT)],
        "OneHot" => vec![Like(2)],
        "QLinearConv" | "QLinearMatMul" => vec![Like(7)],
        "QuantizeLinear" => match (node.int("output_dtype"), node.input.get(2)) {
            (Some(to), _) if to != 0 => vec![Is(to)],
            (_, Some(zero)) if !zero.is_empty() => vec![Like(2)],
            _ => vec![Is(UINT8)],
        },
        "SequenceEmpty" => vec![attribute("dtype", FLOAT)],
        "StringSplit" => vec![Is(STRING), Is(INT64)],
        "TfIdfVectorizer" => vec![Is(FLOAT)],
        _ => return None,
    })
}

fn label_encoder(node: &Node<'_>) -> Option<i64> {
    if let Some(tensor) = node.tensor("values_tensor") {
        return Some(tensor.elem);
    }
    let lists = [("values_strings", elem::STRING), ("values_int64s", elem::INT64), ("values_floats", elem::FLOAT)];
    lists.into_iter().find(|(name, _)| node.has(name)).map(|(_, elem)| elem)
}

/// Whether a known operator rounds.
pub(super) fn effect(node: &Node<'_>) -> Effect {
    let exact = match node.op {
        "Abs"
        | "ArrayFeatureExtractor"
        | "Binarizer"
        | "BitCast"
        | "Cast"
        | "CastLike"
        | "Ceil"
        | "CenterCropPad"
        | "Clip"
        | "Compress"
        | "Concat"
        | "ConcatFromSequence"
        | "Constant"
        | "ConstantOfShape"
        | "DepthToSpace"
        | "Dropout"
        | "Expand"
        | "EyeLike"
        | "Flatten"
        | "Floor"
        | "Gather"
        | "GatherElements"
        | "GatherND"
        | "GlobalMaxPool"
        | "Hardmax"
        | "Identity"
        | "Imputer"
        | "LabelEncoder"
        | "Max"
        | "MaxPool"
        | "MaxRoiPool"
        | "MaxUnpool"
        | "Min"
        | "Neg"
        | "OneHot"
        | "OneHotEncoder"
        | "Optional"
        | "OptionalGetElement"
        | "Pad"
        | "ReduceMax"
        | "ReduceMin"
        | "Relu"
        | "Reshape"
        | "ReverseSequence"
        | "Round"
        | "SequenceAt"
        | "SequenceConstruct"
        | "SequenceEmpty"
        | "SequenceErase"
        | "SequenceInsert"
        | "Sign"
        | "Slice"
        | "SpaceToDepth"
        | "Split"
        | "SplitToSequence"
        | "Squeeze"
        | "TensorScatter"
        | "ThresholdedRelu"
        | "Tile"
        | "TopK"
        | "Transpose"
        | "Trilu"
        | "Unique"
        | "Unsqueeze"
        | "Where" => true,
        "Scatter" | "ScatterElements" | "ScatterND" => matches!(node.text("reduction"), None | Some("none" | "")),
        "Resize" | "Upsample" => matches!(node.text("mode"), None | Some("nearest")),
        _ => false,
    };
    if exact { Effect::Exact } else { Effect::Rounds }
}

/// Whether every machine computes an operator alike on sizes and single constants: moves, steps, and the arithmetic that
/// IEEE 754 rounds correctly.
pub(super) fn settles(node: &Node<'_>) -> bool {
    effect(node) == Effect::Exact || matches!(node.op, "Add" | "Sub" | "Mul" | "Div" | "Mod")
}

/// Whether an input takes a constant for what it says: sizes, which no machine rounds, and exponents, of which another
/// value than 2 makes a NaN of a negative base.
pub(super) fn takes_exactly(op: &str, input: usize) -> bool {
    matches!((op, input), ("Resize", 1 | 2) | ("Upsample" | "OneHot" | "Pow", 1) | ("Range", _))
}
