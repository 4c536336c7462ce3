use super::*;

#[tokio::test(start_paused = true)]
async fn nonce_too_low_a_receipt_of_any_attempt_ends_it() {
    let mut rig = Rig::new().await;
    let item = rig.answer().await;
    let first = rig.last_sent();
    rig.chain().mine_transaction(&first, true);
    rig.take_in(&[first]).await;
    // The broadcast of the replacement is refused, and that has the receipts looked for.
    assert_eq!(rig.raise(0), SendOutcome::Sent);
    assert!(rig.tracked()[0].mined.is_some());
    assert_eq!(rig.state(&item), "included");
}

#[tokio::test(start_paused = true)]
async fn nonce_too_low_without_a_receipt_a_foreign_transaction_took_it_and_the_job_gets_a_new_nonce() {
    let mut rig = Rig::new().await;
    let item = rig.answer().await;
    rig.lose_nonces(1);
    rig.seconds(5).await;
    assert_eq!(rig.state(&item), "sent", "receipts can be late");
    rig.seconds(10).await;
    assert_eq!(rig.state(&item), "seen");
    assert_eq!(rig.send(&[item]), SendOutcome::Sent);
    assert_eq!(rig.last_sent().nonce(), 1);
    for _ in 0..4 {
        rig.block(10, 0).await;
    }
    assert!(rig.tracked().is_empty(), "once the nonce is final, nothing is looked for any more");
}

/// The simulation found it, with the seed 1005350: a receipt that came late was never booked.
#[tokio::test(start_paused = true)]
async fn a_transaction_that_counted_as_foreign_is_booked_when_its_receipt_is_found() {
    let mut rig = Rig::new().await;
    let item = rig.answer().await;
    let sent = rig.last_sent();
    rig.lose_nonces(1);
    rig.seconds(20).await;
    assert_eq!(rig.state(&item), "seen");
    let spent = |rig: &Rig| rig.journal().ledger(0).unwrap().iter().map(|entry| entry.spent).sum::<u128>();
    rig.chain().mine_transaction(&sent, true);
    rig.take_in(std::slice::from_ref(&sent)).await;
    for _ in 0..4 {
        rig.block(0, 0).await;
    }
    assert_eq!((rig.state(&item), rig.tracked().len()), ("included", 0));
    assert!(spent(&rig) > 0);
}

#[tokio::test(start_paused = true)]
async fn a_nonce_that_counts_as_used_on_a_fork_that_is_no_more_is_ours_again() {
    let mut rig = Rig::new().await;
    let item = rig.answer().await;
    rig.lose_nonces(1);
    rig.seconds(5).await;
    // The endpoint has come to the others' fork meanwhile.
    rig.chain().set_nonces(0, 0);
    rig.seconds(10).await;
    assert_eq!((rig.state(&item), rig.tracked().len()), ("sent", 1));
    rig.block(10, 1).await;
    assert_eq!(rig.state(&item), "included", "under the same nonce");
    assert_eq!(rig.chain().distinct().len(), 1);
}

/// The simulation found it, with the seed 30321: a receipt of a block that the watcher never took in counted as final.
#[tokio::test(start_paused = true)]
async fn a_receipt_of_a_block_that_was_replaced_before_the_watcher_came_to_it_is_taken_back() {
    let mut rig = Rig::new().await;
    let item = rig.answer().await;
    let sent = rig.last_sent();
    // Its receipt is found while the watcher is behind; then another block takes the place.
    rig.chain().mine_transaction(&sent, true);
    rig.chain().set_nonces(1, 1);
    rig.seconds(2).await;
    assert!(rig.tracked()[0].mined.is_some());
    rig.chain().reorg(1);
    rig.chain().set_nonces(0, 0);
    let before = rig.chain().sent().len();
    for _ in 0..4 {
        let header = rig.chain().mine(Vec::new());
        rig.journal().commit(&Batch { recent_blocks: vec![header.block], ..Batch::default() }).unwrap();
        rig.head().await;
    }
    assert_eq!(rig.tracked().len(), 1, "it is not final");
    assert_eq!((rig.state(&item), rig.tracked()[0].mined), ("sent", None));
    let again = rig.chain().sent().split_off(before);
    assert!(again.iter().any(|one| one.tx_hash() == sent.tx_hash()), "the same bytes");
}

/// The simulation found it, with the seed 10206: the nonce was read in a block that the watcher never took in.
#[tokio::test(start_paused = true)]
async fn a_nonce_that_a_reorganisation_nobody_heard_of_took_back_is_filled() {
    let mut rig = Rig::new().await;
    let taken = rig.answer().await;
    rig.lose_nonces(1);
    for _ in 0..4 {
        rig.seconds(6).await;
    }
    assert_eq!(rig.state(&taken), "seen", "without a receipt, the nonce counts as taken by others");
    rig.chain().set_nonces(0, 0);
    rig.answer().await;
    assert_eq!(rig.last_sent().nonce(), 1);
    for _ in 0..8 {
        rig.seconds(6).await;
    }
    assert!(rig.chain().sent().iter().skip(1).any(|one| one.nonce() == 0), "else what is behind it waits for ever");
}
