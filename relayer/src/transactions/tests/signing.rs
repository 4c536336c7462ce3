//! Signers that are slow or fail: what is not signed is never in the journal, and what is not in the journal is never sent.

use super::*;
use crate::testing::RemoteSigner;

const DELAY: Duration = Duration::from_secs(2);

fn remote() -> Arc<RemoteSigner> {
    Arc::new(RemoteSigner::new(PrivateKeySigner::random()))
}

/// A node whose only key is a service's.
async fn rig() -> (Rig, Arc<RemoteSigner>) {
    let (bench, signer) = (Bench::new(), remote());
    bench.node.chain.keep_a_pool();
    (Rig::on(bench, vec![signer.clone()]).await, signer)
}

fn unavailable() -> Option<SignError> {
    Some(SignError::Unavailable("test".into()))
}

/// A node with an answer that is being signed.
async fn rig_that_signs() -> (Rig, Arc<RemoteSigner>, AnswerRef, TxId) {
    let (mut rig, signer) = rig().await;
    let item = rig.ask().await;
    signer.answer_after(DELAY);
    let id = rig.queue().id(0);
    assert_eq!(rig.send(&[item]), SendOutcome::Signing(id));
    (rig, signer, item, id)
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_signer_has_not_signed_is_not_sent_and_then_it_is() {
    let (mut rig, _, item, id) = rig_that_signs().await;
    rig.seconds(1).await;
    assert_eq!((rig.state(&item), rig.tracked().len(), rig.chain().sent().len()), ("seen", 0, 0));
    assert_eq!((rig.in_flight(), rig.transactions.take_resolved().len()), (1, 0));
    rig.seconds(1).await;
    assert_eq!(rig.transactions.take_resolved(), [(id, SendOutcome::Sent)]);
    assert_eq!((rig.state(&item), rig.tracked().len(), nonces(&rig.chain().sent())), ("sent", 1, vec![0]));
    rig.block(10, 0).await;
    assert_eq!(rig.state(&item), "included");
}

#[tokio::test(start_paused = true)]
async fn a_slow_signer_signs_many_at_once_under_nonces_in_a_row() {
    let (mut rig, signer) = rig().await;
    signer.answer_after(DELAY);
    for _ in 0..5 {
        let item = rig.ask().await;
        assert!(matches!(rig.send(&[item]), SendOutcome::Signing(_)));
    }
    rig.seconds(2).await;
    let mut sent = nonces(&rig.chain().sent());
    sent.sort_unstable();
    assert_eq!(sent, [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_a_transaction_is_signed_loses_nothing_and_its_nonce_is_free() {
    let (rig, signer, item, _) = rig_that_signs().await;
    let mut rig = rig.restart().await;
    assert_eq!((rig.state(&item), rig.tracked().len()), ("seen", 0));
    signer.answer_after(Duration::ZERO);
    assert_eq!(rig.send(&[item]), SendOutcome::Sent);
    assert_eq!(nonces(&rig.chain().sent()), [0]);
    rig.seconds(30).await;
    assert_eq!(rig.chain().distinct().len(), 1, "what the other process had signed never left it");
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_a_replacement_is_signed_leaves_the_attempt_before_it() {
    let (mut rig, signer) = rig().await;
    rig.answer().await;
    signer.answer_after(DELAY);
    assert!(matches!(rig.raise(0), SendOutcome::Signing(_)));
    let rig = rig.restart().await;
    assert_eq!((rig.tracked()[0].attempts.len(), rig.chain().distinct().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_signer_that_fails_holds_up_its_own_key_alone() {
    let bench = Bench::new();
    bench.node.chain.keep_a_pool();
    let (failing, working) = (remote(), remote());
    failing.fail(unavailable());
    let mut rig = Rig::on(bench, vec![failing.clone(), working.clone()]).await;
    for _ in 0..10 {
        let item = rig.ask().await;
        while rig.send(&[item]) != SendOutcome::Sent {}
    }
    assert!(rig.tracked().iter().all(|tracked| tracked.sender == working.address()));
    assert_eq!(failing.calls(), 1, "it is left alone");
    failing.fail(None);
    rig.seconds(2).await;
    rig.answer().await;
    assert!(rig.tracked().iter().any(|tracked| tracked.sender == failing.address()));
}

#[tokio::test(start_paused = true)]
async fn a_signer_that_fails_frees_its_nonces_and_nothing_fills_them() {
    let (mut rig, signer) = rig().await;
    signer.answer_after(DELAY);
    signer.fail(unavailable());
    let items = [rig.ask().await, rig.ask().await];
    for item in items {
        assert!(matches!(rig.send(&[item]), SendOutcome::Signing(_)));
    }
    rig.seconds(2).await;
    let resolved = rig.transactions.take_resolved();
    assert!(resolved.len() == 2 && resolved.iter().all(|(_, outcome)| *outcome == SendOutcome::Later));
    assert!(!rig.transactions.has_room(), "it is left alone for a while");
    assert_eq!(rig.send(&items[..1]), SendOutcome::Later);
    signer.answer_after(Duration::ZERO);
    signer.fail(None);
    rig.seconds(30).await;
    assert_eq!(signer.calls(), 2, "nothing is to be signed");
    for item in items {
        assert_eq!(rig.send(&[item]), SendOutcome::Sent);
    }
    assert_eq!(nonces(&rig.chain().sent()), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_nonce_of_what_could_not_be_signed_goes_to_the_next_transaction() {
    let (mut rig, signer) = rig().await;
    signer.answer_after(DELAY);
    signer.fail(unavailable());
    let first = rig.ask().await;
    rig.send(&[first]);
    signer.fail(None);
    let second = rig.ask().await;
    rig.send(&[second]);
    rig.seconds(2).await;
    assert_eq!((rig.state(&first), rig.state(&second)), ("seen", "sent"));
    rig.seconds(2).await;
    signer.answer_after(Duration::ZERO);
    assert_eq!(rig.send(&[first]), SendOutcome::Sent);
    assert_eq!(rig.last_sent().nonce(), 0);
    assert_eq!(nonces(&rig.block(10, 0).await), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_by_others_while_it_is_signed_is_not_sent() {
    let (mut rig, _, item, id) = rig_that_signs().await;
    let at = rig.chain().head().await.unwrap().block;
    rig.journal().commit(&Batch { moves: vec![(item.id, settled(at, None, false))], ..Batch::default() }).unwrap();
    rig.seconds(2).await;
    assert_eq!(rig.transactions.take_resolved(), [(id, SendOutcome::Refused(item.id))]);
    rig.seconds(20).await;
    assert!(rig.tracked().is_empty() && rig.chain().sent().is_empty() && rig.in_flight() == 0);
}

#[tokio::test(start_paused = true)]
async fn a_replacement_whose_nonce_is_used_before_it_is_signed_is_dropped() {
    let (mut rig, signer) = rig().await;
    let item = rig.answer().await;
    signer.answer_after(DELAY);
    let SendOutcome::Signing(id) = rig.raise(0) else { panic!("a slow signer") };
    rig.block(10, 0).await;
    assert_eq!(rig.transactions.take_resolved(), [(id, SendOutcome::Later)]);
    rig.seconds(5).await;
    assert!(rig.transactions.take_resolved().is_empty());
    assert_eq!((rig.state(&item), rig.tracked()[0].attempts.len()), ("included", 1));
    assert_eq!(rig.chain().distinct().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_transaction_is_broadcast_again_while_its_signer_fails_and_raised_afterwards() {
    let (mut rig, signer) = rig().await;
    rig.answer().await;
    signer.fail(unavailable());
    for _ in 0..8 {
        rig.block(0, 5).await;
    }
    assert_eq!((rig.tracked()[0].attempts.len(), rig.chain().distinct().len()), (1, 1));
    assert!(rig.chain().sent().len() > 5 && signer.calls() < 8, "{} calls", signer.calls());
    signer.fail(None);
    for _ in 0..8 {
        rig.block(0, 5).await;
    }
    assert!(rig.tracked()[0].attempts.len() > 1);
}

#[tokio::test(start_paused = true)]
async fn a_nonce_is_signed_for_one_replacement_at_a_time() {
    let (mut rig, signer) = rig().await;
    rig.answer().await;
    signer.answer_after(DELAY);
    assert!(matches!(rig.raise(0), SendOutcome::Signing(_)));
    assert_eq!(rig.raise(0), SendOutcome::Later);
    rig.seconds(2).await;
    assert_eq!((rig.tracked()[0].attempts.len(), signer.calls()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_being_signed_counts_as_carried_and_as_spent() {
    let (mut rig, signer) = rig().await;
    rig.bench.policy.send_modify(|policy| policy.max_spend_per_hour = Some(300_000_000));
    let (item, other) = (rig.ask().await, rig.ask().await);
    signer.answer_after(DELAY);
    assert!(matches!(rig.send(&[item]), SendOutcome::Signing(_)));
    assert_eq!(rig.send(&[item]), SendOutcome::Refused(item.id));
    assert_eq!(rig.send(&[other]), SendOutcome::TooMuch, "the first may cost 210,000,000");
    rig.bench.policy.send_modify(|policy| policy.max_spend_per_hour = None);
    let claim = TxCandidate { purpose: Purpose::Claim { ids: vec![other.id] }, ..Rig::candidate(&[]) };
    assert!(matches!(rig.transactions.send(claim).unwrap(), SendOutcome::Signing(_)));
    assert!(rig.transactions.claims(other.id) && !rig.transactions.claims(item.id));
}

#[tokio::test(start_paused = true)]
async fn a_signer_that_refuses_for_good_ends_the_stage() {
    let (mut rig, signer) = rig().await;
    signer.fail(Some(SignError::Denied("test".into())));
    let item = rig.ask().await;
    let ended = rig.transactions.send(Rig::candidate(&[item])).unwrap_err();
    assert!(matches!(&ended, StageError::Signer(SignError::Denied(_))) && ended.is_lasting());
}
