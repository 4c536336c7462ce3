//! Random inputs by a model's shapes; the same for the same seed.

use alloy::primitives::{B256, Bytes};
use half::{bf16, f16};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    protocol::{
        cast::{ElementType, TensorSpec},
        difference::values,
        tensor::{self, DType, MAX_TENSORS, Tensor, TensorError},
    },
    text,
};

/// Sizes that open dimensions are tried with: of the first, and of all others.
pub(super) const SIZES: [(u32, u32); 4] = [(1, 8), (2, 8), (1, 1), (1, 32)];
/// Ranges that floats are tried in; not every model takes negative ones.
pub(super) const RANGES: [(f32, f32); 2] = [(-1.0, 1.0), (0.0, 1.0)];
/// Words that texts are made of.
const WORDS: [&str; 4] = ["one", "two", "three", "four"];
/// Largest size of a float that is drawn.
const LARGEST: f32 = 1e30;

/// Such sizes, by the places of an input and of a dimension.
pub(super) fn sized((rows, others): (u32, u32)) -> impl Fn(usize, usize) -> u32 {
    move |_, index| if index == 0 { rows } else { others }
}

/// Why there are no random inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RandomError {
    /// An input may have any number of dimensions.
    #[error("the file does not say how many dimensions `{}` has: give an example with --inputs", text::shown(.0))]
    OpenRank(String),
    /// Inputs have more elements than are wanted, and take so many bytes at least.
    #[error("inputs of the model's sizes take {0} bytes or more: give smaller ones with --inputs")]
    TooLarge(u64),
    /// An input is of no shape that tensors have.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// What the elements of an input are drawn from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Values {
    /// The least and the largest float; the largest is not drawn, unless both are equal.
    floats: (f32, f32),
    /// The least and the largest whole number.
    wholes: (i128, i128),
    /// Texts; others are taken where there are none.
    texts: Vec<String>,
}

impl Values {
    /// Floats of a range, the whole numbers 0 and 1, which most models take whatever they stand for, and words.
    pub(super) fn within(floats: (f32, f32)) -> Self {
        Self { floats, wholes: (0, 1), texts: Vec::new() }
    }

    /// Values like those of given tensors, all for one input; `None` where these have none.
    pub(super) fn like<'a>(given: impl Iterator<Item = &'a Tensor>) -> Option<Self> {
        let (mut floats, mut wholes, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for tensor in given {
            match tensor.dtype() {
                DType::String => texts.extend(tensor.iter_strings().map(str::to_owned)),
                DType::Bool => wholes.extend(tensor.data().iter().map(|byte| i128::from(*byte))),
                _ => {
                    floats.extend(values(tensor).map(|value| value as f32).filter(|value| value.is_finite()));
                    wholes.extend(values(tensor).map(|value| value as i128));
                }
            }
        }
        if floats.is_empty() && wholes.is_empty() && texts.is_empty() {
            return None;
        }
        let clamped = |value: f32| value.clamp(-LARGEST, LARGEST);
        let floats = (
            clamped(floats.iter().copied().reduce(f32::min).unwrap_or(-1.0)),
            clamped(floats.iter().copied().reduce(f32::max).unwrap_or(1.0)),
        );
        let wholes = (wholes.iter().copied().min().unwrap_or(0), wholes.iter().copied().max().unwrap_or(1));
        Some(Self { floats, wholes, texts })
    }
}

/// A source of random inputs.
pub(super) struct Inputs {
    random: StdRng,
    /// Elements of all inputs at most.
    max_elements: u64,
}

impl Inputs {
    /// Inputs that follow from a file's hash, as large as requests carry.
    pub(super) fn of(file: B256) -> Self {
        Self { random: StdRng::from_seed(file.0), max_elements: 131_072 }
    }

