use std::collections::BTreeMap;

use super::*;

/// Blocks in which the base fee rises by an eighth.
const RISING: usize = 40;
/// Seconds between two blocks.
const PACE: u64 = 12;

#[tokio::test(start_paused = true)]
async fn a_base_fee_that_rises_for_40_blocks_and_falls_leaves_no_queue_stuck_and_no_fee_above_the_cap() {
    let bench = Bench::new();
    let cap = 60_000;
    bench.policy.send_modify(|policy| policy.fees.max_fee_per_gas = cap);
    let mut rig = Rig::with(bench, 2).await;
    let mut base_fee = 1_000u128;
    let mut sent = Vec::new();
    let mut waiting: Vec<AnswerRef> = Vec::new();
    let mut highest = 0;
    for block in 0..2 * RISING + 10 {
        if block < RISING {
            base_fee += base_fee / 8;
        } else {
            base_fee = (base_fee - base_fee / 8).max(1_000);
        }
        highest = highest.max(base_fee);
        rig.chain().set_base_fee(base_fee);
        if block < RISING {
            waiting.push(rig.ask().await);
            waiting.push(rig.ask().await);
        }
        for item in std::mem::take(&mut waiting) {
            match rig.send(&[item]) {
                SendOutcome::Sent => sent.push(item),
                _ => waiting.push(item),
            }
        }
        // While fees rise, blocks have less room than is asked for.
        rig.block(if block < RISING { 1 } else { 8 }, PACE).await;
    }
    assert!(highest > cap, "{highest}: the rise passes the cap, so that some have to wait");
    assert!(waiting.is_empty(), "all were sent");
    assert!(sent.iter().all(|item| rig.state(item) == "included" || rig.state(item) == "finalized"));
    assert_eq!(rig.in_flight(), 0, "no queue is stuck");

    let mut attempts = BTreeMap::<(Address, u64), Vec<TxEnvelope>>::new();
    for transaction in rig.chain().sent() {
        assert!(transaction.max_fee_per_gas() <= cap);
        let sender = alloy::consensus::transaction::SignerRecoverable::recover_signer(&transaction).unwrap();
        let of = attempts.entry((sender, transaction.nonce())).or_default();
        if of.iter().all(|one| one.tx_hash() != transaction.tx_hash()) {
            of.push(transaction);
        }
    }
    assert_eq!(attempts.len(), 2 * RISING, "no nonce is wasted");
    let replaced = attempts.values().filter(|of| of.len() > 1).count();
    assert!(replaced > 5, "{replaced}: the rise forces replacements");
    for of in attempts.values() {
        assert!(of.windows(2).all(|pair| is_a_raise(&pair[0], &pair[1])));
    }
}

/// A key with three answers at the cap that no pool takes, in a block that is dearer.
async fn refused_at_the_cap() -> (Rig, Vec<AnswerRef>) {
    let bench = Bench::new();
    bench.policy.send_modify(|policy| policy.fees.max_fee_per_gas = 2_200);
    let mut rig = Rig::with(bench, 1).await;
    rig.chain().refuse_broadcasts(Some(ChainError::FeeTooLow("max fee below base fee".into())));
    let mut items = Vec::new();
    for _ in 0..3 {
        items.push(rig.answer().await);
    }
    blocks_at(&mut rig, 2_500).await;
    (rig, items)
}

