use super::*;
use crate::testing::{block, task};

fn fulfilled(ours: bool) -> Resolution {
    Resolution::Fulfilled { outcome: Outcome::Ok, output_commitment: B256::ZERO, seats: Bytes::new(), ours }
}

fn seen() -> Job {
    Job::Seen(Seen { task: task(1) })
}

fn sent() -> Job {
    let step =
        Transition::Sent { block: task(1).block.hash, sender: Address::ZERO, nonce: 7, hash: B256::repeat_byte(9) };
    seen().apply(step).unwrap()
}

fn settled(job: Job) -> Job {
    job.apply(Transition::Included { at: block(5), transaction: None, ending: fulfilled(true) }).unwrap()
}

#[test]
fn the_common_path_is_seen_sent_settled_confirmed() {
    let job = settled(sent());
    assert!(matches!(&job, Job::Included(Included { sent: Some((_, 7)), .. })));
    let job = job.apply(Transition::Finalized).unwrap();
    assert_eq!(job.name(), "finalized");
    assert!(job.is_closed());
}

#[test]
fn an_answer_signed_for_another_block_is_not_sent() {
    let step = Transition::Sent { block: B256::repeat_byte(0xee), sender: Address::ZERO, nonce: 0, hash: B256::ZERO };
    assert_eq!(seen().apply(step), Err(InvalidTransition::From(JobState::Seen)));
}

#[test]
fn nothing_is_sent_twice() {
    let step = Transition::Sent { block: task(1).block.hash, sender: Address::ZERO, nonce: 8, hash: B256::ZERO };
    assert_eq!(sent().apply(step.clone()), Err(InvalidTransition::From(JobState::Sent)));
    assert_eq!(settled(seen()).apply(step), Err(InvalidTransition::From(JobState::Included)));
}

#[test]
fn a_reorganisation_opens_what_was_sent_or_settled_again() {
    assert_eq!(sent().apply(Transition::Reopened).unwrap(), seen());
    assert_eq!(settled(sent()).apply(Transition::Reopened).unwrap(), seen());
    assert!(seen().apply(Transition::Reopened).is_err());
}

#[test]
fn what_this_node_passed_over_is_recorded_when_another_answers() {
    let job = seen().apply(Transition::Skipped(Skip::NoSeat)).unwrap();
    assert_eq!(job.name(), "skipped");
    assert_eq!(settled(job).name(), "included");
}

#[test]
fn only_a_reorganisation_changes_a_confirmed_job() {
    let job = settled(sent()).apply(Transition::Finalized).unwrap();
    assert_eq!(job.clone().apply(Transition::Reopened).unwrap(), seen());
    for step in [Transition::Finalized, Transition::Failed(String::new()), Transition::Skipped(Skip::NoSeat)] {
        assert!(job.clone().apply(step).is_err());
    }
}

#[test]
fn every_state_survives_the_journals_json() {
    for job in [
        seen(),
        sent(),
        settled(sent()),
        settled(sent()).apply(Transition::Finalized).unwrap(),
        seen().apply(Transition::Skipped(Skip::Unprofitable { pays: u128::MAX, asks: 1 })).unwrap(),
        seen().apply(Transition::Failed("why".into())).unwrap(),
    ] {
        let text = serde_json::to_vec(&job).unwrap();
        assert_eq!(serde_json::from_slice::<Job>(&text).unwrap(), job);
    }
}
