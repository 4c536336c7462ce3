//! Keys that everybody knows: Anvil's first two accounts, and nodes' keys that anybody can compute.

use std::sync::Arc;

use alloy::{
    primitives::{B256, b256, keccak256},
    signers::local::PrivateKeySigner,
};

use crate::keys::Keys;

const DEPLOYER: B256 = b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
const USER: B256 = b256!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d");

/// Anvil's first account: deploys, and owns the deployment.
pub fn deployer() -> PrivateKeySigner {
    key(DEPLOYER)
}

/// Anvil's second account: asks.
pub fn user() -> PrivateKeySigner {
    key(USER)
}

/// The keys of a development node. Node `i` has `keccak256("oraculum dev node <i> <owner|signer|sender>")`.
#[derive(Clone, Debug)]
pub struct NodeKeys {
    /// The key of the account that owns the seats and is paid.
    pub owner: PrivateKeySigner,
    /// The key that signs answers.
    pub signer: PrivateKeySigner,
    /// The key of the account that pays for gas.
    pub sender: PrivateKeySigner,
}

impl NodeKeys {
    /// The keys of the node with a number.
    pub fn new(node: usize) -> Self {
        let role = |role: &str| key(keccak256(format!("oraculum dev node {node} {role}")));
        Self { owner: role("owner"), signer: role("signer"), sender: role("sender") }
    }

    /// The keys that the running node holds: all but the owner's.
    pub fn running(&self) -> Keys {
        Keys { signer: Arc::new(self.signer.clone()), senders: vec![Arc::new(self.sender.clone())] }
    }
}

/// All but 2^-128 of hashes are keys; those that are not are hashed again.
fn key(mut secret: B256) -> PrivateKeySigner {
    loop {
        if let Ok(key) = PrivateKeySigner::from_bytes(&secret) {
            return key;
        }
        secret = keccak256(secret);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::address;

    #[test]
    fn the_deployer_makes_the_documented_coordinator_and_the_user_is_anvils_second_account() {
        assert_eq!(deployer().address().create(0), super::super::COORDINATOR);
        assert_eq!(user().address(), address!("70997970C51812dc3A010C7d01b50e0d17dc79C8"));
    }

    #[test]
    fn nodes_share_no_key() {
        let mut all: Vec<_> = (0..3)
            .map(NodeKeys::new)
            .flat_map(|keys| [keys.owner.address(), keys.signer.address(), keys.sender.address()])
            .collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 9);
    }
}
