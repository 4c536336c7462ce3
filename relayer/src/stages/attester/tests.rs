use alloy::primitives::Bytes;

use super::*;
use crate::{
    domain::{Lease, Seen},
    journal::memory::{Crash, MemoryJournal},
    protocol::Outcome,
    testing::{DOMAIN, block, chain::FakeChain, input, policy, task},
};

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
        let ran = seen.executed(Outcome::Ok, Bytes::from_static(output)).held(Lease::default());
        executed.send(ran).await.unwrap();
    }
    drop(executed);
    Attester::new(Arc::new(node), signer, running, out).run(CancellationToken::new()).await.unwrap();
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
    let killed = journal.crash(Crash::Killed { writes: 0 }).unwrap();
    let (signed, journal) = attested(killed, &[b"second", b"first"], 1).await;
    assert_eq!(signed, [&b"first"[..]], "the same again, and no other");
    let (signed, journal) = attested(journal, &[b"second"], 1).await;
    assert!(signed.is_empty());
    assert_eq!(journal.job(task(1).id).unwrap().unwrap().name(), "failed");
    // On another chain it is another statement.
    assert_eq!(attested(journal, &[b"second"], 9).await.0, [&b"second"[..]]);
}
