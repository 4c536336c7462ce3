//! Reorganisations with requests and answers inside them; some of these come back, some do not.

use std::collections::HashSet;

use alloy::{
    network::TransactionResponse,
    primitives::{Address, Bytes},
    providers::Provider,
};
use oraculum_tests::{
    Res,
    deployment::Deployment,
    invariants::{self, Fork},
};
use rand::{Rng, rngs::StdRng};
use serde_json::json;

use super::fixture::{Fixture, Over, ms};

const DEPTH: u64 = 12;
/// Requests after the last reorganisation.
const LAST: usize = 6;
/// What is passed only where the chain takes something back.
pub(crate) const CRASHES: [&str; 10] = [
    "rewound.before",
    "rewound.after",
    "unmined.before",
    "unmined.after",
    "filled.before",
    "filled.after",
    "reopened.before",
    "reopened.after",
    "adopted.before",
    "adopted.after",
];

pub(super) async fn run(mut rng: StdRng, short: bool) -> Res<String> {
    let rounds = if short { 6 } else { 100 };
    let mut fixture = Fixture::set(rng.random(), Over::WebSocket, &[("chain", "confirmations = 4")]).await?;
    // The contracts and seats themselves are out of reach.
    fixture.deployment.mine(DEPTH).await?;
    fixture.node.start().await?;
    let (mut gone, mut back, mut deaths) = (0, 0, 0);
    for round in 0..rounds {
        // In every fourth round the node dies while it deals with the reorganisation, if it gets that far.
        if round % 4 == 1 {
            fixture.node.kill().await?;
            fixture.node.start_to_crash(CRASHES[round / 4 % CRASHES.len()], 1).await?;
        }
        for _ in 0..rng.random_range(1..4) {
            fixture.consumer.post(rng.random_range(1..4)).await?;
            tokio::time::sleep(ms(rng.random_range(0..400))).await;
            fixture.deployment.mine(rng.random_range(0..3)).await?;
        }
        // A block that Anvil makes of a transaction while it unwinds its chain leaves blocks and state that do not match.
        fixture.deployment.rpc("evm_setAutomine", json!([false])).await?;
        tokio::time::sleep(ms(50)).await;
        let head = fixture.deployment.provider.get_block_number().await?;
        let depth = rng.random_range(1..=DEPTH).min(head);
        let (kept, lost) = choose(&mut rng, &fixture.deployment, head + 1 - depth..=head, depth).await?;
        back += kept.len();
        gone += lost;
        fixture.deployment.rpc("anvil_reorg", json!([depth, kept])).await?;
        fixture.deployment.rpc("evm_setAutomine", json!([true])).await?;
        // A subscriber sees it with the next block. What the node was about to send by then was signed before it knew.
        fixture.deployment.mine(1).await?;
        tokio::time::sleep(ms(250)).await;
        let signed = fixture.proxy.sent_by(fixture.node.sender).iter().map(|sent| sent.hash).collect();
        fixture.forks.push(Fork { from: head + 1 - depth, signed });
        if fixture.node.ended()? {
            deaths += 1;
            fixture.node.start().await?;
        } else if round % 4 == 2 {
            fixture.node.kill().await?;
            fixture.node.start().await?;
        }
    }
    fixture.node.kill().await?;
    fixture.node.start_up().await.map_err(|error| fixture.told(&error.to_string()))?;
    // What is asked now no reorganisation takes, and it waits behind no nonce that one took.
    fixture.deployment.rpc("anvil_dropAllTransactions", json!([])).await?;
    fixture.consumer.post(LAST).await?;
    let audited = fixture.end(LAST, 120).await?;
    Ok(format!(
        "{rounds} of depth 1 to {DEPTH}: {gone} transactions gone, {back} back; {} surviving requests answered once in {} \
         transactions, {} of them mined again in vain, through {deaths} deaths",
        audited.answered, audited.transactions, audited.excused
    ))
}

/// The transactions of some blocks that come back in the new chain, each with the index of its new block, and the number
/// of those that do not. Of one sender, none comes back behind a missing one: its nonce would not be reached.
async fn choose(
    rng: &mut StdRng,
    deployment: &Deployment,
    blocks: std::ops::RangeInclusive<u64>,
    depth: u64,
) -> Res<(Vec<(Bytes, u64)>, usize)> {
    let (mut kept, mut lost) = (Vec::new(), 0);
    let mut cut: HashSet<Address> = HashSet::new();
    let mut index = 0;
    for number in blocks {
        let block = deployment.provider.get_block(number.into()).full().await?.ok_or("no such block")?;
        for transaction in block.transactions.txns() {
            if cut.contains(&transaction.from()) || rng.random_bool(0.15) {
                cut.insert(transaction.from());
                lost += 1;
                continue;
            }
            index = rng.random_range(index..depth);
            kept.push((invariants::raw(deployment, transaction.tx_hash()).await?, index));
        }
    }
    Ok((kept, lost))
}
