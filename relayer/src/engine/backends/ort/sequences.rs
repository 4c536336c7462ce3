//! Sequences of tensors as two tensors, of which packed tensors have a place, and back.
//!
//! `data` holds the elements along its first axis, each in the first corner of a slice that is as large as the largest of
//! them; what lies beside them is zero, `false` or empty, and is not read. `shapes`, INT64, holds the shape of each.

use crate::protocol::cast::{ElementType, Elements, ModelTensor};

/// Elements of a sequence's data at most, with what lies beside them: of few large and many small ones that is the most part.
const MAX_ELEMENTS: usize = 1 << 26;

/// An element type's elements with `$body` in place of those it has.
macro_rules! each_type {
    ($elements:expr, |$values:ident| $body:expr) => {
        match $elements {
            Elements::I8($values) => Elements::I8($body),
            Elements::I16($values) => Elements::I16($body),
            Elements::I32($values) => Elements::I32($body),
            Elements::I64($values) => Elements::I64($body),
            Elements::U8($values) => Elements::U8($body),
            Elements::U16($values) => Elements::U16($body),
            Elements::U32($values) => Elements::U32($body),
            Elements::U64($values) => Elements::U64($body),
            Elements::F16($values) => Elements::F16($body),
            Elements::Bf16($values) => Elements::Bf16($body),
            Elements::F32($values) => Elements::F32($body),
            Elements::F64($values) => Elements::F64($body),
            Elements::Bool($values) => Elements::Bool($body),
            Elements::String($values) => Elements::String($body),
        }
    };
}

/// Takes a sequence out of its two tensors.
///
/// # Errors
/// What is wrong with the two, which together say no sequence.
pub(super) fn split(data: &ModelTensor, shapes: &ModelTensor) -> Result<Vec<ModelTensor>, String> {
    let Elements::I64(sizes) = &shapes.elements else { return Err("its shapes are no INT64".to_owned()) };
    let Some((count, slice)) = data.shape.split_first() else { return Err("its data have no first axis".to_owned()) };
    let rank = u32::try_from(slice.len()).unwrap_or(u32::MAX);
    if shapes.shape != [*count, rank] {
        let expected = [*count, rank];
        return Err(format!("its shapes have shape {:?}, and its data need {expected:?}", shapes.shape));
    }
    // The runtime's interface makes no sequence of nothing.
    if *count == 0 {
        return Err("it is empty, and a sequence needs an element at least".to_owned());
    }
    let size = volume(slice).ok_or("its data are too large")?;
    let mut elements = Vec::with_capacity(*count as usize);
    for index in 0..*count as usize {
        let shape = sizes.get(index * slice.len()..(index + 1) * slice.len()).unwrap_or_default();
        let shape: Vec<u32> = shape.iter().map(|size| u32::try_from(*size).unwrap_or(u32::MAX)).collect();
        if shape.iter().zip(slice).any(|(size, most)| size > most) {
            return Err(format!("element {index} does not fit into its data with the shape {shape:?}"));
        }
        let (length, starts) = rows(&shape, slice).ok_or("its data are too large")?;
        let rows = |start: usize| {
            let from = index * size + start;
            from..from + length
        };
        let values = each_type!(&data.elements, |values| {
            let mut own = Vec::with_capacity(length * starts.len());
            for (_, start) in &starts {
                own.extend_from_slice(values.get(rows(*start)).ok_or("its data are cut off")?);
            }
            own
        });
        elements.push(ModelTensor { shape, elements: values });
    }
    Ok(elements)
}

/// Puts a sequence of tensors of a type into two tensors.
///
/// # Errors
/// Why two tensors cannot hold it.
pub(super) fn join(elements: &[ModelTensor], element: ElementType) -> Result<(ModelTensor, ModelTensor), String> {
    let rank = elements.first().map_or(0, |first| first.shape.len());
    if elements.iter().any(|tensor| tensor.shape.len() != rank) {
        return Err("a sequence of tensors that differ in their number of dimensions".to_owned());
    }
    let most = |axis: usize| elements.iter().map(|tensor| tensor.shape[axis]).max().unwrap_or_default();
    let slice: Vec<u32> = (0..rank).map(most).collect();
    let too_large =
        || format!("a sequence that takes more than {MAX_ELEMENTS} elements with all as large as the largest");
    let size = volume(&slice).ok_or_else(too_large)?;
    let total = size.checked_mul(elements.len()).filter(|total| *total <= MAX_ELEMENTS).ok_or_else(too_large)?;
    let mut values = zeros(element, total);
    for (index, tensor) in elements.iter().enumerate() {
        let (length, starts) = rows(&tensor.shape, &slice).ok_or_else(too_large)?;
        copy(&tensor.elements, &mut values, length, starts.into_iter().map(|(from, to)| (from, index * size + to)))
            .ok_or("a sequence of tensors of several types")?;
    }
    let count = u32::try_from(elements.len()).map_err(|_| too_large())?;
    let sizes = elements.iter().flat_map(|tensor| &tensor.shape).map(|size| i64::from(*size)).collect();
    let shape = std::iter::once(count).chain(slice).collect();
    let shapes =
        ModelTensor { shape: vec![count, u32::try_from(rank).unwrap_or(u32::MAX)], elements: Elements::I64(sizes) };
    Ok((ModelTensor { shape, elements: values }, shapes))
}

