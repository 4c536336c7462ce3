//! Exact arithmetic between integers, decimal fixed-point and IEEE 754: no step of it rounds but the last.

use std::cmp::Ordering;

use alloy::primitives::U512;
use half::{bf16, f16};

use super::tensor::{DType, MAX_DECIMALS, Tensor};

/// 10^exponent; exponents are at most 36, which fits.
pub(super) fn pow10(exponent: u8) -> u128 {
    10u128.pow(u32::from(exponent.min(MAX_DECIMALS)))
}

/// An integer by sign and magnitude, so that i128 and u128 fit one type. Zero is not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Integer {
    pub negative: bool,
    pub magnitude: u128,
}

impl Integer {
    pub(super) fn signed(value: i128) -> Self {
        Self { negative: value < 0, magnitude: value.unsigned_abs() }
    }

    pub(super) fn unsigned(value: u128) -> Self {
        Self { negative: false, magnitude: value }
    }

    /// Distance of two integers, |self − other|.
    pub(super) fn distance(self, other: Self) -> U512 {
        if self.negative == other.negative {
            U512::from(self.magnitude.abs_diff(other.magnitude))
        } else {
            U512::from(self.magnitude) + U512::from(other.magnitude)
        }
    }

    /// The value as an i128, if it fits.
    pub(super) fn to_i128(self) -> Option<i128> {
        if self.negative { 0i128.checked_sub_unsigned(self.magnitude) } else { i128::try_from(self.magnitude).ok() }
    }

    /// The value as a u128, if it fits.
    pub(super) fn to_u128(self) -> Option<u128> {
        (!self.negative || self.magnitude == 0).then_some(self.magnitude)
    }
}

impl PartialOrd for Integer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(match (self.negative, other.negative) {
            (false, false) => self.magnitude.cmp(&other.magnitude),
            (true, true) => other.magnitude.cmp(&self.magnitude),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        })
    }
}

/// A binary floating-point format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    /// Bits of the significand, the hidden one included.
    precision: u32,
    /// The exponent of the smallest normal number.
    min_exponent: i32,
    /// The bits of infinity.
    infinity: u64,
    /// Bits of the whole number.
    width: u32,
}

pub(super) const F16: Format = Format { precision: 11, min_exponent: -14, infinity: 0x7c00, width: 16 };
pub(super) const BF16: Format = Format { precision: 8, min_exponent: -126, infinity: 0x7f80, width: 16 };
pub(super) const F32: Format = Format { precision: 24, min_exponent: -126, infinity: 0x7f80_0000, width: 32 };
pub(super) const F64: Format =
    Format { precision: 53, min_exponent: -1022, infinity: 0x7ff0_0000_0000_0000, width: 64 };

/// A finite float: ±magnitude · 2^exponent, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finite {
    pub negative: bool,
    pub magnitude: u64,
    pub exponent: i32,
}

impl Finite {
    /// `None` for NaN and the infinities. Narrower floats widen to f64 exactly.
    pub(super) fn new(value: f64) -> Option<Self> {
        let bits = value.to_bits();
        let field = (bits >> 52 & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1);
        let (magnitude, exponent) = match field {
            0 => (fraction, -1074),
            0x7ff => return None,
            _ => (fraction | 1 << 52, field - 1075),
        };
        Some(Self { negative: value.is_sign_negative(), magnitude, exponent })
    }

    /// The value as an integer, if it is whole and within 128 bits.
    pub(super) fn to_integer(self) -> Option<Integer> {
        if self.magnitude == 0 {
            return Some(Integer::unsigned(0));
        }
        let zeros = self.magnitude.trailing_zeros();
        let odd = u128::from(self.magnitude >> zeros);
        let shift = u32::try_from(self.exponent.checked_add_unsigned(zeros)?).ok()?;
        let magnitude = (shift <= odd.leading_zeros()).then(|| odd << shift)?;
        Some(Integer { negative: self.negative, magnitude })
    }

    /// The value times 10^decimals, rounded half to even, as a signed integer of `width` bytes; `None` if it does not
    /// fit.
    pub(super) fn quantise(self, width: u8, decimals: u8) -> Option<i128> {
        // At most 53 + 120 bits.
        let scaled = U512::from(self.magnitude) * U512::from(pow10(decimals));
        let magnitude = if self.exponent >= 0 {
            // Any shift over 128 puts a value other than zero out of range.
            scaled << self.exponent.min(129) as usize
        } else {
            round_shift(scaled, self.exponent.unsigned_abs())
        };
        let magnitude = u128::try_from(magnitude).ok()?;
        let value = Integer { negative: self.negative, magnitude }.to_i128()?;
        let spare = 128 - 8 * u32::from(width);
        (value << spare >> spare == value).then_some(value)
    }

    /// The bits of the nearest number of a format, half to even; `None` on overflow to infinity.
    pub(super) fn round_to(self, format: Format) -> Option<u64> {
        round(self.negative, u128::from(self.magnitude), self.exponent, false, format)
    }
}

/// value / 2^shift, rounded half to even.
fn round_shift(value: U512, shift: u32) -> U512 {
    if shift > 511 {
        // Values here have at most 173 bits, so this is below one half.
        return U512::ZERO;
    }
    let shift = shift as usize;
    let quotient = value >> shift;
    let rest = value - (quotient << shift);
    let half = if shift == 0 { U512::MAX } else { U512::from(1) << (shift - 1) };
    if rest > half || (rest == half && quotient.bit(0)) { quotient + U512::from(1) } else { quotient }
}

