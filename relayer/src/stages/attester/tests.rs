use std::time::Duration;

use alloy::{primitives::Bytes, signers::local::PrivateKeySigner};

use super::*;
use crate::{
    domain::{Lease, Seen},
    journal::memory::{Crash, MemoryJournal},
    protocol::Outcome,
    testing::{Bench, DOMAIN, RemoteSigner, block, chain::FakeChain, input, policy, task},
};

fn executed(nonce: u64) -> Executed {
    Seen { task: task(nonce) }.executed(Outcome::Ok, Bytes::from_static(b"output"), 0)
}

struct Rig {
    _bench: Bench,
    signer: Arc<RemoteSigner>,
    executed: mpsc::Sender<Executed>,
    attested: mpsc::Receiver<Attested>,
    running: tokio::task::JoinHandle<Result<(), StageError>>,
    shutdown: CancellationToken,
}

impl Rig {
    fn start() -> Self {
        let bench = Bench::new();
        let signer = Arc::new(RemoteSigner::new(bench.signer.clone()));
        let (executed, executed_in) = mpsc::channel(100);
        let (out, attested) = mpsc::channel(100);
        let shutdown = CancellationToken::new();
        let attester = Attester::new(bench.node.clone(), signer.clone(), executed_in, out);
        let running = tokio::spawn(attester.run(shutdown.clone()));
        Self { _bench: bench, signer, executed, attested, running, shutdown }
    }

    async fn answers(&mut self, count: usize) {
        for _ in 0..count {
            let answer = self.attested.recv().await.unwrap();
            let Attested { task, outcome, output, seat, signature, lease } = answer;
            let statement = Executed { task, outcome, output, seat, lease }.statement();
            let recovered = signature.recover(statement.digest(DOMAIN));
            assert_eq!(recovered, Some(self.signer.address()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_signer_signs_many_at_once() {
    let mut rig = Rig::start();
    rig.signer.answer_after(Duration::from_millis(500));
    let began = Instant::now();
    for nonce in 0..SIGNATURES_AT_ONCE as u64 {
        rig.executed.send(executed(nonce)).await.unwrap();
    }
    rig.answers(SIGNATURES_AT_ONCE).await;
    assert_eq!(began.elapsed(), Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn what_a_signer_could_not_sign_for_a_while_is_signed_once_it_answers_again() {
    let mut rig = Rig::start();
    rig.signer.fail(Some(SignError::Unavailable("test".into())));
    for nonce in 0..3 {
        rig.executed.send(executed(nonce)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(rig.attested.try_recv().is_err() && !rig.running.is_finished());
    assert!(rig.signer.calls() < 12, "{} calls of a signer that fails", rig.signer.calls());
    rig.signer.fail(None);
    rig.answers(3).await;
    rig.shutdown.cancel();
    rig.running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_signer_that_refuses_for_good_ends_the_stage() {
    let rig = Rig::start();
    rig.signer.fail(Some(SignError::Denied("test".into())));
    rig.executed.send(executed(0)).await.unwrap();
    let ended = rig.running.await.unwrap().unwrap_err();
    assert!(matches!(&ended, StageError::Signer(SignError::Denied(_))) && ended.is_lasting(), "{ended}");
}

/// What an attester over a journal makes of one output after another, and the journal.
async fn attested(journal: MemoryJournal, outputs: &[&'static [u8]], fork: u64) -> (Vec<Vec<u8>>, MemoryJournal) {
    let signer = PrivateKeySigner::from_slice(&[7; 32]).unwrap();
    let (_policy, reading) = tokio::sync::watch::channel(policy());
    let journal = Arc::new(journal);
    let chain = Arc::new(FakeChain::new());
    let node = Node::new(chain, journal.clone(), DOMAIN, signer.address(), reading, Arc::default());
    let (executed, running) = mpsc::channel(outputs.len());
    let (out, mut signed) = mpsc::channel(outputs.len());
    let mut task = task(1);
    task.block.hash = block(fork).hash;
    for output in outputs {
        let seen = vec![(task.clone(), input(1).into())];
        journal.commit(&Batch { vanished: vec![task.id], seen, ..Batch::default() }).unwrap();
        let seen = Seen { task: task.clone() };
        let ran = seen.executed(Outcome::Ok, Bytes::from_static(output), 0).held(Lease::default());
        executed.send(ran).await.unwrap();
    }
    drop(executed);
    Attester::new(Arc::new(node), Arc::new(signer), running, out).run(CancellationToken::new()).await.unwrap();
    let mut found = Vec::new();
    while let Some(attested) = signed.recv().await {
        found.push(attested.output.to_vec());
    }
    (found, Arc::into_inner(journal).unwrap())
}

#[tokio::test]
async fn a_restart_never_signs_a_second_different_answer_to_one_request() {
    let (signed, journal) = attested(MemoryJournal::new(), &[b"first"], 1).await;
    assert_eq!(signed, [&b"first"[..]]);
    let killed = journal.crash(Crash::Killed).unwrap();
    let (signed, journal) = attested(killed, &[b"second", b"first"], 1).await;
    assert_eq!(signed, [&b"first"[..]], "the same again, and no other");
    let (signed, journal) = attested(journal, &[b"second"], 1).await;
    assert!(signed.is_empty());
    assert_eq!(journal.job(task(1).id).unwrap().unwrap().name(), "failed");
    // On another chain it is another statement.
    assert_eq!(attested(journal, &[b"second"], 9).await.0, [&b"second"[..]]);
}
