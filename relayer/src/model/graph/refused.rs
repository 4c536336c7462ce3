//! Reasons for which a file is not run.

use super::domains::{CONTRIB_DOMAIN, STANDARD_DOMAINS};
use crate::{model::foreign::Foreign, text};

/// Nodes of a model at most, with every function written out where it is called.
pub const MAX_NODES: usize = 1_000_000;
/// Bytes of memory that reading a file may take, its weights left out: far more than models need.
pub(super) const MAX_MEMORY: u64 = 1 << 30;
/// Functions that call each other in a row, at most: each takes some stack of whoever walks the model.
pub(super) const MAX_CALLS: usize = 100;

/// Reason for which a file is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum Refused {
    #[error("not an ONNX file: {0}; if it was one it is damaged or cut off, so fetch it again")]
    NotOnnx(String),
    #[error("not an ONNX file, but {0}")]
    Foreign(Foreign),
    #[error("the model has no outputs: export it with at least one")]
    NoOutputs,
    #[error(
        "the weights `{}` lie in another file, which only initializers of a graph may: save the model as one file",
        text::shown(tensor)
    )]
    ExternalData { tensor: String },
    #[error(
        "the weights `{}` lie in `{}`, which is no path to a file within the model's folder: save the model's weights beside it",
        text::shown(tensor),
        text::shown(location)
    )]
    ExternalPath { tensor: String, location: String },
    #[error(
        "operator {}.{} is not standard: only those of {STANDARD_DOMAINS:?} and of {CONTRIB_DOMAIN} are run, so export the model \
         with them",
        text::shown(domain),
        text::shown(operator)
    )]
    CustomOperator { domain: String, operator: String },
    #[error(
        "operator {CONTRIB_DOMAIN}.{} is none of those that give the same output on every processor: export the model with \
         standard operators",
        text::shown(operator)
    )]
    ContribOperator { operator: String },
    #[error(
        "operator StringNormalizer changes or ignores case {}, which not every machine does alike: give it the attribute \
         locale=\"C.UTF-8\", \"C\" or \"POSIX\" (with skl2onnx's `options={{TfidfVectorizer: {{'locale': 'C.UTF-8'}}}}`)",
        in_locale(locale.as_deref())
    )]
    Locale { locale: Option<String> },
    #[error("operator {operator} draws random numbers, so nobody could check its output: export the model without it")]
    RandomOperator { operator: String },
    #[error(
        "operator Dropout is in training unless `{}` is false, which is no constant of the main graph: export the model in \
         evaluation mode, such as with `model.eval()`",
        text::shown(training)
    )]
    TrainingDropout { training: String },
    #[error(
        "function {}.{} takes the name of a runtime's own operators: rename its domain",
        text::shown(domain),
        text::shown(name)
    )]
    ReservedFunction { domain: String, name: String },
    #[error("function {} calls itself: export the model without it", text::shown(name))]
    RecursiveFunction { name: String },
    #[error("more than {MAX_CALLS} functions call each other in a row: export the model with them inlined")]
    DeepFunctions,
    #[error("nodes, names and other parts that take more than {MAX_MEMORY} bytes to read: export a smaller model")]
    TooManyParts,
    #[error("more than {MAX_NODES} nodes with functions written out: export a smaller model")]
    TooManyNodes,
    #[error(
        "`{}` is {kind}: only tensors of integers, FP16, BF16, FP32, FP64, BOOL and BYTES, and sequences of such, can be asked \
         for, so export the model with them{}",
        text::shown(tensor),
        zipmap(kind)
    )]
    UnsupportedType { tensor: String, kind: String },
}

/// What a sequence of maps is called, which is what a `ZipMap` gives.
pub(super) const SEQUENCE_OF_MAPS: &str = "a sequence of maps";

/// The option of exporters that spares classifiers their maps.
#[must_use]
pub fn zipmap(kind: &str) -> &'static str {
    if kind == SEQUENCE_OF_MAPS { " (if it is a ZipMap, with skl2onnx's `options={'zipmap': False}`)" } else { "" }
}

fn in_locale(locale: Option<&str>) -> String {
    match locale {
        None => "in the locale en_US.UTF-8, as it does without the attribute `locale`".to_owned(),
        Some("") => "in the locale of the machine's environment".to_owned(),
        Some(locale) => format!("in the locale `{}`", text::shown(locale)),
    }
}