/// The bits of the number of a format that is nearest to integer / 10^decimals, half to even; `None` on overflow to
/// infinity.
pub(super) fn decimal_to_float(value: Integer, decimals: u8, format: Format) -> Option<u64> {
    if value.magnitude == 0 {
        return Some(0);
    }
    let divisor = pow10(decimals);
    let bits = |n: u128| 128 - n.leading_zeros();
    // Enough quotient bits for the significand and two more; what is below them only matters as "not zero".
    let shift = (format.precision + 2 + bits(divisor)).saturating_sub(bits(value.magnitude));
    let (quotient, rest) = (U512::from(value.magnitude) << shift as usize).div_rem(U512::from(divisor));
    // The quotient has at most max(128, precision + 3) bits.
    let quotient = u128::try_from(quotient).ok()?;
    round(value.negative, quotient, -(shift as i32), !rest.is_zero(), format)
}

/// The bits of the number nearest to ±(magnitude + ε) · 2^exponent, half to even, where `sticky` says that ε, in
/// [0, 1), is not zero; then the magnitude must have more bits than the format's precision.
fn round(negative: bool, magnitude: u128, exponent: i32, sticky: bool, format: Format) -> Option<u64> {
    let sign = u64::from(negative) << (format.width - 1);
    if magnitude == 0 {
        return Some(sign);
    }
    let bits = (128 - magnitude.leading_zeros()) as i32;
    let lowest = format.min_exponent - (format.precision as i32 - 1);
    let unit = (exponent + bits - format.precision as i32).max(lowest);
    let shift = unit - exponent;
    let significand = if shift <= 0 {
        magnitude << -shift
    } else if shift > bits {
        0
    } else {
        let shift = shift as u32;
        let quotient = magnitude.checked_shr(shift).unwrap_or(0);
        let rest = magnitude - quotient.checked_shl(shift).unwrap_or(0);
        let half = 1u128 << (shift - 1);
        quotient + u128::from(rest > half || (rest == half && (sticky || quotient & 1 == 1)))
    };
    // Adding, not or-ing: a significand with its hidden bit raises the exponent field by one, and so does a carry.
    let bits = (u128::from((unit - lowest) as u32) << (format.precision - 1)) + significand;
    (bits < u128::from(format.infinity)).then_some(bits as u64 | sign)
}
/// A number of a packed tensor, exactly.
pub(super) enum Number {
    /// Fixed-point number: integer / 10^decimals.
    Decimal(Integer, u8),
    Float(f64),
}

/// The numbers of a tensor; none for bools and strings.
pub(super) fn numbers(tensor: &Tensor) -> impl Iterator<Item = Number> {
    let (dtype, decimals) = (tensor.dtype(), tensor.decimals());
    let numeric = dtype.is_integer() || dtype.is_float();
    let bytes: &[u8] = if numeric { tensor.data() } else { &[] };
    bytes.chunks_exact(dtype.size().unwrap_or(1)).map(move |bytes| {
        // Sign- or zero-extended to 16 bytes; of a float, the bits.
        let negative = dtype.is_signed() && bytes[0] & 0x80 != 0;
        let mut wide = [if negative { 0xff } else { 0 }; 16];
        wide[16 - bytes.len()..].copy_from_slice(bytes);
        let bits = u128::from_be_bytes(wide);
        match dtype {
            DType::F16 => Number::Float(f16::from_bits(bits as u16).to_f64()),
            DType::F32 => Number::Float(f32::from_bits(bits as u32).into()),
            DType::F64 => Number::Float(f64::from_bits(bits as u64)),
            _ if dtype.is_signed() => Number::Decimal(Integer::signed(bits as i128), decimals),
            _ => Number::Decimal(Integer::unsigned(bits), decimals),
        }
    })
}

impl Number {
    pub(super) fn to_integer(&self) -> Option<Integer> {
        match *self {
            Self::Decimal(value, decimals) => {
                let unit = pow10(decimals);
                value.magnitude.is_multiple_of(unit).then(|| Integer { magnitude: value.magnitude / unit, ..value })
            }
            Self::Float(value) => Finite::new(value)?.to_integer(),
        }
    }

    /// The bits in a format; `None` on overflow.
    fn to_float(&self, format: Format, nan: u64, infinity: u64, sign: u64) -> Option<u64> {
        match *self {
            Self::Decimal(value, decimals) => decimal_to_float(value, decimals, format),
            Self::Float(value) if value.is_nan() => Some(nan),
            Self::Float(value) => match Finite::new(value) {
                Some(finite) => finite.round_to(format),
                None => Some(if value < 0.0 { infinity | sign } else { infinity }),
            },
        }
    }

    pub(super) fn to_f64(&self) -> Option<f64> {
        match *self {
            Self::Decimal(value, decimals) => decimal_to_float(value, decimals, F64).map(f64::from_bits),
            Self::Float(value) => Some(value),
        }
    }

    pub(super) fn to_f32(&self) -> Option<f32> {
        match *self {
            // The hardware rounds half to even as well.
            Self::Float(value) => {
                let narrow = value as f32;
                (narrow.is_finite() || !value.is_finite()).then_some(narrow)
            }
            Self::Decimal(..) => self.to_float(F32, 0, 0, 0).map(|bits| f32::from_bits(bits as u32)),
        }
    }

    pub(super) fn to_f16(&self) -> Option<f16> {
        // half's own narrowing from f64 may round twice.
        self.to_float(F16, f16::NAN.to_bits().into(), f16::INFINITY.to_bits().into(), 0x8000)
            .map(|bits| f16::from_bits(bits as u16))
    }

    pub(super) fn to_bf16(&self) -> Option<bf16> {
        self.to_float(BF16, bf16::NAN.to_bits().into(), bf16::INFINITY.to_bits().into(), 0x8000)
            .map(|bits| bf16::from_bits(bits as u16))
    }
}
