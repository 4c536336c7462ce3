//! What a model is tried with, and how that is told: shared by `certify` and `calibrate`.

use std::path::PathBuf;

use clap::Args;
use serde::{Serialize, Serializer};

use crate::{
    cli::{exit::Mistyped, inputs::read_file},
    client::Tried,
    text,
};

/// What a model is tried with, beside the probes of its card.
#[derive(Clone, Debug, Args)]
pub(super) struct TrialArgs {
    /// Inputs to try the model with, as Open Inference Protocol JSON in a file; repeat it for more.
    #[arg(long, value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// Random inputs to try, of small sizes.
    #[arg(long, value_name = "NUMBER", default_value = "8", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    runs: u16,
    /// What random inputs follow from [default: another one each time].
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

impl TrialArgs {
    /// Files with inputs, each with its name.
    ///
    /// # Errors
    /// `Mistyped` for a file that cannot be read.
    pub(super) fn inputs(&self) -> Result<Vec<(String, Vec<u8>)>, Mistyped> {
        let read = |path: &PathBuf| Ok((path.display().to_string(), read_file(path).map_err(Mistyped)?));
        self.inputs.iter().map(read).collect()
    }

    /// Number of random inputs.
    pub(super) fn runs(&self) -> usize {
        self.runs.into()
    }

    /// The seed that was typed, or one that nobody chose.
    pub(super) fn seed(&self) -> u64 {
        // Short enough to be typed again.
        self.seed.unwrap_or_else(|| rand::random::<u32>().into())
    }
}

/// Inputs that were tried.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TriedInputs {
    pub(super) golden: usize,
    pub(super) random: usize,
    /// Random ones to which there is no answer.
    left_out: usize,
    /// Why there are fewer random ones than were wanted, if there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    shortfall: Option<String>,
}

/// A share of a tolerance; "infinite" where no tolerance would do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share(pub(super) f64);

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { serializer.serialize_f64(self.0) } else { serializer.serialize_str("infinite") }
    }
}

impl From<&Tried> for TriedInputs {
    fn from(tried: &Tried) -> Self {
        let Tried { golden, random, left_out, shortfall } = tried.clone();
        Self { golden, random, left_out, shortfall }
    }
}

impl TriedInputs {
    /// What was tried, in words; nothing if nothing was.
    pub(super) fn line(&self) -> Option<String> {
        let Self { golden, random, left_out, shortfall } = self;
        if golden + random + left_out == 0 && shortfall.is_none() {
            return None;
        }
        let others = if *left_out == 0 { String::new() } else { format!("; to {left_out} others there is no answer") };
        let why = shortfall.as_ref().map(|reason| format!("; no further random ones, for {}", text::escaped(reason)));
        Some(format!("{golden} golden and {random} random inputs{others}{}", why.unwrap_or_default()))
    }
}