/// The number of elements of a shape.
fn volume(shape: &[u32]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size as usize))
}

/// The length of a row, and where each row begins of a tensor of shape `inner`: in itself, and in one of shape `outer` whose
/// first corner it is. A scalar is a row of one.
fn rows(inner: &[u32], outer: &[u32]) -> Option<(usize, Vec<(usize, usize)>)> {
    let (length, inner, step) = match (inner.split_last(), outer.last()) {
        (Some((length, inner)), Some(step)) => (*length as usize, inner, *step as usize),
        _ => (1, inner, 1),
    };
    let count = if length == 0 { 0 } else { volume(inner)? };
    let starts = (0..count).map(|row| {
        let (mut rest, mut to, mut stride) = (row, 0, step);
        for (size, outer) in inner.iter().zip(outer).rev() {
            to += rest % *size as usize * stride;
            rest /= *size as usize;
            stride *= *outer as usize;
        }
        (row * length, to)
    });
    Some((length, starts.collect()))
}

fn zeros(element: ElementType, count: usize) -> Elements {
    macro_rules! zeros {
        ($($variant:ident),*) => {
            match element { $(ElementType::$variant => Elements::$variant(vec![Default::default(); count]),)* }
        };
    }
    zeros!(I8, I16, I32, I64, U8, U16, U32, U64, F16, Bf16, F32, F64, Bool, String)
}

/// Copies rows of a length; `None` where the two are of different types, or a row lies outside.
fn copy(from: &Elements, to: &mut Elements, length: usize, rows: impl Iterator<Item = (usize, usize)>) -> Option<()> {
    macro_rules! copy {
        ($($variant:ident),*) => {
            match (from, to) {
                $((Elements::$variant(from), Elements::$variant(to)) => {
                    for (source, target) in rows {
                        to.get_mut(target..target + length)?.clone_from_slice(from.get(source..source + length)?);
                    }
                })*
                _ => return None,
            }
        };
    }
    copy!(I8, I16, I32, I64, U8, U16, U32, U64, F16, Bf16, F32, F64, Bool, String);
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ints(shape: &[u32], first: i32) -> ModelTensor {
        let count = i32::try_from(volume(shape).unwrap()).unwrap();
        ModelTensor { shape: shape.to_vec(), elements: Elements::I32((first..first + count).collect()) }
    }

    #[test]
    fn elements_lie_in_the_corners_of_equal_slices_with_zeros_beside() {
        let (data, shapes) = join(&[ints(&[2, 1], 1), ints(&[1, 3], 7)], ElementType::I32).unwrap();
        assert_eq!(data.shape, [2, 2, 3]);
        assert_eq!(data.elements, Elements::I32(vec![1, 0, 0, 2, 0, 0, 7, 8, 9, 0, 0, 0]));
        assert_eq!(shapes, ModelTensor { shape: vec![2, 2], elements: Elements::I64(vec![2, 1, 1, 3]) });
    }

    #[test]
    fn a_sequence_of_nothing_comes_out_and_does_not_go_in() {
        let (data, shapes) = join(&[], ElementType::String).unwrap();
        assert_eq!((&data.shape[..], &shapes.shape[..]), (&[0][..], &[0, 0][..]));
        assert!(split(&data, &shapes).unwrap_err().contains("empty"));
    }

    #[test]
    fn two_tensors_that_say_no_sequence_are_told_apart() {
        let shapes = |shape: &[u32], sizes: &[i64]| ModelTensor {
            shape: shape.to_vec(),
            elements: Elements::I64(sizes.to_vec()),
        };
        let data = ints(&[2, 3], 0);
        for (shapes, says) in [
            (shapes(&[2, 1], &[3, 4]), "element 1 does not fit"),
            (shapes(&[2, 1], &[-1, 1]), "element 0 does not fit"),
            (shapes(&[1, 1], &[1]), "need [2, 1]"),
            (shapes(&[2], &[1, 1]), "need [2, 1]"),
            (ints(&[2, 1], 1), "no INT64"),
        ] {
            assert!(split(&data, &shapes).unwrap_err().contains(says), "{says}");
        }
        assert!(split(&ints(&[], 0), &shapes(&[], &[])).unwrap_err().contains("first axis"));
    }

    #[test]
    fn what_two_tensors_cannot_hold_is_said() {
        let ranks = join(&[ints(&[1], 0), ints(&[1, 1], 0)], ElementType::I32).unwrap_err();
        assert!(ranks.contains("number of dimensions"));
        let types = join(&[ints(&[1], 0)], ElementType::F32).unwrap_err();
        assert!(types.contains("several types"));
        let long = [ints(&[1, 9000], 0), ints(&[9000, 1], 0)];
        assert!(join(&long, ElementType::I32).unwrap_err().contains("more than"));
    }

    proptest! {
        #[test]
        fn every_sequence_comes_back(shapes in (0usize..4).prop_flat_map(|rank| {
            prop::collection::vec(prop::collection::vec(0u32..4, rank), 1..5)
        })) {
            let elements: Vec<_> = shapes.iter().zip(1..).map(|(shape, first)| ints(shape, first * 100)).collect();
            let (data, shapes) = join(&elements, ElementType::I32).unwrap();
            prop_assert_eq!(split(&data, &shapes).unwrap(), elements);
        }
    }
}
