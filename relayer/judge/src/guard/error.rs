//! Why a model has no guard, and why the guard speaks.

use std::fmt;

use crate::JudgeError;

/// Reason for which a model cannot be guarded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The file is no ONNX model.
    #[error("the file is no ONNX model: {0}")]
    Malformed(String),
    /// The standard operators are of a version that lacks what the guard needs.
    #[error("the model uses version {0} of the standard operators; export it with version 9 or later")]
    Opset(i64),
    /// The file defines functions of its own.
    #[error("the model defines functions; export it with them inlined")]
    Functions,
    /// A graph has sparse constants.
    #[error("the model has sparse constants; export it with dense ones")]
    Sparse,
    /// An operator of which the guard does not know what it does.
    #[error(
        "the guard does not know the operator {op:?} of domain {domain:?} in this use; export the model without it"
    )]
    Operator {
        /// Name of the operator.
        op: String,
        /// Its domain; empty for the standard one.
        domain: String,
    },
    /// A value is of a type that the guard does not know.
    #[error("the value {value:?} is of ONNX's type {elem}, which the guard does not know; export the model without it")]
    Type {
        /// Name of the value.
        value: String,
        /// Number of the type in ONNX.
        elem: i64,
    },
    /// An input has no type.
    #[error("the input {0:?} has no type; declare it in the file")]
    Untyped(String),
    /// A value is read before it is made.
    #[error("the value {0:?} is read before a node makes it; sort the nodes of the file")]
    Order(String),
    /// Two values of a graph have one name.
    #[error("two values are named {0:?}; rename one")]
    Twice(String),
    /// A name that the guard uses for itself.
    #[error("the value {0:?} has a name that the guard uses; rename it")]
    Name(String),
    /// A float becomes an integer within a graph of a node, where no output can show it.
    #[error("the node {node:?} makes integers of floats by {op:?} within a branch or loop; move it out")]
    CastInside {
        /// Operator of the node.
        op: String,
        /// Name of the node.
        node: String,
    },
    /// An operator computes in floats between integers, where no jitter reaches.
    #[error("the node {node:?} computes integers by {op:?} through floats inside it; let it work on floats")]
    HiddenStep {
        /// Operator of the node.
        op: String,
        /// Name of the node.
        node: String,
    },
    /// Graphs are nested more than eight deep.
    #[error(
        "graphs are nested more than {} deep; export the model with fewer branches within branches",
        super::MAX_DEPTH
    )]
    TooDeep,
    /// More values than the guard takes.
    #[error("more than {} values of the model would be guarded; export a smaller one", super::MAX_ADDED)]
    TooLarge,
}

/// Whether a verdict is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardVerdict {
    /// It is: small changes of every value change nothing.
    Silent,
    /// It is not.
    Speaks(Speaks),
}

/// Why no verdict is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// The outputs of a run are not equal to the canonical ones by the card's rule.
    Unstable {
        /// The run: 0 is without jitter, 1 to 8 are with.
        run: u8,
    },
    /// A float becomes an integer that the type does not have, of which machines make different ones.
    Cast {
        /// The run: 0 is without jitter, 1 to 8 are with.
        run: u8,
        /// Operator of the node.
        operator: String,
        /// Name of the node, which may be empty.
        node: String,
        /// Place of the first such element, in row-major order.
        element: usize,
        /// The float, in decimal.
        value: String,
    },
    /// A run met a limit or failed.
    Failed {
        /// The run: 0 is without jitter, 1 to 8 are with.
        run: u8,
        /// What happened.
        error: JudgeError,
    },
    /// The judge does not load the rewritten model.
    NotLoaded(JudgeError),
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstable { run: 0 } => f.write_str("rounding of values inside the model changes the answer"),
            Self::Unstable { run } => write!(f, "the small changes of run {run} change the answer"),
            Self::Cast { run, operator, node, element, value } => {
                write!(
                    f,
                    "element {element} of what {operator:?} of node {node:?} makes integers of is {value} in run {run}"
                )
            }
            Self::Failed { run, error } => write!(f, "run {run} failed where the plain one did not: {error}"),
            Self::NotLoaded(error) => write!(f, "the model with small changes is refused: {error}"),
        }
    }
}
