//! How far small changes of values inside a model move its outputs, in tolerances of a card.

use crate::{
    engine::{ExamineError, Examiner, JitterSign, JitteredRun},
    protocol::{
        OutputFormat,
        card::Agreement,
        cast::{ModelTensor, NotFinite, from_outputs},
        difference::{Difference, difference},
        tensor::{self, Tensor},
    },
};

/// An output as a contract may get it; `None` where no answer can hold it.
pub(super) type Packed = Option<Tensor>;

/// Packs each output by itself.
pub(super) fn pack(outputs: &[ModelTensor]) -> Vec<Packed> {
    let pack = |output: &ModelTensor| {
        let packed = from_outputs(&[(0, output.clone())], OutputFormat::NATIVE, NotFinite::Refused, u32::MAX).ok()?;
        tensor::decode(&packed).ok()?.into_iter().next()
    };
    outputs.iter().map(pack).collect()
}

/// Differences of two outputs; two that no answer can hold are the same answer.
pub(super) fn apart(a: &Packed, b: &Packed) -> Difference {
    match (a, b) {
        (Some(a), Some(b)) => difference(a, b),
        (None, None) => Difference::Symbols(0),
        _ => Difference::Incomparable,
    }
}

/// What the guard's runs found.
#[derive(Debug, Default)]
pub(super) struct GuardRuns {
    /// What the cast check says first, with the place of the inputs.
    pub cast: Option<(usize, String)>,
    /// Why a run failed first, with the place of the inputs.
    pub failure: Option<(usize, String)>,
    /// Why the model with small changes is not run at all.
    pub refused: Option<String>,
}

/// Looks at a run of the guard: the place of its inputs, its outputs, and those of the plain run.
pub(super) type SeeRun<'a> = dyn FnMut(usize, &[Packed], &[Packed]) + Send + 'a;

/// Makes the guard's runs on all inputs that were kept, and has `each` look at the outputs of each run beside the canonical
/// ones, with the place of the inputs.
///
/// # Errors
/// `ExamineError` where there is no result.
pub(super) async fn guard_runs(
    examiner: &mut Examiner,
    canonical: &[Vec<Packed>],
    each: &mut SeeRun<'_>,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<GuardRuns, ExamineError> {
    let mut found = GuardRuns::default();
    for (sign, what) in [
        (JitterSign::None, "the cast check"),
        (JitterSign::Plus, "the guard's runs with +ε"),
        (JitterSign::Minus, "the guard's runs with −ε"),
    ] {
        progress(what);
        let mut look = |JitteredRun { input, outputs, cast }: JitteredRun| {
            found.cast = found.cast.take().or(cast.map(|cast| (input, cast)));
            match outputs {
                Err(reason) => found.failure = found.failure.take().or(Some((input, reason))),
                // Without jitter the outputs are the plain ones.
                Ok(_) if sign == JitterSign::None => {}
                Ok(outputs) => each(input, &pack(&outputs), &canonical[input]),
            }
        };
        if let Err(reason) = examiner.jitter(sign, &mut look).await? {
            found.refused = Some(reason);
            break;
        }
    }
    Ok(found)
}

/// The largest share of a rule's tolerance that was seen, and on which inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Worst {
    pub share: f64,
    pub input: usize,
}

impl Worst {
    /// Takes note of a share.
    pub(super) fn see(&mut self, share: f64, input: usize) {
        if share > self.share {
            *self = Self { share, input };
        }
    }
}

/// Shares of the rules, one for each output.
pub(super) fn shares<'a>(
    run: &'a [Packed],
    canonical: &'a [Packed],
    rules: &'a [Agreement],
) -> impl Iterator<Item = f64> + 'a {
    run.iter().zip(canonical).zip(rules).map(|((run, canonical), rule)| apart(run, canonical).share(rule))
}
