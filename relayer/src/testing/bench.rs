//! A node over the scripted chain.

use std::{collections::HashMap, sync::Arc, time::Duration};

use alloy::{
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolValue},
};
use tokio::sync::watch;

use super::{DOMAIN, MODEL, chain::FakeChain};
use crate::{
    coordinator::abi::InferenceCoordinator as Coordinator,
    domain::{Rules, STAYS},
    journal::{Identity, SledJournal},
    node::Node,
    policy::{Policy, PriceTerms},
    pricing::FeeSettings,
    protocol::sortition::Seat,
};

/// A policy that answers everything, with fees in round numbers.
pub(crate) fn policy() -> Policy {
    Policy {
        fees: FeeSettings { max_fee_per_gas: 1_000_000, min_priority_fee: 100, bump_percent: 10 },
        terms: PriceTerms { min_pay: 0, margin_percent: -100 },
        models: HashMap::new(),
        max_spend_per_hour: None,
        balance_alert: 0,
        max_batch: 32,
        batch_wait: Duration::ZERO,
    }
}

/// A node with one seat on `MODEL`, over a scripted chain and a real journal.
pub(crate) struct Bench {
    pub(crate) node: Arc<Node<FakeChain, SledJournal>>,
    pub(crate) signer: PrivateKeySigner,
    pub(crate) policy: watch::Sender<Policy>,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(FakeChain::new()), PrivateKeySigner::random())
    }

    /// The same over a chain that there is already.
    pub(crate) fn over(chain: Arc<FakeChain>, signer: PrivateKeySigner) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = signer.address();
        let identity = Identity { chain_id: DOMAIN.chain_id, coordinator: DOMAIN.coordinator, signer: address };
        let journal = Arc::new(SledJournal::open(folder.path(), &identity).unwrap());
        chain.view(
            Coordinator::modelCall { modelId: MODEL }.abi_encode(),
            (true, 1_000u32, 1_000u32, 1u32, 1u32).abi_encode_params(),
        );
        chain.view(
            Coordinator::seatCall { modelId: MODEL, index: 0 }.abi_encode(),
            (address, 0u64, STAYS).abi_encode_params(),
        );
        chain.view(Coordinator::parameterVersionCall {}.abi_encode(), 1u16.abi_encode());
        let parameters = Coordinator::Parameters { window: 4, vesting: 10, ..Coordinator::Parameters::default() };
        chain.view(Coordinator::parametersCall { version: 1 }.abi_encode(), parameters.abi_encode());
        let (policy, reading) = watch::channel(policy());
        let node = Node::new(chain, journal, DOMAIN, address, reading, Arc::default());
        node.seats_mut().load(MODEL, vec![Seat { signer: address, from: 0, until: STAYS }]);
        node.seats_mut().set_rules(0, Rules { window: 4, vesting: 10 });
        Self { node: Arc::new(node), signer, policy, _folder: folder }
    }
}
