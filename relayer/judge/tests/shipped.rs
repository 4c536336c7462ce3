//! The shipped models in the judge.

mod support;

use oraculum_judge::Limits;
use support::{SHIPPED, golden, judge, shipped, within_tolerance};

#[test]
fn golden_outputs_of_native_runs_are_equal_within_the_cards_tolerance() {
    for model in SHIPPED {
        let mut session = judge().load(&shipped(model), Limits::DEFAULT).unwrap();
        for (place, case) in golden(model).iter().enumerate() {
            let outputs = session.run_all(&case.inputs).unwrap();
            assert_eq!(outputs.len(), case.outputs.len());
            for (ours, theirs) in outputs.iter().zip(&case.outputs) {
                assert!(within_tolerance(ours, theirs), "{model}, case {place}: {ours:?} is not {theirs:?}");
            }
        }
    }
}
