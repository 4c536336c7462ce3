//! Operators that may be run: those whose output follows from their input, on every machine.

use super::{
    domains::{CONTRIB_DOMAIN, STANDARD_DOMAINS},
    proto::Node,
    refused::Refused,
};

/// Operators that draw random numbers, but for `Dropout` in training.
pub(super) const RANDOM: [&str; 6] =
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"];
/// ONNX Runtime's own ones.
pub(super) const CONTRIB_RANDOM: [&str; 4] = ["BiasDropout", "BitmaskBiasDropout", "BitmaskDropout", "Sampling"];

/// Operators of ONNX Runtime's own that it has for processors and that draw nothing at random, sorted. Those that run a
/// whole model by themselves, such as `BeamSearch`, are not among them. `tests/conformance/contrib.py` runs all but eight.
pub(super) const CONTRIB: [&str; 63] = [
    "Attention",
    "AttnLSTM",
    "BiasGelu",
    "BifurcationDetector",
    "CDist",
    "ConvTransposeWithDynamicPads",
    "CropAndResize",
    "DecoderMaskedMultiHeadAttention",
    "DequantizeLinear",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "DynamicTimeWarping",
    "EmbedLayerNormalization",
    "ExpandDims",
    "FastGelu",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "GatherBlockQuantized",
    "GatherND",
    "Gelu",
    "GridSample",
    "GroupQueryAttention",
    "Inverse",
    "MatMulBnb4",
    "MatMulFpQ4",
    "MatMulInteger16",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "MaxpoolWithMask",
    "MoE",
    "MultiHeadAttention",
    "MurmurHash3",
    "NGramRepeatBlock",
    "NhwcMaxPool",
    "Pad",
    "QAttention",
    "QEmbedLayerNormalization",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearConv",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMul",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QLinearWhere",
    "QMoE",
    "QuantizeLinear",
    "QuickGelu",
    "Range",
    "RotaryEmbedding",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "SparseToDenseMatMul",
    "Tokenizer",
    "TransposeMatMul",
    "Trilu",
    "UnfoldTensor",
    "Unique",
    "WordConvEmbedding",
];

/// Locales that every machine has. Not the empty one, which is whatever the machine's environment says.
const LOCALES: [&str; 3] = ["C", "POSIX", "C.UTF-8"];

/// Judges a node that calls no function of its model by its operator alone.
///
/// # Errors
/// `Refused::CustomOperator`, `ContribOperator`, `RandomOperator` or `Locale`.
pub(super) fn judge(node: &Node) -> Result<(), Refused> {
    let operator = node.op_type.as_str();
    let random = || Err(Refused::RandomOperator { operator: operator.to_owned() });
    match node.domain.as_str() {
        CONTRIB_DOMAIN if CONTRIB_RANDOM.contains(&operator) => random(),
        CONTRIB_DOMAIN if CONTRIB.binary_search(&operator).is_ok() => Ok(()),
        CONTRIB_DOMAIN => Err(Refused::ContribOperator { operator: operator.to_owned() }),
        domain if !STANDARD_DOMAINS.contains(&domain) => {
            Err(Refused::CustomOperator { domain: domain.to_owned(), operator: operator.to_owned() })
        }
        _ if RANDOM.contains(&operator) => random(),
        _ if operator == "StringNormalizer" => locale(node),
        _ => Ok(()),
    }
}

/// Checks that a `StringNormalizer` that changes or ignores case does so in a locale that every machine has.
fn locale(node: &Node) -> Result<(), Refused> {
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    let text = |name: &str| attribute(name).map(|attribute| String::from_utf8_lossy(&attribute.s).into_owned());
    let changes = text("case_change_action").is_some_and(|action| action != "NONE");
    let ignores = attribute("is_case_sensitive").is_none_or(|attribute| attribute.i == 0);
    let locale = text("locale");
    // Which of two readers take is not said.
    let names: Vec<_> = node.attribute.iter().map(|attribute| &attribute.name).collect();
    let repeated = (1..names.len()).any(|index| names[..index].contains(&names[index]));
    match &locale {
        _ if repeated => Err(Refused::Locale { locale }),
        _ if !changes && !ignores => Ok(()),
        Some(locale) if LOCALES.contains(&locale.as_str()) => Ok(()),
        _ => Err(Refused::Locale { locale }),
    }
}
