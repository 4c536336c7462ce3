//! What a rewrite knows of values.

use std::rc::Rc;

use super::{
    GuardError,
    jitter::Float,
    node::Node,
    operators::{Rule, rules, settles},
};

/// What is known of a value.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) elem: i64,
    pub(super) kind: Kind,
    /// Whether the value hangs on ones that are rounded.
    pub(super) rounded: Rounded,
    /// The tensor without jitter, of a short constant that has some.
    pub(super) exact: Option<Rc<Vec<u8>>>,
}

/// Whether what is known of a value hangs on values that are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rounded {
    /// Its elements do.
    pub(super) elements: bool,
    /// Its sizes do: as many elements as a rounded value lets through.
    pub(super) sizes: bool,
}

impl Rounded {
    pub(super) fn any(self) -> bool {
        self.elements || self.sizes
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self { elements: self.elements || other.elements, sizes: self.sizes || other.sizes }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A constant of one element. It has no jitter: what it is added to or multiplied with has, and so has the result;
    /// a bound or power of another value would mean another thing.
    Single,
    /// Made of shapes and single constants alone, by operators that every machine computes alike.
    Shape,
    Other,
}

/// Bytes of a constant that is kept without jitter.
const SHORT: usize = 1_024;

pub(super) fn is_float(elem: i64) -> bool {
    Float::of(elem).is_some()
}

pub(super) fn unknown(node: &Node<'_>) -> GuardError {
    GuardError::Operator { op: node.op.to_owned(), domain: node.domain.to_owned() }
}

/// A copy of a constant that a node may need as it is: bounds and scales of images are short.
pub(super) fn exact(tensor: &[u8]) -> Option<Rc<Vec<u8>>> {
    (tensor.len() <= SHORT).then(|| Rc::new(tensor.to_vec()))
}

/// Element types of the outputs of a node without graphs.
pub(super) fn outputs_of(node: &Node<'_>, inputs: &[Option<i64>]) -> Result<Vec<i64>, GuardError> {
    let rules = rules(node).ok_or_else(|| unknown(node))?;
    let elem = |place: usize| match rules[place.min(rules.len() - 1)] {
        Rule::Is(elem) => Ok(elem),
        Rule::Like(input) => inputs.get(input).copied().flatten().ok_or_else(|| unknown(node)),
    };
    (0..node.output.len()).map(elem).collect()
}

/// What a node's outputs are.
pub(super) fn kind(node: &Node<'_>, inputs: &[Option<Known>]) -> Kind {
    let mut kinds = inputs.iter().flatten().map(|known| known.kind).peekable();
    match node.op {
        "Shape" | "Size" => Kind::Shape,
        _ if kinds.peek().is_none() || !settles(node) => Kind::Other,
        _ => kinds.fold(Kind::Single, |all, kind| match (all, kind) {
            (Kind::Other, _) | (_, Kind::Other) => Kind::Other,
            (Kind::Shape, _) | (_, Kind::Shape) => Kind::Shape,
            _ => Kind::Single,
        }),
    }
}
