//! The jitter guard and the cast check beside a judgement, in the model's process.

use oraculum_judge::{Guard, GuardVerdict, Judge, JudgeError, Limits, Tensor};

use super::words::from_judge;
use crate::{
    engine::{
        backends::child::{tensors, wire},
        judgement::AnswerRule,
    },
    protocol::{
        OutputFormat,
        card::{Agreement, InvalidTolerance},
        cast::ModelTensor,
    },
    text,
};

/// Characters of a reason at most: it repeats names of the model.
const LONGEST_REASON: usize = 400;

/// Says whether a verdict is allowed about the outputs `canonical` at the places `wanted`, which a plain run on `inputs` gave.
///
/// # Errors
/// `JudgeError` where this machine is at fault.
pub(super) fn check(
    judge: &Judge,
    model: &[u8],
    limits: Limits,
    (inputs, wanted, canonical): (&[Tensor], &[usize], &[Tensor]),
    rule: &AnswerRule,
) -> Result<wire::Guard, JudgeError> {
    let placed = |outputs: &[Tensor]| -> Option<Vec<(usize, ModelTensor)>> {
        let tensor = |tensor| tensors::from_wire(from_judge(tensor)).ok();
        wanted.iter().zip(outputs).map(|(place, output)| Some((*place, tensor(output)?))).collect()
    };
    let agrees = |run: &[Tensor], canonical: &[Tensor]| match (placed(run), placed(canonical)) {
        (Some(run), Some(canonical)) => rule.agrees(&run, &canonical),
        _ => false,
    };
    let speaks = match Guard::of(model) {
        Ok(guard) => match guard.check(judge, limits, inputs, wanted, canonical, &agrees)? {
            GuardVerdict::Silent => None,
            GuardVerdict::Speaks(reason) => Some(reason.to_string()),
        },
        Err(error) => Some(format!("the model cannot be guarded: {error}")),
    };
    Ok(wire::Guard { speaks: speaks.map(|reason| text::cut(&reason, LONGEST_REASON)) })
}

impl From<&AnswerRule> for wire::AnswerRule {
    fn from(rule: &AnswerRule) -> Self {
        let OutputFormat { width, decimals, mask } = rule.format;
        let agreement = rule.agreement.iter().map(|rule| match rule {
            Agreement::Exact => wire::Agreement::default(),
            Agreement::Elementwise { atol, rtol } => {
                wire::Agreement { atol: Some(atol.to_string()), rtol: Some(rtol.to_string()), gap: None }
            }
            Agreement::Argmax { gap } => wire::Agreement { gap: Some(gap.to_string()), ..wire::Agreement::default() },
        });
        Self {
            agreement: agreement.collect(),
            width: width.into(),
            decimals: decimals.into(),
            mask: mask.into(),
            max_output_bytes: rule.max_output_bytes,
        }
    }
}

impl TryFrom<wire::AnswerRule> for AnswerRule {
    type Error = String;

    fn try_from(rule: wire::AnswerRule) -> Result<Self, String> {
        let wire::AnswerRule { agreement, width, decimals, mask, max_output_bytes } = rule;
        let agreement = agreement.into_iter().map(|rule| {
            Ok(match (rule.atol, rule.rtol, rule.gap) {
                (None, None, None) => Agreement::Exact,
                (Some(atol), Some(rtol), None) => Agreement::Elementwise { atol: atol.parse()?, rtol: rtol.parse()? },
                (None, None, Some(gap)) => Agreement::Argmax { gap: gap.parse()? },
                _ => return Err(InvalidTolerance("a rule of two kinds".to_owned())),
            })
        });
        let agreement = agreement.collect::<Result<_, InvalidTolerance>>().map_err(|error| error.to_string())?;
        let too_large = |_| "no format".to_owned();
        let format = OutputFormat {
            width: width.try_into().map_err(too_large)?,
            decimals: decimals.try_into().map_err(too_large)?,
            mask: mask.try_into().map_err(too_large)?,
        };
        Ok(Self { agreement, format, max_output_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_comes_over_the_wire_as_it_was() {
        let rule = AnswerRule {
            agreement: vec![
                Agreement::Exact,
                Agreement::Elementwise { atol: "0.00001".parse().unwrap(), rtol: "0".parse().unwrap() },
                Agreement::Argmax { gap: "2.5".parse().unwrap() },
            ],
            format: OutputFormat { width: 4, decimals: 6, mask: 5 },
            max_output_bytes: 131_072,
        };
        assert_eq!(AnswerRule::try_from(wire::AnswerRule::from(&rule)), Ok(rule.clone()));
        let mut altered = wire::AnswerRule::from(&rule);
        altered.agreement[0].gap = Some("-1".to_owned());
        assert!(AnswerRule::try_from(altered.clone()).is_err());
        altered.agreement[0] = wire::Agreement { atol: Some("1".into()), ..wire::Agreement::default() };
        assert!(AnswerRule::try_from(altered).is_err());
        assert!(AnswerRule::try_from(wire::AnswerRule { width: 256, ..wire::AnswerRule::from(&rule) }).is_err());
    }
}
