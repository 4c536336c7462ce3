//! Comparison of two answers to one request under the model's card.

use alloy::primitives::{Bytes, U512};

use super::{
    OutputFormat,
    card::{Agreement, Tolerance},
    exact::{Integer, Number, numbers, pow10},
    tensor::{self, DType, Tensor},
};

/// Result of a comparison. The order is that of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All outputs agree.
    Agree,
    /// The two best are too close to tell (`Argmax`), and nothing else disagrees.
    Undecided,
    /// Some output disagrees, or is not even of the same type and shape.
    Disagree,
}

/// Compares the packed outputs `claimed` with the re-computed ones `own`, both answers to a request with `format`.
/// `agreement` is the card's, one per output of the model.
pub fn compare(claimed: &Bytes, own: &Bytes, agreement: &[Agreement], format: OutputFormat) -> Verdict {
    if claimed == own {
        return Verdict::Agree;
    }
    let (Ok(claimed), Ok(own)) = (tensor::decode(claimed), tensor::decode(own)) else {
        return Verdict::Disagree;
    };
    let rules: Vec<_> = (0..agreement.len()).filter(|i| format.wants(*i)).map(|i| agreement[i]).collect();
    if claimed.len() != own.len() || own.len() != rules.len() {
        return Verdict::Disagree;
    }
    let verdicts = claimed.iter().zip(&own).zip(rules).map(|((a, b), rule)| compare_one(a, b, rule, format));
    verdicts.max().unwrap_or(Verdict::Agree)
}

fn compare_one(a: &Tensor, b: &Tensor, rule: Agreement, format: OutputFormat) -> Verdict {
    if (a.dtype(), a.decimals(), a.shape()) != (b.dtype(), b.decimals(), b.shape()) {
        return Verdict::Disagree;
    }
    let agree = |yes| if yes { Verdict::Agree } else { Verdict::Disagree };
    match rule {
        Agreement::Exact => agree(a.data() == b.data()),
        _ if matches!(a.dtype(), DType::Bool | DType::String) => agree(a.data() == b.data()),
        Agreement::Elementwise { atol, rtol } if a.dtype().is_float() => {
            agree(floats(a).zip(floats(b)).all(|(a, b)| within_float(a, b, atol, rtol)))
        }
        Agreement::Elementwise { atol, rtol } => {
            // Only what was rounded to the asked format has a quantum; a model's own integers do not.
            let quantised = DType::signed(format.width) == Some(a.dtype()) && a.decimals() == format.decimals;
            let scale = pow10(a.decimals());
            agree(integers(a).zip(integers(b)).all(|(a, b)| within(a, b, atol, rtol, scale, quantised)))
        }
        Agreement::Argmax { gap } if a.dtype().is_float() => {
            let gap = gap.to_f64();
            compare_winners(floats(a), floats(b), columns(b), |best, second| best - second < gap)
        }
        Agreement::Argmax { gap } => {
            let (unit, gap) = (U512::from(pow10(18)), U512::from(gap.0) * U512::from(pow10(a.decimals())));
            let closer = |best: Integer, second| best.distance(second) * unit < gap;
            compare_winners(integers(a), integers(b), columns(b), closer)
        }
    }
}

/// |a − b| ≤ atol + rtol·|b|, in f64; the rounding of these few operations is far below any tolerance.
fn within_float(a: f64, b: f64, atol: Tolerance, rtol: Tolerance) -> bool {
    (a - b).abs() <= atol.to_f64() + rtol.to_f64() * b.abs()
}

/// |a − b| ≤ atol + rtol·|b| + quantum, all times `scale`·1e18 and exact.
fn within(a: Integer, b: Integer, atol: Tolerance, rtol: Tolerance, scale: u128, quantised: bool) -> bool {
    let unit = U512::from(pow10(18));
    let quantum = if quantised { unit } else { U512::ZERO };
    let allowed = U512::from(atol.0) * U512::from(scale) + U512::from(rtol.0) * U512::from(b.magnitude) + quantum;
    a.distance(b) * unit <= allowed
}

/// Compares the largest element of each row; of equal ones the first wins.
fn compare_winners<T: Copy + PartialOrd>(
    a: impl Iterator<Item = T>,
    b: impl Iterator<Item = T>,
    columns: usize,
    closer: impl Fn(T, T) -> bool,
) -> Verdict {
    let largest = |row: &[T], except: Option<usize>| {
        (0..row.len()).filter(|i| Some(*i) != except).reduce(|best, i| if row[i] > row[best] { i } else { best })
    };
    let compare_row = |a: &[T], b: &[T]| {
        let (Some(claimed), Some(own)) = (largest(a, None), largest(b, None)) else { return Verdict::Agree };
        match largest(b, Some(own)) {
            _ if claimed == own => Verdict::Agree,
            Some(second) if closer(b[own], b[second]) => Verdict::Undecided,
            _ => Verdict::Disagree,
        }
    };
    let (a, b): (Vec<_>, Vec<_>) = (a.collect(), b.collect());
    let rows = a.chunks(columns).zip(b.chunks(columns));
    rows.map(|(a, b)| compare_row(a, b)).max().unwrap_or(Verdict::Agree)
}

/// The length of a row: the last dimension.
fn columns(tensor: &Tensor) -> usize {
    tensor.shape().last().map_or(1, |columns| *columns as usize).max(1)
}

fn floats(tensor: &Tensor) -> impl Iterator<Item = f64> {
    numbers(tensor).map(|number| match number {
        Number::Float(value) => value,
        Number::Decimal(..) => f64::NAN,
    })
}

fn integers(tensor: &Tensor) -> impl Iterator<Item = Integer> {
    numbers(tensor).filter_map(|number| match number {
        Number::Decimal(value, _) => Some(value),
        Number::Float(_) => None,
    })
}

#[cfg(test)]
mod tests;
