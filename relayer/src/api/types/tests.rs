use serde_json::json;

use super::*;

const ID: B256 = B256::repeat_byte(7);

#[test]
fn a_query_survives_its_text() {
    let after = Some(PageCursor(Position { height: 7, id: ID }));
    let query = JobsQuery { state: Some(JobState::Failed), model: Some(ID), after, limit: 7 };
    let text = serde_urlencoded::to_string(&query).unwrap();
    assert_eq!(text, format!("state=failed&model={ID}&after=7-{ID}&limit=7"));
    assert_eq!(serde_urlencoded::from_str(&text), Ok(query));
    assert_eq!(serde_urlencoded::from_str(""), Ok(JobsQuery::default()));
}

#[test]
fn the_names_of_states_are_read_as_they_are_written() {
    for state in JobState::ALL {
        assert_eq!(state.to_string().parse(), Ok(state));
        assert_eq!(serde_json::to_value(state).unwrap(), json!(state.name()));
    }
    let error = "lost".parse::<JobState>().unwrap_err();
    assert_eq!(error, "`lost` is not a state: write one of seen, sent, included, finalized, skipped, failed");
}

#[test]
fn amounts_are_texts_that_hold_more_than_numbers_do() {
    let line = LedgerLine {
        day: "2026-11-23".into(),
        model: ID,
        answers: 2,
        earned_wei: i128::MIN,
        spent_wei: u128::MAX,
        profit_wei: 0,
    };
    let told = serde_json::to_value(&line).unwrap();
    assert_eq!(told["earnedWei"], i128::MIN.to_string());
    assert_eq!(told["spentWei"], u128::MAX.to_string());
    assert_eq!(serde_json::from_value::<LedgerLine>(told).unwrap(), line);
}
