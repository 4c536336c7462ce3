//! Judgements: runs that decide about answers, and what comes with them beside outputs.

use alloy::primitives::B256;

use crate::protocol::{
    OutputFormat,
    agreement::{Verdict, compare},
    card::Agreement,
    cast::{ModelTensor, NotFinite, from_outputs},
};

/// A run in a session that has run nothing before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Seed of the trace that is wanted as well.
    pub trace: Option<B256>,
    /// By which rule the jitter guard takes answers for equal; `None` in the exact lane, which has no guard.
    pub guard: Option<AnswerRule>,
}

/// When two runs give the same answer to a request, by the card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnswerRule {
    /// The card's rules, one for each output of the model.
    pub agreement: Vec<Agreement>,
    /// Format of the request.
    pub format: OutputFormat,
    /// Size of an answer at most, in bytes.
    pub max_output_bytes: u32,
}

impl AnswerRule {
    /// Whether the outputs of a run make the answer that those of the canonical run make: outputs that agree, or none that a
    /// contract can hold. Each output comes with its position.
    pub(super) fn agrees(&self, run: &[(usize, ModelTensor)], canonical: &[(usize, ModelTensor)]) -> bool {
        let pack = |outputs| from_outputs(outputs, self.format, NotFinite::Refused, self.max_output_bytes);
        match (pack(run), pack(canonical)) {
            (Ok(run), Ok(canonical)) => compare(&run, &canonical, &self.agreement, self.format) == Verdict::Agree,
            (Err(_), Err(_)) => true,
            _ => false,
        }
    }
}

/// Values from inside a run, which only who ran the model on these inputs knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The drawn values, encoded one after another; empty without candidates, or after a limit.
    pub bytes: Vec<u8>,
    /// `keccak256(seed ‖ bytes)`.
    pub digest: B256,
    /// Why the trace is empty, if its run met a limit that the plain run did not.
    pub reason: Option<String>,
}

/// What the jitter guard and the cast check say of a judgement in the tolerance lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardReport {
    /// A verdict is allowed: small changes of every value change no answer.
    Silent,
    /// No verdict is allowed, for this reason.
    Speaks(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::cast::Elements;

    fn floats(values: &[f32]) -> Vec<(usize, ModelTensor)> {
        let shape = vec![u32::try_from(values.len()).unwrap()];
        vec![(0, ModelTensor { shape, elements: Elements::F32(values.to_vec()) })]
    }

    fn rule(agreement: Agreement) -> AnswerRule {
        AnswerRule { agreement: vec![agreement], format: OutputFormat::NATIVE, max_output_bytes: 100 }
    }

    #[test]
    fn answers_agree_by_the_rule_of_the_card() {
        let tolerance = |text: &str| text.parse().unwrap();
        let within = rule(Agreement::Elementwise { atol: tolerance("0.01"), rtol: tolerance("0") });
        assert!(within.agrees(&floats(&[1.0]), &floats(&[1.005])));
        assert!(!within.agrees(&floats(&[1.0]), &floats(&[1.02])));
        assert!(!rule(Agreement::Exact).agrees(&floats(&[1.0]), &floats(&[1.005])));
        // Another winner is another answer to the guard even where it is too close to tell.
        let winner = rule(Agreement::Argmax { gap: tolerance("0.1") });
        assert!(winner.agrees(&floats(&[1.0, 2.0]), &floats(&[1.5, 1.6])));
        assert!(!winner.agrees(&floats(&[1.0, 2.0]), &floats(&[1.61, 1.6])));
    }

    #[test]
    fn an_answer_that_no_contract_can_hold_agrees_with_another_such_and_no_other() {
        let exact = rule(Agreement::Exact);
        assert!(exact.agrees(&floats(&[f32::NAN]), &floats(&[f32::INFINITY])));
        assert!(!exact.agrees(&floats(&[f32::NAN]), &floats(&[1.0])));
        assert!(!exact.agrees(&floats(&[1.0]), &floats(&[f32::NAN])));
        let long = vec![1.0; 100];
        assert!(exact.agrees(&floats(&long), &floats(&long)) && !exact.agrees(&floats(&long), &floats(&[1.0])));
    }
}
