//! How far small changes of values inside a model move its outputs, in tolerances of a card.

use crate::{
    engine::{ExamineError, Examiner, JitterSign, JitteredRun},
    protocol::{
        OutputFormat,
        card::Agreement,
        cast::{ModelTensor, NotFinite, Unrepresentable, from_outputs},
        difference::{Difference, difference},
        tensor::{self, Tensor},
    },
};

/// An output as a contract may get it; `None` where no answer can hold it.
pub(super) type Packed = Option<Tensor>;

/// Packs each output by itself, in an answer of `max` bytes at most.
///
/// # Errors
/// Why no answer can hold the first that none can.
pub(super) fn pack(outputs: &[ModelTensor], max: u32) -> Result<Vec<Tensor>, Unrepresentable> {
    outputs.iter().enumerate().map(|(place, output)| packed(place, output, max)).collect()
}

fn packed(place: usize, output: &ModelTensor, max: u32) -> Result<Tensor, Unrepresentable> {
    let packed = from_outputs(&[(place, output.clone())], OutputFormat::NATIVE, NotFinite::Refused, max)?;
    let not_tensor = |reason| Unrepresentable::NotTensor { output: place, reason };
    let tensors = tensor::decode(&packed).map_err(|error| not_tensor(error.to_string()))?;
    tensors.into_iter().next().ok_or_else(|| not_tensor("nothing was packed".to_owned()))
}

/// How far an output is from the judge's.
pub(super) fn apart(run: Option<&Packed>, judged: &Tensor) -> Difference {
    run.and_then(Option::as_ref).map_or(Difference::Incomparable, |run| difference(run, judged))
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
pub(super) type SeeRun<'a> = dyn FnMut(usize, &[Packed], &[Tensor]) + Send + 'a;

/// Makes the guard's runs on all inputs that were kept, and has `each` look at the outputs of each run beside the canonical
/// ones, with the place of the inputs. An answer has `max` bytes at most.
///
/// # Errors
/// `ExamineError` where there is no result.
pub(super) async fn guard_runs(
    examiner: &mut Examiner,
    (canonical, max): (&[Vec<Tensor>], u32),
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
                Ok(outputs) => {
                    let pack = |(place, output): (usize, &ModelTensor)| packed(place, output, max).ok();
                    let packed: Vec<Packed> = outputs.iter().enumerate().map(pack).collect();
                    if let Some(canonical) = canonical.get(input) {
                        each(input, &packed, canonical);
                    }
                }
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
    canonical: &'a [Tensor],
    rules: &'a [Agreement],
) -> impl Iterator<Item = f64> + 'a {
    run.iter().zip(canonical).zip(rules).map(|((run, canonical), rule)| apart(Some(run), canonical).share(rule))
}
