//! The cast check: which floats of a node become integers, and what they must be for every machine to make the same of them.

use crate::{Data, Tensor};

use super::{jitter::Float, node::Node, operators::elem};

/// What a float must be before it becomes an integer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Allowed {
    /// Between two numbers, neither of them allowed: those that are cut to an integer that the type has.
    Between(f64, f64),
    /// Finite: the operator saturates, but knows no integer for a NaN.
    Finite,
    /// Finite and not zero: a divisor.
    Divisor,
}

impl Allowed {
    fn admits(self, value: f64) -> bool {
        match self {
            Self::Between(low, high) => value > low && value < high,
            Self::Finite => value.is_finite(),
            Self::Divisor => value.is_finite() && value != 0.0,
        }
    }

    /// The place of the first element of a tensor of f64 that is not allowed, and the element.
    pub(super) fn violated(self, tensor: &Tensor) -> Option<(usize, f64)> {
        let Data::Bytes(bytes) = tensor.data() else { return None };
        let values = bytes.as_chunks::<8>().0.iter().map(|word| f64::from_le_bytes(*word));
        values.enumerate().find(|(_, value)| !self.admits(*value))
    }
}

/// What of a node is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Input(usize),
    /// The power of inputs 0 and 1, before it is made an integer.
    Power,
}

/// What of a node must be looked at, by the element types of its inputs and of its first output.
pub(super) fn probes(node: &Node<'_>, inputs: &[Option<i64>], output: Option<i64>) -> Vec<(Source, Allowed)> {
    let float = |place: usize| inputs.get(place).copied().flatten().is_some_and(|elem| Float::of(elem).is_some());
    let finite = |places: &[usize]| {
        places.iter().filter(|place| float(**place)).map(|place| (Source::Input(*place), Allowed::Finite)).collect()
    };
    let coordinate = Allowed::Between(-INDEX, INDEX);
    match node.op {
        "Cast" | "CastLike" => {
            let target = output.and_then(range);
            target.filter(|_| float(0)).map(|range| (Source::Input(0), range)).into_iter().collect()
        }
        "QuantizeLinear" => {
            let mut all: Vec<_> = finite(&[0]);
            all.extend(float(1).then_some((Source::Input(1), Allowed::Divisor)));
            all
        }
        "DynamicQuantizeLinear" => finite(&[0]),
        "QLinearMatMul" | "QLinearConv" => vec![
            (Source::Input(1), Allowed::Finite),
            (Source::Input(4), Allowed::Finite),
            (Source::Input(6), Allowed::Divisor),
        ],
        "Pow" if !float(0) => output.and_then(range).map(|range| (Source::Power, range)).into_iter().collect(),
        // Depths, sizes and places that are told by floats.
        "OneHot" => {
            [0, 1].into_iter().filter(|place| float(*place)).map(|place| (Source::Input(place), coordinate)).collect()
        }
        "Range" => finite(&[0, 1, 2]),
        "Resize" => finite(&[1, 2]),
        "Upsample" => finite(&[1]),
        "RoiAlign" | "MaxRoiPool" => vec![(Source::Input(1), coordinate)],
        "GridSample" => vec![(Source::Input(1), coordinate)],
        "DeformConv" => vec![(Source::Input(2), coordinate)],
        "MelWeightMatrix" => finite(&[3, 4]),
        _ => vec![],
    }
}

/// Largest size of a float that is a place: scaled by a side of an image it still is an integer of 64 bits.
const INDEX: f64 = 1_048_576.0;

/// What is cut to an integer that a type has; `None` for types other than integers.
fn range(integer: i64) -> Option<Allowed> {
    let (signed, bits) = match integer {
        elem::INT8 => (true, 8),
        elem::INT16 => (true, 16),
        elem::INT32 => (true, 32),
        elem::INT64 => (true, 64),
        elem::UINT8 => (false, 8),
        elem::UINT16 => (false, 16),
        elem::UINT32 => (false, 32),
        elem::UINT64 => (false, 64),
        elem::INT4 => (true, 4),
        elem::UINT4 => (false, 4),
        elem::INT2 => (true, 2),
        elem::UINT2 => (false, 2),
        _ => return None,
    };
    let high = 2f64.powi(if signed { bits - 1 } else { bits });
    // The next number below −2⁶³ is 2,048 away; where there are fractions, all above the next integer are cut to the least.
    let low = if signed { (-high - 1.0).min((-high).next_down()) } else { -1.0 };
    Some(Allowed::Between(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_to_an_integer_of_the_type_is_allowed_and_nothing_else() {
        let admits = |elem, value: f64| range(elem).unwrap().admits(value);
        for (elem, least, greatest) in [
            (elem::INT8, -128.99, 127.99),
            (elem::UINT8, -0.99, 255.99),
            (elem::INT32, -2_147_483_648.9, 2_147_483_647.9),
            (elem::INT64, -9_223_372_036_854_775_808.0, 9_223_372_036_854_774_784.0),
            (elem::UINT64, -0.99, 18_446_744_073_709_549_568.0),
            (elem::INT4, -8.5, 7.5),
            (elem::UINT2, -0.99, 3.99),
        ] {
            assert!(admits(elem, least) && admits(elem, greatest), "{elem}");
            assert!(!admits(elem, least.floor().next_down().min(least - 0.02)), "{elem}");
            assert!(!admits(elem, greatest.ceil().next_up().max(greatest + 0.02)), "{elem}");
            assert!(
                !admits(elem, f64::NAN) && !admits(elem, f64::INFINITY) && !admits(elem, f64::NEG_INFINITY),
                "{elem}"
            );
        }
        assert_eq!(range(elem::BOOL), None);
        assert_eq!(range(elem::FLOAT), None);
    }

    #[test]
    fn the_first_element_that_is_not_allowed_is_told() {
        let bytes = [1.0, f64::NAN, f64::INFINITY].iter().flat_map(|value: &f64| value.to_le_bytes()).collect();
        let tensor = Tensor::new(crate::DType::F64, vec![3], bytes).unwrap();
        assert_eq!(Allowed::Finite.violated(&tensor).map(|(place, _)| place), Some(1));
        assert!(!Allowed::Divisor.admits(0.0) && Allowed::Finite.admits(0.0));
    }
}
