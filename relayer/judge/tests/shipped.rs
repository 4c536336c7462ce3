//! The shipped models in the judge.

mod support;

use oraculum_judge::Limits;
use support::{SHIPPED, golden, judge, shipped};

#[test]
fn golden_outputs_which_v8_computed_are_equal_to_the_bit() {
    for model in SHIPPED {
        let mut session = judge().load(&shipped(model), Limits::DEFAULT).unwrap();
        for (place, case) in golden(model).iter().enumerate() {
            assert_eq!(session.run_all(&case.inputs).unwrap(), case.outputs, "{model}, case {place}");
        }
    }
}
