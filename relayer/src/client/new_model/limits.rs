//! How many bytes an input and an output of a model may take.

use alloy::primitives::Bytes;

use super::NewModelError;
use crate::{
    model::{MAX_BYTES, Probe},
    protocol::{cast::TensorSpec, tensor::DType},
};

/// Rows that there is room for, where a model takes any number of them.
const ROWS: u64 = 64;
/// Room in any other dimension of any size.
const OTHERS: u64 = 256;
/// Bytes of the widest element that a contract can pass or ask for.
const WIDEST: u64 = 16;
/// Bytes of a text that there is room for.
const TEXT: u64 = 1_024;

/// Room for a model's inputs or outputs: for 64 rows of the widest elements and for every probe, as far as a contract goes.
///
/// # Errors
/// `TooLarge` where a probe takes more than a contract can pass.
pub(super) fn sizes(
    what: &'static str,
    specs: &[TensorSpec],
    probes: &[Probe],
    side: impl Fn(&Probe) -> &Bytes,
) -> Result<u32, NewModelError> {
    let largest = probes.iter().map(|probe| side(probe).len() as u64).max().unwrap_or_default();
    if largest > u64::from(MAX_BYTES) {
        return Err(NewModelError::TooLarge { what, bytes: largest });
    }
    let room = packed(specs, ROWS, OTHERS, |dtype| if dtype == DType::String { 4 + TEXT } else { WIDEST });
    Ok(u32::try_from(room.max(largest)).unwrap_or(MAX_BYTES).min(MAX_BYTES))
}

/// Refuses a model of which not even one row in its own types fits.
///
/// # Errors
/// `TooLarge`.
pub(super) fn too_large(what: &'static str, specs: &[TensorSpec]) -> Result<(), NewModelError> {
    // A string is empty at least.
    let bytes = packed(specs, 1, 1, |dtype| dtype.size().map_or(4, |size| size as u64));
    if bytes > u64::from(MAX_BYTES) { Err(NewModelError::TooLarge { what, bytes }) } else { Ok(()) }
}

/// Bytes of packed tensors, with sizes for dimensions that are open.
fn packed(specs: &[TensorSpec], rows: u64, others: u64, element: impl Fn(DType) -> u64) -> u64 {
    let tensor = |spec: &TensorSpec| {
        let shape = spec.shape.as_deref().unwrap_or_default();
        let size = |(index, dim): (usize, &Option<u64>)| dim.unwrap_or(if index == 0 { rows } else { others });
        let elements = shape.iter().enumerate().map(size).fold(1u64, u64::saturating_mul);
        elements.saturating_mul(element(spec.element.packed())).saturating_add(3 + 4 * shape.len() as u64)
    };
    specs.iter().map(tensor).fold(1, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::cast::ElementType;

    fn spec(element: ElementType, shape: &[Option<u64>]) -> TensorSpec {
        TensorSpec { name: "x".into(), element, shape: Some(shape.to_vec()) }
    }

    #[test]
    fn there_is_room_for_64_rows_and_no_more_than_a_contract_passes() {
        let room = |specs: &[TensorSpec]| sizes("input", specs, &[], |probe| &probe.input).unwrap();
        // As the shipped iris has it.
        assert_eq!(room(&[spec(ElementType::F32, &[None, Some(4)])]), 4_108);
        assert_eq!(room(&[spec(ElementType::F32, &[None, Some(1_000_000)])]), MAX_BYTES);
        assert_eq!(room(&[spec(ElementType::F32, &[Some(u64::MAX), Some(u64::MAX)])]), MAX_BYTES);
        assert_eq!(room(&[spec(ElementType::String, &[Some(1)])]), 1 + 3 + 4 + 4 + 1_024);
        assert_eq!(room(&[]), 1);
    }

    #[test]
    fn a_row_that_no_contract_can_pass_is_too_large() {
        assert!(too_large("input", &[spec(ElementType::F32, &[None, Some(32_765)])]).is_ok());
        let error = too_large("input", &[spec(ElementType::F32, &[None, Some(32_766)])]).unwrap_err().to_string();
        assert!(error.contains("an input of this model takes 131076 bytes"), "{error}");
    }
}