async fn blocks_at(rig: &mut Rig, base_fee: u128) {
    rig.chain().set_base_fee(base_fee);
    for _ in 0..4 {
        rig.chain().mine(Vec::new());
    }
    rig.head().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_cap_keeps_from_a_raise_is_sent_again_within_a_second_of_the_base_fee_that_lets_it() {
    for waited in 10..15 {
        let (mut rig, _) = refused_at_the_cap().await;
        rig.seconds(waited).await;
        rig.chain().refuse_broadcasts(None);
        blocks_at(&mut rig, 1_500).await;
        rig.seconds(1).await;
        assert_eq!(rig.chain().distinct().len(), 3, "{waited}");
        assert!(rig.tracked().iter().all(|tracked| tracked.attempts.len() == 1), "the cap forbids another");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_endpoint_refuses_for_good_is_not_sent_to_it_every_second() {
    let (mut rig, _) = refused_at_the_cap().await;
    blocks_at(&mut rig, 1_500).await;
    let before = rig.bench.node.metrics.rebroadcast.get();
    rig.seconds(100).await;
    let again = rig.bench.node.metrics.rebroadcast.get() - before;
    assert!(again <= 3 * (100 / 5 + 2), "{again} broadcasts of three transactions in 100 s");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_came_too_late_is_not_sent_when_it_becomes_affordable() {
    for waited in 10..15 {
        let (mut rig, items) = refused_at_the_cap().await;
        rig.seconds(waited).await;
        let at = rig.chain().head().await.unwrap().block;
        let moves = items.iter().map(|item| (item.id, settled(at, None, false))).collect();
        rig.journal().commit(&Batch { moves, ..Batch::default() }).unwrap();
        rig.chain().refuse_broadcasts(None);
        blocks_at(&mut rig, 1_500).await;
        rig.seconds(30).await;
        let sent = rig.chain().sent();
        assert!(sent.iter().all(|transaction| transaction.input().is_empty()), "self-transfers only");
        assert_eq!(rig.chain().distinct().len(), 3);
    }
}

/// F4: an endpoint refused every broadcast for 80 s, and the price rose from 0.1 to 6.15 gwei though no pool had ever held
/// anything.
#[tokio::test(start_paused = true)]
async fn what_no_pool_ever_held_is_not_raised_and_the_node_is_not_ready_meanwhile() {
    for refusal in [
        ChainError::Other { code: -32_000, message: "busy".into() },
        ChainError::FeeTooLow("transaction underpriced".into()),
        ChainError::Unready("none".into()),
        ChainError::RateLimited("slow down".into()),
    ] {
        let mut rig = Rig::new().await;
        rig.chain().refuse_broadcasts(Some(refusal.clone()));
        let item = rig.answer().await;
        assert_eq!(rig.bench.node.conditions.obstacles().len(), 1, "{refusal}");
        for _ in 0..20 {
            rig.chain().mine(Vec::new());
            rig.head().await;
            rig.seconds(4).await;
        }
        assert_eq!(rig.tracked()[0].attempts.len(), 1, "{refusal}");
        rig.chain().refuse_broadcasts(None);
        rig.seconds(11).await;
        assert_eq!((rig.chain().distinct().len(), rig.bench.node.conditions.obstacles().len()), (1, 0), "{refusal}");
        rig.block(10, 1).await;
        assert_eq!(rig.state(&item), "included", "{refusal}");
    }
}

/// F4: what an endpoint says that it wants is offered, once.
#[tokio::test(start_paused = true)]
async fn the_least_that_an_endpoint_names_is_offered() {
    let mut rig = Rig::new().await;
    let words = "transaction underpriced: gas tip cap 100, minimum needed 5000";
    rig.chain().refuse_broadcasts(Some(ChainError::FeeTooLow(words.into())));
    rig.answer().await;
    rig.seconds(80).await;
    let tips: Vec<_> = rig.tracked()[0].attempts.iter().map(|attempt| attempt.max_priority_fee).collect();
    assert_eq!(tips, [100, 5_000]);
}

/// F4: an answer was raised until it was mined at a loss.
#[tokio::test(start_paused = true)]
async fn an_answer_is_not_raised_to_a_loss_unless_others_wait_behind_it() {
    let bench = Bench::new();
    bench.policy.send_modify(|policy| policy.terms.margin_percent = 0);
    let mut rig = Rig::with(bench, 1).await;
    rig.answer().await;
    let unmined = async |rig: &mut Rig| {
        for _ in 0..10 {
            rig.block(0, 2).await;
        }
        rig.tracked().iter().map(|tracked| tracked.attempts.len()).collect::<Vec<_>>()
    };
    // It pays 1,000 wei, and the gas for it costs more than 100 million.
    assert_eq!(unmined(&mut rig).await, [1]);
    rig.bench.policy.send_modify(|policy| policy.terms.margin_percent = -100);
    assert!(unmined(&mut rig).await[0] > 1, "the operator allows a loss");
    rig.block(10, 1).await;
    rig.bench.policy.send_modify(|policy| policy.terms.margin_percent = 0);
    rig.answer().await;
    rig.answer().await;
    let attempts = unmined(&mut rig).await;
    assert!(attempts[attempts.len() - 2] > 1 && attempts[attempts.len() - 1] == 1, "{attempts:?}");
}

/// F13: what waits although blocks have room may pay less than their producers want.
#[tokio::test(start_paused = true)]
async fn what_waits_in_a_pool_is_raised_to_what_others_paid() {
    let rig = Rig::new().await;
    rig.chain().set_fees(vec![crate::chain::BlockFees { fullness: 0.1, priority_fee: 7_000 }; 8]);
    let mut rig = rig.restart().await;
    rig.answer().await;
    for _ in 0..4 {
        rig.block(0, 2).await;
    }
    let tips: Vec<_> = rig.tracked()[0].attempts.iter().map(|attempt| attempt.max_priority_fee).collect();
    assert_eq!(tips, [100, 7_000]);
}

/// F13: on an idle chain the tip of the request itself was taken for the price of its answer.
#[tokio::test(start_paused = true)]
async fn on_an_idle_chain_an_answer_costs_the_least_that_the_operator_offers() {
    let rig = Rig::new().await;
    let idle = crate::chain::BlockFees { fullness: 0.0, priority_fee: 0 };
    let own = crate::chain::BlockFees { fullness: 0.01, priority_fee: 500_000 };
    rig.chain().set_fees(vec![idle, own, idle, own, own]);
    let rig = rig.restart().await;
    // The base fee, and `fees.min_priority_fee`.
    assert_eq!(rig.bench.node.price.borrow().map(|price| price.gas), Some(1_000 + 100));
    rig.chain().set_fees(vec![crate::chain::BlockFees { fullness: 1.0, priority_fee: 500_000 }; 8]);
    let rig = rig.restart().await;
    assert_eq!(rig.bench.node.price.borrow().map(|price| price.gas), Some(1_000 + 500_000));
}
