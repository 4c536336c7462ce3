//! What a node asks of its endpoints, tried before it is needed.

use alloy::primitives::Address;

use super::Endpoints;
use crate::chain::{At, Call, Chain, ChainError, Finality, Lacks, LogScope};

/// Tells whether a failure says that the endpoint cannot do something, rather than that it cannot do anything now.
fn is_refusal(error: &ChainError) -> bool {
    !matches!(
        error,
        ChainError::Timeout { .. }
            | ChainError::Unreachable { .. }
            | ChainError::RateLimited(_)
            | ChainError::WrongChain { .. }
            | ChainError::Unready(_)
            | ChainError::Reverted(_)
            | ChainError::OutOfGas(_)
    )
}

impl<C: Chain> Endpoints<C> {
    /// Tries on each endpoint what a node needs of it: a call of the contract, its logs, and an account. An endpoint that does not
    /// answer at all lacks nothing.
    pub(super) async fn missing_capabilities(&self, call: &Call, account: Address, finality: Finality) -> Lacks {
        let contract = call.to.unwrap_or_default();
        let mut lacks = Lacks::default();
        let mut refusals: Vec<(&str, Vec<String>)> = Vec::new();
        for member in &self.members {
            let Ok(head) = member.head().await else { continue };
            let (chain, block) = (&member.chain, head.block);
            let tag = async {
                match finality {
                    Finality::Depth(_) => Ok(()),
                    Finality::Tag(tag) => chain.tagged(tag).await.map(drop),
                }
            };
            let tried = [
                ("eth_getTransactionCount at `latest`", member.ask(chain.nonce(account, At::Latest)).await.map(drop)),
                ("eth_getTransactionCount at `pending`", member.ask(chain.nonce(account, At::Pending)).await.map(drop)),
                ("eth_call at `pending`", member.ask(chain.call(call, At::Pending)).await.map(drop)),
                (
                    "eth_getLogs by the hash of a block",
                    member.ask(chain.logs(contract, LogScope::Block(block.hash))).await.map(drop),
                ),
                (
                    "eth_getLogs by height",
                    member.ask(chain.logs(contract, LogScope::Range(block.number, block.number))).await.map(drop),
                ),
                ("eth_getBalance", member.ask(chain.balance(account)).await.map(drop)),
                ("the tag of `chain.finality`", member.ask(tag).await),
            ];
            for (what, result) in tried {
                let Err(error) = result else { continue };
                if !is_refusal(&error) {
                    continue;
                }
                let line = format!("{} refuses {what}: {error}", member.name);
                match refusals.iter_mut().find(|(known, _)| *known == what) {
                    Some((_, lines)) => lines.push(line),
                    None => refusals.push((what, vec![line])),
                }
            }
        }
        for (_, lines) in refusals {
            let enough = self.members.len() - lines.len() >= self.settings.quorum.max(1);
            if enough { lacks.some.extend(lines) } else { lacks.all.extend(lines) }
        }
        lacks
    }
}
