//! Damaged models: whatever the bytes, the judge answers or says why not.

mod support;

use oraculum_judge::{JudgeError, Limits};
use proptest::prelude::*;
use support::{golden, judge, model, shipped};

const LIMITS: Limits = Limits { memory: 128 << 20, fuel: 300_000_000 };

fn survives(file: &[u8], inputs: &[oraculum_judge::Tensor]) {
    let _ = judge().candidates(file, LIMITS);
    match judge().load(file, LIMITS) {
        Ok(mut session) => {
            let _ = session.run_all(inputs);
        }
        Err(error) => assert!(!matches!(error, JudgeError::Ended), "{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn models_with_altered_bytes_never_bring_the_judge_down(
        name in prop::sample::select(vec!["iris", "digits", "control", "recurrent", "strings"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let of_ours = matches!(name, "control" | "recurrent" | "strings");
        let mut file = if of_ours { model(name) } else { shipped(name) };
        for (place, byte) in changes {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let inputs = if of_ours { Vec::new() } else { golden(name).remove(0).inputs };
        survives(&file, &inputs);
    }

    #[test]
    fn arbitrary_bytes_never_bring_the_judge_down(file in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(&file, &[]);
    }
}
