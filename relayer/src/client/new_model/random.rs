//! Random inputs by a model's shapes; the same for the same file.

use alloy::primitives::B256;
use half::{bf16, f16};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::NewModelError;
use crate::protocol::{
    cast::{ElementType, TensorSpec},
    tensor::{Tensor, TensorError},
};

/// Sizes that open dimensions are tried with: of the first, and of all others.
pub(super) const SIZES: [(u32, u32); 4] = [(1, 8), (2, 8), (1, 1), (1, 32)];
/// Ranges that floats are tried in; not every model takes negative ones.
pub(super) const RANGES: [(f32, f32); 2] = [(-1.0, 1.0), (0.0, 1.0)];
/// Words that texts are made of.
const WORDS: [&str; 4] = ["one", "two", "three", "four"];
/// Elements at most: no more fit into a request.
const MAX_ELEMENTS: u64 = 131_072;

pub(super) struct Inputs(StdRng);

impl Inputs {
    /// Inputs that follow from a file's hash.
    pub(super) fn of(file: B256) -> Self {
        Self(StdRng::from_seed(file.0))
    }

    /// A tensor for each input: floats of a range, whole numbers 0 and 1, which most models take whatever they stand for,
    /// and words.
    ///
    /// # Errors
    /// `OpenRank` for an input of any rank, `TooLarge` for one that no request carries.
    pub(super) fn tensors(
        &mut self,
        specs: &[TensorSpec],
        rows: u32,
        others: u32,
        range: (f32, f32),
    ) -> Result<Vec<Tensor>, NewModelError> {
        let tensor = |spec: &TensorSpec| {
            let shape = spec.shape.as_ref().ok_or_else(|| NewModelError::OpenRank(spec.name.clone()))?;
            let size = |(index, dim): (usize, &Option<u64>)| {
                let open = if index == 0 { rows } else { others };
                dim.map_or(Ok(open), u32::try_from).map_err(|_| u64::MAX)
            };
            let dims = shape.iter().enumerate().map(size).collect::<Result<Vec<u32>, u64>>();
            let count = |dims: &[u32]| dims.iter().fold(1u64, |count, dim| count.saturating_mul(u64::from(*dim)));
            let large = |bytes| NewModelError::TooLarge { what: "input", bytes };
            let dims = dims.map_err(large)?;
            match count(&dims) {
                elements if elements <= MAX_ELEMENTS => Ok(self.tensor(spec.element, dims, elements, range)?),
                elements => Err(large(elements)),
            }
        };
        specs.iter().map(tensor).collect()
    }

    fn tensor(
        &mut self,
        element: ElementType,
        dims: Vec<u32>,
        count: u64,
        (least, most): (f32, f32),
    ) -> Result<Tensor, TensorError> {
        if element == ElementType::String {
            let words: Vec<_> = (0..count).map(|_| WORDS[self.0.random_range(0..WORDS.len())]).collect();
            return Tensor::strings(dims, &words);
        }
        let size = element.packed().size().unwrap_or(1);
        let mut data = Vec::new();
        for _ in 0..count {
            let float = self.0.random_range(least..most);
            match element {
                ElementType::F16 => data.extend(f16::from_f32(float).to_be_bytes()),
                ElementType::Bf16 => data.extend(bf16::from_f32(float).to_f32().to_be_bytes()),
                ElementType::F32 => data.extend(float.to_be_bytes()),
                ElementType::F64 => data.extend(f64::from(float).to_be_bytes()),
                _ => {
                    data.resize(data.len() + size - 1, 0);
                    data.push(self.0.random_range(0..=1));
                }
            }
        }
        Tensor::new(element.packed(), 0, dims, data.into())
    }
}
