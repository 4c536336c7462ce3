//! Inputs that a model is tried with: golden ones, which somebody chose, and random ones.

use std::fmt;

use alloy::primitives::Bytes;

use super::{
    InputError, Ports, input_from_json,
    random::{Inputs, RANGES, RandomError, SIZES, Values, sized},
};
use crate::{
    model::Model,
    protocol::{
        cast::{BadInput, ModelTensor, TensorSpec, to_inputs},
        tensor::{self, Tensor},
    },
    text,
};

/// Elements of a random input at most: some pictures.
const MAX_ELEMENTS: u64 = 1 << 22;
/// Random inputs that are tried for each that is wanted: a model need not take them.
const TRIES: usize = 4;

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A probe of the card, by its place.
    Probe(usize),
    /// A file that the user named.
    File(String),
    /// Chance, by the number of the draw.
    Random(usize),
}

impl Origin {
    /// Whether somebody chose the input.
    #[must_use]
    pub fn is_golden(&self) -> bool {
        !matches!(self, Self::Random(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe(place) => write!(f, "probe {place}"),
            Self::File(name) => write!(f, "--inputs {}", text::shown(name)),
            Self::Random(number) => write!(f, "random input {number}"),
        }
    }
}

/// Inputs of one run.
#[derive(Clone, Debug)]
pub(super) struct Example {
    pub origin: Origin,
    pub packed: Bytes,
    /// The same, as the model takes them.
    pub inputs: Vec<ModelTensor>,
    /// What the card says that comes out.
    pub recorded: Option<Bytes>,
}

/// Why there are no examples.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum ExampleError {
    #[error("--inputs {file}: {error}")]
    File { file: String, error: InputError },
    #[error("{origin} is no input of the model: {error}")]
    Input { origin: Origin, error: BadInput },
}

/// The card's probes, and what files hold, each as Open Inference Protocol JSON with what to call it.
pub(super) fn golden(
    specs: &[TensorSpec],
    outputs: Vec<String>,
    card: Option<&Model>,
    files: &[(String, Vec<u8>)],
) -> Result<Vec<Example>, ExampleError> {
    let read = |origin: Origin, packed: &Bytes, recorded: Option<&Bytes>| match to_inputs(specs, packed) {
        Ok(inputs) => Ok(Example { origin, packed: packed.clone(), inputs, recorded: recorded.cloned() }),
        Err(error) => Err(ExampleError::Input { origin, error }),
    };
    let mut examples = Vec::new();
    for (place, probe) in card.iter().flat_map(|card| &card.details.probes).enumerate() {
        examples.push(read(Origin::Probe(place), &probe.input, Some(&probe.output))?);
    }
    let ports = Ports { inputs: specs.to_vec(), outputs };
    for (file, json) in files {
        let named = || text::shown(file);
        let input = input_from_json(json, &ports).map_err(|error| ExampleError::File { file: named(), error })?;
        examples.push(read(Origin::File(file.clone()), &input.packed, None)?);
    }
    Ok(examples)
}

/// Random examples: of small sizes and, where there are golden ones, every other of the sizes of the smallest of them, and all of
/// values like theirs.
pub(super) struct RandomExamples {
    specs: Vec<TensorSpec>,
    /// Shapes of the smallest golden example.
    smallest: Option<Vec<Vec<u32>>>,
    random: Inputs,
    /// What each input is drawn from, one set after another.
    values: Vec<Vec<Values>>,
    /// Bytes of an input at most.
    max_bytes: usize,
    drawn: usize,
    /// How many are drawn at most.
    most: usize,
}

impl RandomExamples {
    /// Examples that follow from a seed, of which `wanted` are of use.
    pub(super) fn new(specs: &[TensorSpec], golden: &[Example], seed: u64, wanted: usize, max_bytes: u32) -> Self {
        let packed: Vec<Vec<Tensor>> =
            golden.iter().filter_map(|example| tensor::decode(&example.packed).ok()).collect();
        let like = |place: usize, range| {
            let given = packed.iter().filter_map(|tensors| tensors.get(place));
            Values::like(given).unwrap_or_else(|| Values::within(range))
        };
        let all = |range| (0..specs.len()).map(|place| like(place, range)).collect();
        let mut values: Vec<Vec<Values>> = RANGES.into_iter().map(all).collect();
        values.dedup();
        let smallest = golden.iter().min_by_key(|example| example.packed.len());
        let smallest = smallest.map(|example| example.inputs.iter().map(|tensor| tensor.shape.clone()).collect());
        // Of an input of any rank, theirs is one that the model takes.
        let ranked = |(place, spec): (usize, &TensorSpec)| {
            let like = |shapes: &Vec<Vec<u32>>| shapes.get(place).map(|shape| vec![None; shape.len()]);
            let shape = spec.shape.clone().or_else(|| smallest.as_ref().and_then(like));
            TensorSpec { shape, ..spec.clone() }
        };
        let specs = specs.iter().enumerate().map(ranked).collect();
        let random = Inputs::from_seed(seed, MAX_ELEMENTS);
        let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        Self { specs, smallest, random, values, max_bytes, drawn: 0, most: TRIES * wanted }
    }

    /// The next one; `None` when enough were drawn.
    ///
    /// # Errors
    /// `RandomError` where there can be none at all.
    pub(super) fn draw(&mut self) -> Result<Option<Example>, RandomError> {
        while self.drawn < self.most {
            let like = self.smallest.as_ref().filter(|_| self.drawn.is_multiple_of(2));
            let round = if self.smallest.is_some() { self.drawn / 2 } else { self.drawn };
            let small = sized(SIZES[round % SIZES.len()]);
            let open = |place: usize, index: usize| match like.and_then(|shapes| shapes.get(place)?.get(index)) {
                Some(size) => *size,
                None => small(place, index),
            };
            let values = &self.values[round / SIZES.len() % self.values.len()];
            let packed = self.random.packed(&self.specs, &open, &|place| &values[place])?;
            self.drawn += 1;
            if packed.len() > self.max_bytes {
                continue;
            }
            // What is drawn by the model's own shapes and types is one of its inputs.
            if let Ok(inputs) = to_inputs(&self.specs, &packed) {
                let origin = Origin::Random(self.drawn);
                return Ok(Some(Example { origin, packed, inputs, recorded: None }));
            }
        }
        Ok(None)
    }
}
