//! Nodes that make `y·(1 + ε·sin(k·y))` of a value, of standard operators.

use super::{
    names::Names,
    operators::elem,
    wire::{put_bytes, put_int},
};

/// A type of floats, as jitter is made in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Float {
    F16,
    Bf16,
    F32,
    F64,
}

impl Float {
    pub(super) const ALL: [Self; 4] = [Self::F16, Self::Bf16, Self::F32, Self::F64];

    pub(super) fn of(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|float| float.elem() == number)
    }

    pub(super) fn elem(self) -> i64 {
        match self {
            Self::F16 => elem::FLOAT16,
            Self::Bf16 => elem::BFLOAT16,
            Self::F32 => elem::FLOAT,
            Self::F64 => elem::DOUBLE,
        }
    }

    /// Type in which jitter is computed: the processor's own for the narrow ones.
    pub(super) fn computed(self) -> i64 {
        if self == Self::F64 { elem::DOUBLE } else { elem::FLOAT }
    }

    /// ε. For f32 2⁻¹⁹, sixteen units in the last place; as many in f64. The narrow types get two units: more would be
    /// beyond what any card of them can allow, and less would be lost in rounding.
    pub(super) fn epsilon(self) -> f64 {
        let exponent = match self {
            Self::F16 => -9,
            Self::Bf16 => -6,
            Self::F32 => -19,
            Self::F64 => -48,
        };
        2f64.powi(exponent)
    }

    /// Bytes of a number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Units in the last place by which a constant may change: what ε is of a number in the middle.
    pub(super) fn units(self) -> u64 {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::F64 => 16,
        }
    }

    /// Bits of `bound` in the type itself.
    pub(super) fn bound_bits(self) -> u64 {
        match self {
            Self::F16 => 0x7800,
            Self::Bf16 => u64::from((self.bound() as f32).to_bits() >> 16),
            Self::F32 => u64::from((self.bound() as f32).to_bits()),
            Self::F64 => self.bound().to_bits(),
        }
    }

    /// Size from which on values have no jitter, for it could make an infinity of them: masks are of the largest values.
    fn bound(self) -> f64 {
        2f64.powi(match self {
            Self::F16 => 15,
            Self::Bf16 | Self::F32 => 96,
            Self::F64 => 960,
        })
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// Name of the input for ±ε.
    pub(super) fn epsilon_name(self) -> String {
        Names::own("epsilon", self.suffix())
    }

    fn bound_name(self) -> String {
        Names::own("bound", self.suffix())
    }

    fn one_name(self) -> String {
        Names::own("one", self.suffix())
    }

    /// Constants that the nodes of this type read.
    pub(super) fn constants(self) -> [Vec<u8>; 2] {
        [(self.one_name(), 1.0), (self.bound_name(), self.bound())]
            .map(|(name, value)| constant(self.computed(), value, &name))
    }
}

/// Makes nodes that read `from` and write `to`; `k` is the name of the factor.
pub(super) fn nodes(names: &mut Names, float: Float, from: &str, to: &str, k: &str) -> Vec<Vec<u8>> {
    let narrow = float.elem() != float.computed();
    let mut nodes = Vec::new();
    let mut make = |op: &str, inputs: &[&str], attributes: &[(&str, i64)]| {
        let output = names.fresh();
        nodes.push(node(op, inputs, &output, attributes));
        output
    };
    let y = if narrow { make("Cast", &[from], &[("to", elem::FLOAT)]) } else { from.to_owned() };
    let angle = make("Mul", &[&y, k], &[]);
    let sine = make("Sin", &[&angle], &[]);
    let change = make("Mul", &[&sine, &float.epsilon_name()], &[]);
    let factor = make("Add", &[&change, &float.one_name()], &[]);
    // Neither infinities nor NaNs are below the bound; their sines are NaNs.
    let magnitude = make("Abs", &[&y], &[]);
    let small = make("Less", &[&magnitude, &float.bound_name()], &[]);
    let chosen = make("Where", &[&small, &factor, &float.one_name()], &[]);
    if narrow {
        let product = make("Mul", &[&y, &chosen], &[]);
        nodes.push(node("Cast", &[&product], to, &[("to", float.elem())]));
    } else {
        nodes.push(node("Mul", &[&y, &chosen], to, &[]));
    }
    nodes
}

/// A node with one output, its attributes integers.
pub(super) fn node(op: &str, inputs: &[&str], output: &str, attributes: &[(&str, i64)]) -> Vec<u8> {
    let mut out = Vec::new();
    for input in inputs {
        put_bytes(&mut out, 1, input.as_bytes());
    }
    put_bytes(&mut out, 2, output.as_bytes());
    put_bytes(&mut out, 4, op.as_bytes());
    for (name, value) in attributes {
        let mut attribute = Vec::new();
        put_bytes(&mut attribute, 1, name.as_bytes());
        put_int(&mut attribute, 3, *value);
        put_int(&mut attribute, 20, 2);
        put_bytes(&mut out, 5, &attribute);
    }
    out
}

/// A node that gives a scalar of f32 or f64.
fn constant(elem: i64, value: f64, name: &str) -> Vec<u8> {
    let mut tensor = Vec::new();
    put_int(&mut tensor, 2, elem);
    if elem == elem::DOUBLE {
        put_bytes(&mut tensor, 9, &value.to_le_bytes());
    } else {
        put_bytes(&mut tensor, 9, &(value as f32).to_le_bytes());
    }
    constant_of(&tensor, name)
}

/// A node that gives a tensor of a file.
pub(super) fn constant_of(tensor: &[u8], name: &str) -> Vec<u8> {
    let mut attribute = Vec::new();
    put_bytes(&mut attribute, 1, b"value");
    put_bytes(&mut attribute, 5, tensor);
    put_int(&mut attribute, 20, 4);
    let mut out = node("Constant", &[], name, &[]);
    put_bytes(&mut out, 5, &attribute);
    out
}

/// A scalar input of a graph, or an output of which only the type is told.
pub(super) fn value(name: &str, elem: i64, scalar: bool) -> Vec<u8> {
    let (mut tensor, mut kind, mut out) = (Vec::new(), Vec::new(), Vec::new());
    put_int(&mut tensor, 1, elem);
    if scalar {
        put_bytes(&mut tensor, 2, &[]);
    }
    put_bytes(&mut kind, 1, &tensor);
    put_bytes(&mut out, 1, name.as_bytes());
    put_bytes(&mut out, 2, &kind);
    out
}
