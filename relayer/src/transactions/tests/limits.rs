use super::*;

#[tokio::test(start_paused = true)]
async fn several_keys_send_in_parallel_and_the_shortest_queue_is_next() {
    let mut rig = Rig::with(Bench::new(), 3).await;
    for _ in 0..9 {
        rig.answer().await;
    }
    let mut by_sender = std::collections::BTreeMap::<Address, Vec<u64>>::new();
    for tracked in rig.tracked() {
        by_sender.entry(tracked.sender).or_default().push(tracked.nonce);
    }
    assert_eq!(by_sender.into_values().collect::<Vec<_>>(), vec![vec![0, 1, 2]; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_journal_with_transactions_of_a_missing_key_is_refused() {
    let mut rig = Rig::with(Bench::new(), 2).await;
    rig.answer().await;
    rig.answer().await;
    let Rig { bench, keys, .. } = rig;
    let gone = keys[1].address();
    let error = Transactions::new(bench.node.clone(), keys[..1].to_vec()).err().unwrap();
    assert!(matches!(error, StageError::SenderGone(sender) if sender == gone));
}

#[tokio::test(start_paused = true)]
async fn unknown_pending_transactions_are_waited_for_and_in_the_end_replaced() {
    let bench = Bench::new();
    bench.node.chain.set_nonces(3, 5);
    let mut rig = Rig::with(bench, 1).await;
    let item = rig.ask().await;
    assert_eq!(rig.send(&[item]), SendOutcome::Later);
    rig.seconds(60).await;
    assert!(rig.chain().sent().is_empty());
    rig.seconds(61).await;
    assert_eq!(nonces(&rig.chain().sent()), [3, 4]);
    assert!(rig.tracked().iter().all(|tracked| tracked.purpose == Purpose::Cancel));
    assert_eq!(rig.send(&[item]), SendOutcome::Sent);
    assert_eq!(rig.last_sent().nonce(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_a_mined_batch_skipped_is_open_again_and_goes_alone() {
    let mut rig = Rig::new().await;
    let items = [rig.ask().await, rig.ask().await, rig.ask().await];
    assert_eq!(rig.send(&items), SendOutcome::Sent);
    assert_eq!(rig.chain().sent().len(), 1);
    let mined = rig.chain().produce(1);
    let at = rig.chain().head().await.unwrap().block;
    let hash = Some(*mined[0].tx_hash());
    let moves = [items[0], items[2]].map(|item| (item.id, settled(at, hash, true)));
    rig.journal().commit(&Batch { moves: moves.into(), ..Batch::default() }).unwrap();
    rig.head().await;
    assert_eq!(items.map(|item| rig.state(&item)), ["included", "seen", "included"]);
    assert_eq!(rig.transactions.take_left_out(), [items[1].id]);
    assert_eq!(rig.send(&items[1..2]), SendOutcome::Sent);
}

#[tokio::test(start_paused = true)]
async fn an_item_that_a_transaction_carries_is_not_sent_again() {
    let mut rig = Rig::new().await;
    let items = [rig.ask().await, rig.ask().await];
    rig.send(&items);
    rig.journal().commit(&Batch { moves: vec![(items[0].id, Transition::Reopened)], ..Batch::default() }).unwrap();
    assert_eq!(rig.send(&items[..1]), SendOutcome::Refused(items[0].id));
    assert_eq!((rig.state(&items[0]), rig.chain().distinct().len()), ("sent", 1));
}

#[tokio::test(start_paused = true)]
async fn the_books_hold_what_final_transactions_cost_and_earned_once() {
    let mut rig = Rig::new().await;
    let items = [rig.ask().await, rig.ask().await];
    rig.send(&items);
    for _ in 0..5 {
        rig.block(10, 0).await;
    }
    let ledger = rig.journal().ledger(0).unwrap();
    let model = ledger.iter().find(|entry| entry.model == crate::testing::MODEL).unwrap();
    assert_eq!((model.earned, model.answers), (2_000, 2));
    // 50,000 gas at a base fee of 1,000 and a priority fee of 100.
    assert_eq!(ledger.iter().map(|entry| entry.spent).sum::<u128>(), 50_000 * 1_100);
    let mut rig = rig.restart().await;
    rig.block(10, 0).await;
    assert_eq!(rig.journal().ledger(0).unwrap(), ledger);
}

#[tokio::test(start_paused = true)]
async fn nothing_new_is_sent_above_the_hours_limit_and_the_limit_outlives_a_restart() {
    let mut rig = Rig::new().await;
    // One transaction may cost 100,000 gas at 2,100, and costs 50,000 at 1,100 once mined.
    rig.bench.policy.send_modify(|policy| policy.max_spend_per_hour = Some(300_000_000));
    rig.answer().await;
    let second = rig.ask().await;
    assert_eq!(rig.send(&[second]), SendOutcome::TooMuch);
    for _ in 0..4 {
        rig.block(10, 0).await;
    }
    assert_eq!(rig.send(&[second]), SendOutcome::Sent);
    for _ in 0..4 {
        rig.block(10, 0).await;
    }
    let mut rig = rig.restart().await;
    let third = rig.ask().await;
    assert_eq!(rig.send(&[third]), SendOutcome::TooMuch, "110,000,000 are spent, and 210,000,000 may be");
    rig.bench.policy.send_modify(|policy| policy.max_spend_per_hour = Some(320_000_000));
    assert_eq!(rig.send(&[third]), SendOutcome::Sent, "a policy holds at once");
}

#[tokio::test(start_paused = true)]
async fn the_hours_limit_and_the_balance_count_what_bytes_cost_besides_gas() {
    let mut rig = Rig::new().await;
    rig.bench.policy.send_modify(|policy| policy.max_spend_per_hour = Some(300_000_000));
    let item = rig.ask().await;
    // 210,000,000 for gas, and as much again for some 160 bytes.
    rig.transactions.data_fee.per_byte = 1_300_000;
    assert_eq!(rig.send(&[item]), SendOutcome::TooMuch);
    rig.bench.policy.send_modify(|policy| policy.max_spend_per_hour = None);
    rig.queue().balance = U256::from(300_000_000u64);
    assert_eq!(rig.send(&[item]), SendOutcome::Later, "the key could not pay for it");
    rig.chain().set_balance(U256::from(3_000_000_000u64));
    rig.seconds(1).await;
    assert!(!rig.transactions.is_funded(), "630,000,000 for gas and 2,600,000,000 for bytes");
    rig.chain().set_balance(U256::from(3_300_000_000u64));
    rig.seconds(1).await;
    assert!(rig.transactions.is_funded());
    rig.transactions.data_fee.per_byte = 0;
    assert_eq!(rig.send(&[item]), SendOutcome::Sent);
    rig.transactions.data_fee.per_byte = 1_300_000;
    assert!(rig.queue().committed(1_300_000) > U256::from(300_000_000u64), "in flight, too");
}

#[tokio::test(start_paused = true)]
async fn the_balance_of_a_key_is_a_metric_from_the_start() {
    let bench = Bench::new();
    bench.node.chain.set_balance(U256::from(12_345u64));
    let rig = Rig::with(bench, 1).await;
    let (mut registry, mut page) = (prometheus_client::registry::Registry::default(), String::new());
    rig.bench.node.metrics.register(&mut registry);
    prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
    let line = format!("balance_wei{{sender=\"{}\"}} 12345.0", rig.keys[0].address());
    assert!(page.contains(&line), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_rewind_of_other_blocks_leaves_a_mined_transaction_mined_in_the_end() {
    let mut rig = Rig::new().await;
    let item = rig.answer().await;
    rig.block(10, 0).await;
    rig.reorg_epoch += 1;
    rig.head().await;
    assert!(rig.tracked()[0].mined.is_some());
    assert_eq!((rig.state(&item), rig.chain().distinct().len()), ("included", 1));
    assert_eq!(rig.chain().nonce(rig.keys[0].address(), At::Latest).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_asks_for_bytes_besides_gas_has_them_in_its_price() {
    let bench = Bench::new();
    let (call, per_byte) = (data_fee::sample_call(), 7u64);
    let answer = alloy::sol_types::SolValue::abi_encode(&U256::from(per_byte * 1_000 - 1));
    bench.node.chain.view(call.to_vec(), answer);
    let rig = Rig::with(bench, 1).await;
    let price = rig.bench.node.price.borrow().unwrap();
    assert_eq!((price.gas, price.byte), (1_100, u128::from(per_byte)));
}

#[tokio::test(start_paused = true)]
async fn a_low_balance_is_told_once_until_there_is_money_again() {
    let mut rig = Rig::new().await;
    let alert = 5_000_000_000u64;
    rig.bench.policy.send_modify(|policy| policy.balance_alert = u128::from(alert));
    rig.answer().await;
    rig.chain().set_balance(U256::from(alert - 1));
    rig.seconds(2).await;
    assert!(rig.queue().low_balance_reported);
    rig.chain().set_balance(U256::from(alert));
    rig.seconds(2).await;
    assert!(!rig.queue().low_balance_reported);
}

#[tokio::test(start_paused = true)]
async fn a_nonce_read_far_too_high_once_costs_nothing_when_it_is_read_right_again() {
    let mut rig = Rig::new().await;
    for wrong in [1_000_000_000_000, u64::MAX] {
        rig.chain().set_nonces(wrong, wrong);
        rig.head().await;
        rig.seconds(2).await;
        rig.chain().set_nonces(0, 0);
        for _ in 0..8 {
            rig.head().await;
            rig.seconds(10).await;
        }
        assert!(rig.chain().sent().is_empty(), "after {wrong}");
    }
    rig.answer().await;
    assert_eq!(rig.last_sent().nonce(), 0);
}
