//! The main job end to end: real contracts on a real Anvil, real models in real ONNX Runtime, nodes in processes of
//! their own.

use std::time::Duration;

use alloy::{primitives::B256, providers::Provider};
use oraculum::protocol::sortition;
use oraculum_tests::{
    Res,
    anvil::Anvil,
    consumer::{Answer, Consumer},
    deployment::Deployment,
    models,
    node::Node,
    seed,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_answered_once_and_as_onnx_runtime_would() -> Res<()> {
    let anvil = Anvil::start().await?;
    let deployment = Deployment::deploy(&anvil.local.ws_url()).await?;
    let mut consumer = Consumer::new(&deployment, &models::NAMES).await?;
    let mut node = Node::new(&deployment, &anvil.local.ws_url(), 0, &[])?;
    deployment.seat(1, &node.signer, &consumer.ids()).await?;
    // The first few are there before the node is: it finds them by backfill.
    let mut ids = consumer.ask(12).await?;
    node.start().await?;
    for _ in 0..10 {
        ids.extend(consumer.ask(20).await?);
    }
    let settled = consumer.settle(&deployment, &ids, 60).await;
    assert!(settled.is_ok(), "{:?}\n{}", settled.err(), node.log());
    assert_eq!(node.wasted(&deployment).await?, Vec::<String>::new(), "no transaction reverts or is skipped");
    assert_eq!(node.stop().await?, Some(0), "{}", node.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_and_a_lost_journal_lose_nothing_and_send_nothing_twice() -> Res<()> {
    let mut rng = StdRng::seed_from_u64(seed());
    let anvil = Anvil::start().await?;
    let deployment = Deployment::deploy(&anvil.local.ws_url()).await?;
    let mut consumer = Consumer::new(&deployment, &models::NAMES).await?;
    let mut node = Node::new(&deployment, &anvil.local.ws_url(), 0, &[])?;
    deployment.seat(1, &node.signer, &consumer.ids()).await?;
    let mut ids = Vec::new();
    for kill in 0..22 {
        node.start().await?;
        ids.extend(consumer.ask(5).await?);
        // A start takes some hundred milliseconds: some kills come before, some amid the answers, some after.
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..1_200))).await;
        ids.extend(consumer.ask(5).await?);
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..60))).await;
        node.kill().await?;
        if kill == 11 {
            node.forget()?;
        }
    }
    node.start().await?;
    let settled = consumer.settle(&deployment, &ids, 60).await;
    assert!(settled.is_ok(), "{:?}\n{}", settled.err(), node.log());
    assert_eq!(ids.len(), 220);
    assert_eq!(node.wasted(&deployment).await?, Vec::<String>::new(), "no transaction reverts or is skipped");
    assert_eq!(node.stop().await?, Some(0), "{}", node.log());
    Ok(())
}

/// The seats of a request in the order of their ranks; every seat is eligible here.
fn drawn(id: B256, answer: &Answer, seats: u32) -> Vec<u32> {
    let seed = sortition::seed(answer.asked_in, id);
    let mut seats: Vec<u32> = (0..seats).collect();
    seats.sort_by_key(|seat| sortition::rank(seed, 3, *seat));
    seats
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_share_by_sortition_and_cover_for_one_that_is_gone() -> Res<()> {
    const WINDOW: u64 = 1;
    let anvil = Anvil::with(&["--block-time", "0.5"]).await?;
    let deployment = Deployment::deploy(&anvil.local.ws_url()).await?;
    let mut consumer = Consumer::new(&deployment, &["iris"]).await?;
    let mut nodes = (0..3).map(|n| Node::new(&deployment, &anvil.local.ws_url(), n, &[])).collect::<Res<Vec<_>>>()?;
    for (n, node) in nodes.iter_mut().enumerate() {
        deployment.seat(1 + n, &node.signer, &consumer.ids()).await?;
        node.start().await?;
    }
    let logs = |nodes: &[Node]| nodes.iter().map(Node::log).collect::<Vec<_>>().join("\n--\n");
    // Until all three have started, later ranks may have to step in.
    let warm = consumer.ask(6).await?;
    consumer.settle(&deployment, &warm, 60).await?;

    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.extend(consumer.ask(10).await?);
    }
    let settled = consumer.settle(&deployment, &ids, 60).await;
    assert!(settled.is_ok(), "{:?}\n{}", settled.err(), logs(&nodes));
    let answers = settled?;
    let mut shares = [0; 3];
    for id in &ids {
        let answer = &answers[id];
        let seat = u32::from_be_bytes(answer.seats[..].try_into()?);
        let rank = drawn(*id, answer, 3).iter().position(|drawn| *drawn == seat).ok_or("no such seat")? as u64;
        let elapsed = answer.answered_at - answer.asked_at;
        assert!(rank < 1 + (elapsed - 1) / WINDOW, "rank {rank} answered {elapsed} blocks later");
        shares[seat as usize] += 1;
    }
    assert!(shares.iter().all(|share| *share > 5), "all three take part: {shares:?}");

    nodes[1].stop().await?;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.extend(consumer.ask(10).await?);
    }
    let settled = consumer.settle(&deployment, &ids, 60).await;
    assert!(settled.is_ok(), "{:?}\n{}", settled.err(), logs(&nodes));
    let answers = settled?;
    let covered = ids.iter().filter(|id| drawn(**id, &answers[*id], 3)[0] == 1).count();
    assert!(covered > 2, "some were drawn for the node that is gone: {covered}");
    for id in &ids {
        let answer = &answers[id];
        let seat = u32::from_be_bytes(answer.seats[..].try_into()?);
        assert_ne!(seat, 1, "a stopped node answers nothing");
        if drawn(*id, answer, 3)[0] == 1 {
            assert!(answer.answered_at - answer.asked_at > WINDOW, "the next rank waits for its window");
        }
    }
    for node in &nodes {
        assert_eq!(node.wasted(&deployment).await?, Vec::<String>::new(), "no transaction reverts or is skipped");
    }
    assert!(deployment.provider.get_block_number().await? > 0);
    Ok(())
}
