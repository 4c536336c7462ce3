//! Constants with jitter: other bits in the file, so that they stay constants.
//!
//! ONNX Runtime packs constant weights when it loads them and computes products with them by other code than with weights that
//! nodes make. Nodes would change the order of sums, and would cost a sine for each weight in each run.

use sha2::{Digest, Sha256};

use super::{
    GuardError, SEED,
    jitter::Float,
    operators::elem,
    wire::{Field, fields, floats, ints, last, put_bytes},
};

/// How constants differ from the model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Not at all.
    Plain,
    /// By the changes that go with +ε.
    Plus,
    /// By the opposite changes.
    Minus,
}

impl Weights {
    fn sign(self) -> i64 {
        match self {
            Self::Plain => 0,
            Self::Plus => 1,
            Self::Minus => -1,
        }
    }
}

/// A tensor of a file (`TensorProto`) with jitter of the value `name`; the same bytes where it has none, or where its elements
/// are not what it says.
pub(super) fn tensor(bytes: &[u8], name: &str, float: Float, weights: Weights) -> Result<Vec<u8>, GuardError> {
    let all = fields(bytes)?;
    let Some(mut raw) = raw(&all, float)?.filter(|_| weights != Weights::Plain) else { return Ok(bytes.to_vec()) };
    change(&mut raw, name, float, weights);
    let others = all.iter().filter(|field| !matches!(field.number, 4 | 5 | 9 | 10));
    let mut out: Vec<u8> = others.flat_map(|field| field.raw).copied().collect();
    put_bytes(&mut out, 9, &raw);
    Ok(out)
}

/// The elements in little-endian bytes, however the tensor has them; `None` for one that has them elsewhere.
fn raw(all: &[Field<'_>], float: Float) -> Result<Option<Vec<u8>>, GuardError> {
    if all.iter().any(|field| matches!(field.number, 13 | 14)) {
        return Ok(None);
    }
    if let Some(raw) = last(all, 9) {
        return Ok(Some(raw.bytes()?.to_vec()));
    }
    Ok(Some(match float.elem() {
        elem::FLOAT => floats(all, 4, 4)?,
        elem::DOUBLE => floats(all, 10, 8)?,
        // Their bits are numbers of 32 bits.
        _ => ints(all, 5)?.into_iter().flat_map(|bits| (bits as u16).to_le_bytes()).collect(),
    }))
}

/// Changes each element by at most as many units in the last place as its type has jitter of: by numbers of SplitMix64, whose
/// seed is a hash of the name.
pub(super) fn change(raw: &mut [u8], name: &str, float: Float, weights: Weights) {
    let hash = Sha256::new().chain_update(SEED).chain_update(b"weights").chain_update(name).finalize();
    let mut state = hash[..8].iter().fold(0, |state, byte| state << 8 | u64::from(*byte));
    let (size, units) = (float.size(), float.units());
    for element in raw.chunks_exact_mut(size) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let step = (mixed % (2 * units + 1)) as i64 - units as i64;

        let mut word = [0; 8];
        word[..size].copy_from_slice(element);
        let bits = u64::from_le_bytes(word);
        let sign = 1 << (8 * size - 1);
        let magnitude = bits & (sign - 1);
        // Neither zero nor what is near it, nor masks, infinities and NaNs.
        if magnitude > units && magnitude < float.bound_bits() {
            let changed = magnitude.wrapping_add_signed(step * weights.sign()) | bits & sign;
            element.copy_from_slice(&changed.to_le_bytes()[..size]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(values: &[f32], weights: Weights) -> Vec<f32> {
        let mut raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        change(&mut raw, "w", Float::F32, weights);
        raw.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
    }

    #[test]
    fn changes_are_at_most_sixteen_units_and_those_of_the_other_sign_are_opposite() {
        let values: Vec<f32> = (1..2_000).map(|place| (place as f32 - 1_000.5) * 0.37).collect();
        let (plus, minus) = (changed(&values, Weights::Plus), changed(&values, Weights::Minus));
        let steps = |changed: &[f32]| -> Vec<i64> {
            changed.iter().zip(&values).map(|(a, b)| i64::from(a.to_bits()) - i64::from(b.to_bits())).collect()
        };
        let (plus, minus) = (steps(&plus), steps(&minus));
        assert!(plus.iter().zip(&minus).all(|(plus, minus)| *plus == -minus));
        assert_eq!((plus.iter().min(), plus.iter().max()), (Some(&-16), Some(&16)));
        assert!(plus.iter().sum::<i64>().abs() < 2_000);
        assert_eq!(changed(&values, Weights::Plain), values);
    }

    #[test]
    fn zeros_masks_infinities_and_nans_are_not_changed() {
        let values = [0.0, -0.0, 1e-45, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY];
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&changed(&values, Weights::Plus)), bits(&values));
        assert!(changed(&[f32::NAN], Weights::Plus)[0].is_nan());
    }

    #[test]
    fn elements_are_changed_alike_however_a_tensor_has_them() {
        let values = [1.5f32, -2.25, 3.0, 0.125];
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (mut packed, mut plain) = (vec![], vec![]);
        put_bytes(&mut packed, 4, &raw);
        put_bytes(&mut plain, 9, &raw);
        let mut single = vec![];
        raw.chunks_exact(4).for_each(|word| single.extend([&[0x25][..], word].concat()));
        let of = |bytes: &[u8]| tensor(bytes, "w", Float::F32, Weights::Plus).unwrap();
        assert_eq!(of(&packed), of(&plain));
        assert_eq!(of(&single), of(&plain));
        assert_ne!(of(&plain), plain);
        assert_eq!(tensor(&packed, "w", Float::F32, Weights::Plain).unwrap(), packed);

        let (mut halves, mut plain) = (vec![], vec![]);
        put_bytes(&mut halves, 5, &[0x80, 0x78, 0x81, 0x78]);
        put_bytes(&mut plain, 9, &[0x00, 0x3c, 0x01, 0x3c]);
        let of = |bytes: &[u8]| tensor(bytes, "w", Float::F16, Weights::Plus).unwrap();
        assert_eq!(of(&halves), of(&plain));
    }
}
