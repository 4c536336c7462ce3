//! Answers of ours whose seats have another key by now.

use alloy::primitives::Address;

use super::*;
use crate::domain::{AnswerRef, Attempt, Purpose, TrackedTransaction};

/// After a change of keys a seat does not tell any more that an answer was ours: the transaction that carried it does.
#[tokio::test]
async fn what_our_transaction_answered_is_ours_whichever_key_the_seat_has() {
    let mut rig = Rig::new();
    let [ours, theirs] = [rig.ask(0), rig.ask(1)];
    rig.advance().await;
    rig.mine(vec![fulfilled(&ours, 5)]);
    rig.mine(vec![fulfilled(&theirs, 5)]);
    let mined = rig.height() - 1;
    let scope = LogScope::Range(mined, mined + 1);
    let logs = rig.chain().logs(rig.bench.node.domain.coordinator, scope).await.unwrap();
    let hash = B256::repeat_byte(6);
    let log = |log: DecodedLog| DecodedLog { transaction: Some(hash), ..log };
    let logs: Vec<_> = logs.iter().filter_map(decode_log).map(log).collect();
    let sender = Address::repeat_byte(7);
    let items: Vec<_> = rig.open().iter().map(|task| AnswerRef { id: task.id, block: task.block.hash }).collect();
    let attempt = |hash| Attempt { hash, raw: vec![2].into(), gas: 1, max_fee: 1, max_priority_fee: 1, at: mined };
    let carrier = |nonce, item, hashes: &[B256]| TrackedTransaction {
        sender,
        nonce,
        purpose: Purpose::Answer { items: vec![item] },
        attempts: hashes.iter().copied().map(attempt).collect(),
        mined: None,
    };
    let moves = (0..).zip(&items).map(|(nonce, item)| {
        (item.id, Transition::Sent { block: item.block, sender, nonce, hash: B256::repeat_byte(9) })
    });
    let batch = Batch {
        moves: moves.collect(),
        // Mined was the first attempt, not the last.
        transactions: vec![
            carrier(0, items[0], &[hash, B256::repeat_byte(9)]),
            carrier(1, items[1], &[B256::repeat_byte(8), B256::repeat_byte(9)]),
        ],
        ..Batch::default()
    };
    assert!(rig.bench.node.journal.commit(&batch).unwrap().is_empty());
    let mut batch = Batch::default();
    let heights = Heights { head: mined + 1, cursor: mined + 1, final_block: None, depth: 8 };
    intake::take(&rig.bench.node, &HashMap::new(), &logs, heights, &mut batch).unwrap();
    assert_eq!(batch.moves.len(), 2, "both are answered");
    assert_eq!(batch.claims.iter().map(|claim| claim.id).collect::<Vec<_>>(), [id(&ours)]);
}
