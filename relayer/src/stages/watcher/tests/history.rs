use super::*;
use crate::coordinator::Event;

/// What is written of a stretch of history, with the chain's head far above it: the ids of the jobs, and of the claims.
async fn written(head: u64) -> (Vec<B256>, Vec<B256>, [B256; 3]) {
    let mut rig = Rig::new();
    rig.advance().await;
    let [owed, paid, open] = [rig.ask(0), rig.ask(1), rig.ask(2)];
    rig.mine(vec![fulfilled(&owed, 0), fulfilled(&paid, 0)]);
    rig.mine(vec![claimed(&paid)]);
    let logs = rig.chain().logs(rig.bench.node.domain.coordinator, LogScope::Range(1, rig.height())).await.unwrap();
    let logs: Vec<_> = logs.iter().filter_map(decode_log).collect();
    assert!(matches!(logs.last().unwrap().event, Event::Claimed(_)));
    let mut batch = Batch::default();
    let heights = Heights { head, cursor: 100, final_block: Some(head - 3), depth: 8 };
    intake::take(&rig.bench.node, &logs, heights, &mut batch).unwrap();
    let jobs = batch.seen.iter().map(|(task, _)| task.id).collect();
    assert!(batch.moves.iter().all(|(moved, _)| batch.seen.iter().any(|(task, _)| task.id == *moved)));
    rig.bench.node.journal.commit(&batch).unwrap();
    (jobs, rig.claims().iter().map(|claim| claim.id).collect(), [id(&owed), id(&paid), id(&open)])
}

#[tokio::test]
async fn of_what_began_and_ended_long_ago_only_pay_that_is_owed_is_written() {
    let (jobs, claims, [owed, _, open]) = written(60_000).await;
    assert_eq!((jobs, claims), (vec![open], vec![owed]));
}

#[tokio::test]
async fn what_ended_lately_is_written_for_the_list_of_jobs() {
    let (jobs, claims, [owed, paid, open]) = written(40_000).await;
    assert_eq!((jobs, claims), (vec![owed, paid, open], vec![owed]));
}