    /// Inputs that follow from a number.
    pub(super) fn from_seed(seed: u64, max_elements: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), max_elements }
    }

    /// Packed tensors, one for each input. `open` says which size an open dimension has, by the places of the input and of the
    /// dimension; `values` says what an input is drawn from, by its place.
    ///
    /// # Errors
    /// `OpenRank` for an input of any rank, `TooLarge` for inputs that are larger than is wanted, `Tensor` for one of no shape
    /// that tensors have, and for more than a list of tensors holds.
    pub(super) fn packed<'v>(
        &mut self,
        specs: &[TensorSpec],
        open: &dyn Fn(usize, usize) -> u32,
        values: &dyn Fn(usize) -> &'v Values,
    ) -> Result<Bytes, RandomError> {
        if specs.len() > MAX_TENSORS {
            return Err(TensorError::TooManyTensors { count: specs.len() }.into());
        }
        let (mut tensors, mut left) = (Vec::with_capacity(specs.len()), self.max_elements);
        for (place, spec) in specs.iter().enumerate() {
            let shape = spec.shape.as_ref().ok_or_else(|| RandomError::OpenRank(spec.name.clone()))?;
            let size = |(index, dim): (usize, &Option<u64>)| {
                dim.map_or(Ok(open(place, index)), u32::try_from).map_err(|_| u64::MAX)
            };
            let dims = shape.iter().enumerate().map(size).collect::<Result<Vec<u32>, u64>>();
            let count = |dims: &[u32]| dims.iter().fold(1u64, |count, dim| count.saturating_mul(u64::from(*dim)));
            let dims = dims.map_err(RandomError::TooLarge)?;
            let elements = count(&dims);
            let bytes = elements.saturating_mul(spec.element.packed().size().unwrap_or(1) as u64);
            left = left.checked_sub(elements).ok_or(RandomError::TooLarge(bytes))?;
            tensors.push(self.tensor(spec.element, dims, elements, values(place))?);
        }
        Ok(tensor::encode(&tensors)?)
    }

    fn tensor(
        &mut self,
        element: ElementType,
        dims: Vec<u32>,
        count: u64,
        values: &Values,
    ) -> Result<Tensor, TensorError> {
        if element == ElementType::String {
            if values.texts.is_empty() {
                let words: Vec<_> = (0..count).map(|_| WORDS[self.random.random_range(0..WORDS.len())]).collect();
                return Tensor::strings(dims, &words);
            }
            let texts = &values.texts;
            let texts: Vec<_> = (0..count).map(|_| &texts[self.random.random_range(0..texts.len())]).collect();
            return Tensor::strings(dims, &texts);
        }
        let size = element.packed().size().unwrap_or(1);
        let ((least, most), (low, high)) = (values.floats, values.wholes);
        let mut data = Vec::new();
        for _ in 0..count {
            let float = if least < most { self.random.random_range(least..most) } else { least };
            match element {
                ElementType::F16 => data.extend(f16::from_f32(float).to_be_bytes()),
                ElementType::Bf16 => data.extend(bf16::from_f32(float).to_f32().to_be_bytes()),
                ElementType::F32 => data.extend(float.to_be_bytes()),
                ElementType::F64 => data.extend(f64::from(float).to_be_bytes()),
                _ if (low, high) == (0, 1) => {
                    data.resize(data.len() + size - 1, 0);
                    data.push(self.random.random_range(0..=1));
                }
                _ => {
                    let whole = if low < high { self.random.random_range(low..=high) } else { low };
                    data.extend_from_slice(&whole.to_be_bytes()[16 - size..]);
                }
            }
        }
        Tensor::new(element.packed(), 0, dims, data.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::difference;

    fn spec(element: ElementType, shape: &[Option<u64>]) -> TensorSpec {
        TensorSpec { name: "x".into(), element, shape: Some(shape.to_vec()) }
    }

    #[test]
    fn the_same_seed_gives_the_same_inputs_and_another_gives_others() {
        let specs = [spec(ElementType::F32, &[None, Some(4)]), spec(ElementType::I64, &[None])];
        let values = Values::within((-1.0, 1.0));
        let of = |seed| Inputs::from_seed(seed, 100).packed(&specs, &sized((2, 8)), &|_| &values).unwrap();
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        let tensors = tensor::decode(&of(7)).unwrap();
        assert_eq!((tensors[0].shape(), tensors[1].shape()), (&[2, 4][..], &[2][..]));
    }

    #[test]
    fn values_like_given_ones_lie_between_the_least_and_the_largest_of_them() {
        let given = [Tensor::f32(vec![3], &[2.0, 5.0, f32::NAN]).unwrap(), Tensor::f32(vec![1], &[4.0]).unwrap()];
        let values = Values::like(given.iter()).unwrap();
        let floats = |values: &Values| {
            let packed =
                Inputs::from_seed(1, 1_000)
                    .packed(&[spec(ElementType::F32, &[Some(500)])], &sized((1, 1)), &|_| values);
            difference::values(&tensor::decode(&packed.unwrap()).unwrap()[0]).collect::<Vec<_>>()
        };
        assert!(floats(&values).iter().all(|value| (2.0..=5.0).contains(value)));
        let ids = [Tensor::i64(vec![2], &[100, 103]).unwrap()];
        let values = Values::like(ids.iter()).unwrap();
        let packed =
            Inputs::from_seed(1, 1_000).packed(&[spec(ElementType::I64, &[Some(100)])], &sized((1, 1)), &|_| &values);
        let drawn: Vec<f64> = difference::values(&tensor::decode(&packed.unwrap()).unwrap()[0]).collect();
        assert!(drawn.iter().all(|id| (100.0..=103.0).contains(id)) && drawn.contains(&103.0));
        // Equal ones, and any that a card may hold, are drawn without a failure.
        let one = [Tensor::f32(vec![1], &[3.0]).unwrap()];
        assert!(floats(&Values::like(one.iter()).unwrap()).iter().all(|value| *value == 3.0));
        let all = [Tensor::f32(vec![2], &[f32::MIN, f32::MAX]).unwrap()];
        assert!(floats(&Values::like(all.iter()).unwrap()).iter().all(|value| value.is_finite()));
        let nothing = [Tensor::f32(vec![0], &[]).unwrap()];
        assert_eq!(Values::like(nothing.iter()), None);
    }

    #[test]
    fn what_has_no_rank_or_too_many_elements_is_refused() {
        let values = Values::within((0.0, 1.0));
        let packed = |spec: TensorSpec| Inputs::from_seed(1, 10).packed(&[spec], &sized((1, 8)), &|_| &values);
        let open = TensorSpec { shape: None, ..spec(ElementType::F32, &[]) };
        assert_eq!(packed(open), Err(RandomError::OpenRank("x".into())));
        assert_eq!(packed(spec(ElementType::F32, &[None, Some(11)])), Err(RandomError::TooLarge(44)));
        assert!(matches!(packed(spec(ElementType::F32, &[Some(u64::MAX)])), Err(RandomError::TooLarge(_))));
    }

    #[test]
    fn all_inputs_together_have_no_more_elements_than_are_wanted_nor_more_tensors_than_a_list() {
        let values = Values::within((0.0, 1.0));
        let packed = |count: usize, size: u64| {
            let specs = vec![spec(ElementType::F32, &[Some(size)]); count];
            Inputs::from_seed(1, 100).packed(&specs, &sized((1, 8)), &|_| &values)
        };
        assert!(packed(2, 50).is_ok());
        assert_eq!(packed(3, 50), Err(RandomError::TooLarge(200)));
        let count = MAX_TENSORS + 1;
        assert_eq!(packed(count, 1), Err(RandomError::Tensor(TensorError::TooManyTensors { count })));
    }
}
