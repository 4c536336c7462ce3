//! Reorganisations with requests and answers inside them; some of these come back, some do not.

use std::collections::HashSet;

use alloy::{
    network::TransactionResponse,
    primitives::{Address, Bytes},
    providers::Provider,
};
use oraculum_tests::{
    Res,
    audit::{self, Fork},
    market::Market,
};
use rand::{Rng, rngs::StdRng};
use serde_json::json;

use super::stage::{Over, Stage, ms};

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
    let mut stage = Stage::set(rng.random(), Over::WebSocket, &[("chain", "confirmations = 4")]).await?;
    // The contracts and seats themselves are out of reach.
    stage.market.mine(DEPTH).await?;
    stage.node.start().await?;
    let (mut gone, mut back, mut deaths) = (0, 0, 0);
    for round in 0..rounds {
        // In every fourth round the node dies while it deals with the reorganisation, if it gets that far.
        if round % 4 == 1 {
            stage.node.kill().await?;
            stage.node.start_to_crash(CRASHES[round / 4 % CRASHES.len()], 1).await?;
        }
        for _ in 0..rng.random_range(1..4) {
            stage.asker.post(rng.random_range(1..4)).await?;
            tokio::time::sleep(ms(rng.random_range(0..400))).await;
            stage.market.mine(rng.random_range(0..3)).await?;
        }
        // A block that Anvil makes of a transaction while it unwinds its chain leaves blocks and state that do not match.
        stage.market.rpc("evm_setAutomine", json!([false])).await?;
        tokio::time::sleep(ms(50)).await;
        let head = stage.market.provider.get_block_number().await?;
        let depth = rng.random_range(1..=DEPTH).min(head);
        let (kept, lost) = choose(&mut rng, &stage.market, head + 1 - depth..=head, depth).await?;
        back += kept.len();
        gone += lost;
        stage.market.rpc("anvil_reorg", json!([depth, kept])).await?;
        stage.market.rpc("evm_setAutomine", json!([true])).await?;
        // A subscriber sees it with the next block. What the node was about to send by then was signed before it knew.
        stage.market.mine(1).await?;
        tokio::time::sleep(ms(250)).await;
        let signed = stage.proxy.sent_by(stage.node.sender).iter().map(|sent| sent.hash).collect();
        stage.forks.push(Fork { from: head + 1 - depth, signed });
        if stage.node.ended()? {
            deaths += 1;
            stage.node.start().await?;
        } else if round % 4 == 2 {
            stage.node.kill().await?;
            stage.node.start().await?;
        }
    }
    stage.node.kill().await?;
    stage.node.start_up().await.map_err(|error| stage.told(&error.to_string()))?;
    // What is asked now no reorganisation takes, and it waits behind no nonce that one took.
    stage.market.rpc("anvil_dropAllTransactions", json!([])).await?;
    stage.asker.post(LAST).await?;
    let audited = stage.end(LAST, 120).await?;
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
    market: &Market,
    blocks: std::ops::RangeInclusive<u64>,
    depth: u64,
) -> Res<(Vec<(Bytes, u64)>, usize)> {
    let (mut kept, mut lost) = (Vec::new(), 0);
    let mut cut: HashSet<Address> = HashSet::new();
    let mut index = 0;
    for number in blocks {
        let block = market.provider.get_block(number.into()).full().await?.ok_or("no such block")?;
        for transaction in block.transactions.txns() {
            if cut.contains(&transaction.from()) || rng.random_bool(0.15) {
                cut.insert(transaction.from());
                lost += 1;
                continue;
            }
            index = rng.random_range(index..depth);
            kept.push((audit::raw(market, transaction.tx_hash()).await?, index));
        }
    }
    Ok((kept, lost))
}
