//! How far apart two outputs are, in tolerances of a card: what `compare` makes a verdict of, as numbers.

use super::{
    card::{Agreement, Tolerance},
    exact::{Number, numbers},
    tensor::Tensor,
};

/// Differences between two outputs, element by element.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// Another type or shape.
    Incomparable,
    /// Numbers: |a − b| and |b| of each, in row-major order. Where one of the two is no number, |a − b| is infinite; where
    /// both are equal it is 0.
    Numbers(Vec<(f64, f64)>),
    /// Bools or strings: how many differ.
    Symbols(usize),
}

/// Compares an output `a` with `b`, the one that counts.
#[must_use]
pub fn difference(a: &Tensor, b: &Tensor) -> Difference {
    if (a.dtype(), a.decimals(), a.shape()) != (b.dtype(), b.decimals(), b.shape()) {
        return Difference::Incomparable;
    }
    if b.dtype().is_integer() || b.dtype().is_float() {
        return Difference::Numbers(numbers(a).zip(numbers(b)).map(|(a, b)| apart(&a, &b)).collect());
    }
    Difference::Symbols(match b.dtype() {
        super::tensor::DType::String => a.iter_strings().zip(b.iter_strings()).filter(|(a, b)| a != b).count(),
        _ => a.data().iter().zip(b.data()).filter(|(a, b)| a != b).count(),
    })
}

/// Numbers of a tensor, each the nearest f64; none of bools and strings.
pub fn values(tensor: &Tensor) -> impl Iterator<Item = f64> {
    numbers(tensor).map(|number| number.to_f64().unwrap_or(f64::INFINITY))
}

fn apart(a: &Number, b: &Number) -> (f64, f64) {
    match (a, b) {
        (Number::Decimal(a, decimals), Number::Decimal(b, _)) => {
            let unit = 10f64.powi(i32::from(*decimals));
            let distance: f64 = a.distance(*b).to_string().parse().unwrap_or(f64::INFINITY);
            (distance / unit, b.magnitude as f64 / unit)
        }
        (Number::Float(a), Number::Float(b)) => {
            let same = a == b || a.is_nan() && b.is_nan();
            let distance = if same { 0.0 } else { (a - b).abs() };
            (if distance.is_nan() { f64::INFINITY } else { distance }, b.abs())
        }
        _ => (f64::INFINITY, 0.0),
    }
}

impl Difference {
    /// The largest share of a rule's tolerance that an element takes: above 1 the outputs do not agree. By `Argmax`, whose rule
    /// is about the distance of two elements, both of which may move, it is twice the difference over the gap.
    #[must_use]
    pub fn share(&self, rule: &Agreement) -> f64 {
        self.shares(rule).fold(0.0, f64::max)
    }

    /// The share of each element; of what is no number 0 or infinity, once for all elements.
    pub fn shares(&self, rule: &Agreement) -> Box<dyn Iterator<Item = f64> + '_> {
        let all_or_nothing = |differs: bool| if differs { f64::INFINITY } else { 0.0 };
        match (self, *rule) {
            (Self::Incomparable, _) => Box::new(std::iter::once(f64::INFINITY)),
            (Self::Symbols(differing), _) => Box::new(std::iter::once(all_or_nothing(*differing > 0))),
            (Self::Numbers(pairs), Agreement::Exact) => {
                Box::new(pairs.iter().map(move |(apart, _)| all_or_nothing(*apart > 0.0)))
            }
            (Self::Numbers(pairs), Agreement::Elementwise { atol, rtol }) => {
                let (atol, rtol) = (Tolerance::to_f64(atol), Tolerance::to_f64(rtol));
                Box::new(pairs.iter().map(move |(apart, size)| part(*apart, atol + rtol * size)))
            }
            (Self::Numbers(pairs), Agreement::Argmax { gap }) => {
                let gap = gap.to_f64();
                Box::new(pairs.iter().map(move |(apart, _)| part(2.0 * apart, gap)))
            }
        }
    }
}

/// A difference as a share of what is allowed; none is 0 even where nothing is.
fn part(apart: f64, allowed: f64) -> f64 {
    match apart {
        0.0 => 0.0,
        // Even of an infinite value.
        f64::INFINITY => f64::INFINITY,
        apart => apart / allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::tensor::DType;

    fn floats(values: &[f32]) -> Tensor {
        Tensor::f32(vec![u32::try_from(values.len()).unwrap()], values).unwrap()
    }

    fn within(atol: &str, rtol: &str) -> Agreement {
        Agreement::Elementwise { atol: atol.parse().unwrap(), rtol: rtol.parse().unwrap() }
    }

    #[test]
    fn a_share_is_the_difference_over_what_the_rule_allows() {
        let apart = difference(&floats(&[1.0, 2.5]), &floats(&[1.0, 2.0]));
        assert_eq!(apart, Difference::Numbers(vec![(0.0, 1.0), (0.5, 2.0)]));
        assert_eq!(apart.shares(&within("0.5", "0.25")).collect::<Vec<_>>(), [0.0, 0.5]);
        assert_eq!(apart.share(&within("0.25", "0")), 2.0);
        assert_eq!(apart.share(&Agreement::Argmax { gap: "4".parse().unwrap() }), 0.25);
        assert_eq!(apart.share(&Agreement::Exact), f64::INFINITY);
        let same = difference(&floats(&[1.0]), &floats(&[1.0]));
        assert_eq!((same.share(&within("0", "0")), same.share(&Agreement::Exact)), (0.0, 0.0));
    }

    #[test]
    fn what_is_no_number_agrees_with_its_like_only() {
        let share = |a: f32, b: f32| difference(&floats(&[a]), &floats(&[b])).share(&within("1", "1"));
        assert_eq!(share(f32::NAN, f32::NAN), 0.0);
        assert_eq!(share(f32::INFINITY, f32::INFINITY), 0.0);
        for (a, b) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, 1.0), (f32::INFINITY, f32::NEG_INFINITY)] {
            assert!(share(a, b) > 1.0, "{a} {b}");
        }
    }

    #[test]
    fn integers_bools_strings_and_shapes_are_compared_as_what_they_are() {
        let integers = |values: &[i64]| Tensor::i64(vec![2], values).unwrap();
        let large = difference(&integers(&[i64::MAX, 5]), &integers(&[i64::MAX - 1, 5]));
        assert_eq!(large.share(&within("2", "0")), 0.5);
        let bools = |values: [u8; 2]| Tensor::new(DType::Bool, 0, vec![2], values.to_vec().into()).unwrap();
        assert_eq!(difference(&bools([0, 1]), &bools([0, 1])).share(&within("1", "0")), 0.0);
        assert_eq!(difference(&bools([0, 1]), &bools([0, 0])).share(&within("1", "0")), f64::INFINITY);
        let texts = |text: &str| Tensor::strings(vec![1], &[text]).unwrap();
        assert_eq!(difference(&texts("a"), &texts("b")), Difference::Symbols(1));
        assert_eq!(difference(&floats(&[1.0]), &floats(&[1.0, 1.0])), Difference::Incomparable);
        assert_eq!(difference(&floats(&[1.0]), &integers(&[1, 1])).share(&within("1", "1")), f64::INFINITY);
    }
}
