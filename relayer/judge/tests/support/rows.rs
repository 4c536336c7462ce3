//! Random inputs of the shipped models, in the ranges of their golden cases.

use oraculum_judge::{DType, Data, Tensor};

use super::{f32s, golden, steps::Numbers};

/// Inputs for a model: each element is within what golden cases have at its place, without the fifth that is least and the
/// tenth that is greatest, for some cases are a thousand times beyond what the model was trained on.
///
/// The text of `language` is of the bytes of golden texts, and as long as they are.
pub(crate) fn random(model: &str, count: usize) -> Vec<Vec<Tensor>> {
    let cases = golden(model);
    let mut numbers = Numbers(model.len() as u64);
    let single = model == "language";
    let mut draw = |place: usize| {
        // Those of one row, where some cases have more.
        let cases: Vec<_> = cases.iter().filter(|case| single || case.inputs[place].dims()[0] == 1).collect();
        let of_case = |case: usize| &cases[case].inputs[place];
        let first = of_case(numbers.below(cases.len()));
        match first.dtype() {
            DType::F32 => {
                let all: Vec<Vec<f32>> = (0..cases.len()).map(|case| f32s(of_case(case))).collect();
                let width = all.iter().map(Vec::len).min().unwrap();
                let value = |at: usize| {
                    let mut column: Vec<f32> = all.iter().map(|row| row[at]).collect();
                    column.sort_by(f32::total_cmp);
                    let (low, high) = (column[column.len() / 5], column[column.len() - 1 - column.len() / 10]);
                    low + (high - low) * (numbers.signed() + 1.0) / 2.0
                };
                let values: Vec<f32> = (0..width).map(value).collect();
                let dims = [&[1], &first.dims()[1..]].concat();
                Tensor::new(DType::F32, dims, values.iter().flat_map(|value| value.to_le_bytes()).collect()).unwrap()
            }
            dtype => {
                // Integers are of one of the cases, each at its place; bytes of a text at any.
                let size = dtype.size().unwrap();
                let elements = |tensor: &Tensor| -> Vec<Vec<u8>> {
                    let Data::Bytes(bytes) = tensor.data() else { panic!("strings") };
                    bytes.chunks(size).map(<[u8]>::to_vec).collect()
                };
                let all: Vec<Vec<Vec<u8>>> = (0..cases.len()).map(|case| elements(of_case(case))).collect();
                let width = elements(first).len();
                let value = |at: usize| {
                    let row = &all[numbers.below(all.len())];
                    let at = if dtype == DType::U8 { numbers.below(row.len()) } else { at };
                    row[at].clone()
                };
                Tensor::new(dtype, first.dims().to_vec(), (0..width).flat_map(value).collect()).unwrap()
            }
        }
    };
    (0..count).map(|_| (0..cases[0].inputs.len()).map(&mut draw).collect()).collect()
}
