//! The EVM that blocks are executed in, and the state that all lives begin with: a coordinator with a model, two nodes with
//! a seat each, and a consumer.

use std::sync::OnceLock;

use alloy::{
    primitives::{Address, B256, Bytes, TxKind, U256, address, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{SolCall, SolConstructor},
};
use oraculum::{coordinator::abi::InferenceCoordinator as Coordinator, protocol::statement::Domain};
use revm::{
    Context, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext,
    context::{BlockEnv, CfgEnv, TxEnv, result::ExecutionResult},
    database::{CacheDB, EmptyDB},
    primitives::hardfork::SpecId,
    state::AccountInfo,
};

use crate::abi::BenchConsumer;

/// State after a block.
pub(crate) type State = CacheDB<EmptyDB>;

pub(crate) const CHAIN_ID: u64 = 31_337;
/// Gas of a block.
pub(crate) const BLOCK_GAS: u64 = 30_000_000;
/// Number of nodes that have a seat.
pub(crate) const NODES: usize = 2;
/// Base fee of the first blocks, wei.
pub(crate) const BASE_FEE: u128 = 1_000_000_000;
/// The account that asks.
pub(crate) const ASKER: Address = address!("0x00000000000000000000000000000000000a5c01");
/// The account that deploys and pays for what a life begins with.
const OWNER: Address = address!("0x0000000000000000000000000000000000000d01");
/// Height at which lives begin.
const SETUP_BLOCKS: u64 = 24;

/// A block that transactions are executed in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockContext {
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) base_fee: u128,
}

/// A key that is the same in every life.
pub(crate) fn key(name: &str, index: usize) -> PrivateKeySigner {
    // A hash is no valid key once in 2^128.
    PrivateKeySigner::from_bytes(&keccak256(format!("{name} {index}"))).unwrap_or_else(|_| PrivateKeySigner::random())
}

fn config(of_call: bool) -> CfgEnv {
    let mut config = CfgEnv::new_with_spec(SpecId::PRAGUE).with_chain_id(CHAIN_ID);
    config.disable_nonce_check = of_call;
    config.disable_balance_check = of_call;
    config.disable_base_fee = of_call;
    config.disable_eip3607 = of_call;
    config
}

fn environment(block: BlockContext) -> BlockEnv {
    BlockEnv {
        number: U256::from(block.number),
        timestamp: U256::from(block.timestamp),
        gas_limit: BLOCK_GAS,
        basefee: u64::try_from(block.base_fee).unwrap_or(u64::MAX),
        prevrandao: Some(B256::ZERO),
        ..BlockEnv::default()
    }
}

/// Executes a transaction and keeps what it does; `None` where it is invalid in this block.
pub(crate) fn execute(state: &mut State, block: BlockContext, transaction: TxEnv) -> Option<ExecutionResult> {
    let context = Context::mainnet().with_db(state).with_cfg(config(false)).with_block(environment(block));
    context.build_mainnet().transact_commit(transaction).ok()
}

/// Makes a call, and keeps nothing.
pub(crate) fn call(state: &mut State, block: BlockContext, transaction: TxEnv) -> Option<ExecutionResult> {
    let context = Context::mainnet().with_db(state).with_cfg(config(true)).with_block(environment(block));
    context.build_mainnet().transact(transaction).ok().map(|result| result.result)
}

/// What all lives begin with.
pub(crate) struct Genesis {
    pub(crate) state: State,
    /// The last block of the setup.
    pub(crate) block: BlockContext,
    pub(crate) hash: B256,
    pub(crate) domain: Domain,
    pub(crate) model: B256,
    pub(crate) consumer: Address,
}

impl Genesis {
    /// The one of this process.
    pub(crate) fn get() -> &'static Self {
        static GENESIS: OnceLock<Genesis> = OnceLock::new();
        GENESIS.get_or_init(Self::build)
    }

    #[allow(clippy::panic)] // nothing can be simulated over contracts that cannot be deployed
    fn build() -> Self {
        let rich = AccountInfo { balance: U256::from(10u64).pow(U256::from(22)), ..AccountInfo::default() };
        let mut state = State::default();
        for account in [OWNER, ASKER] {
            state.insert_account_info(account, rich.clone());
        }
        for node in 0..NODES {
            state.insert_account_info(key("owner", node).address(), rich.clone());
            state.insert_account_info(key("sender", node).address(), rich.clone());
        }
        let mut setup = Setup { state, block: BlockContext { number: 1, timestamp: 1, base_fee: 0 } };
        let dev = oraculum::dev::parameters();
        let parameters = Coordinator::Parameters { window: 4, activationDelay: 8, ..dev };
        let bond = U256::from(parameters.seatBondGwei) * U256::from(1_000_000_000u64);
        let arguments = Coordinator::constructorCall { firstOwner: OWNER, first: parameters }.abi_encode();
        let coordinator = setup.create([Coordinator::BYTECODE.as_ref(), &arguments].concat());
        let domain = Domain { chain_id: CHAIN_ID, coordinator };
        let card = Coordinator::ModelCard {
            fileHash: keccak256("file"),
            detailsHash: keccak256("details"),
            profileHash: keccak256("profile"),
            agreement: vec![Coordinator::Agreement { kind: 1, atol: 10_000_000_000_000, rtol: 0, gap: 0 }],
            verifier: Address::ZERO,
            maxInputBytes: 65_536,
            maxOutputBytes: 65_536,
        };
        let register = Coordinator::registerModelCall { card, hint: String::new() };
        let returned = setup.call(OWNER, coordinator, register.abi_encode(), U256::ZERO);
        let model =
            B256::try_from(returned.as_ref()).unwrap_or_else(|_| panic!("registerModel returns the model's id"));
        for node in 0..NODES {
            let (owner, signer) = (key("owner", node).address(), key("signer", node));
            let proof = signer.sign_hash_sync(&domain.signer_digest(owner)).map(|proof| proof.as_bytes().to_vec());
            let proof = proof.unwrap_or_else(|error| panic!("a local key signs: {error}"));
            let register =
                Coordinator::registerNodeCall { signer: signer.address(), signature: proof.into(), uri: String::new() };
            setup.call(owner, coordinator, register.abi_encode(), U256::ZERO);
            let join = Coordinator::joinSeatCall { modelId: model, expectedIndex: u32::MAX };
            setup.call(owner, coordinator, join.abi_encode(), bond);
        }
        let arguments = BenchConsumer::constructorCall { coordinator_: coordinator, modelId_: model }.abi_encode();
        let consumer = setup.create([BenchConsumer::BYTECODE.as_ref(), &arguments].concat());
        for number in 2..=SETUP_BLOCKS {
            setup.state.cache.block_hashes.insert(U256::from(number - 1), keccak256(number.to_be_bytes()));
            setup.block = BlockContext { number, timestamp: number, base_fee: 0 };
            if number == SETUP_BLOCKS - 1 {
                for index in 0..NODES as u32 {
                    let activate = Coordinator::activateSeatCall { modelId: model, index };
                    setup.call(OWNER, coordinator, activate.abi_encode(), U256::ZERO);
                }
            }
        }
        let block = BlockContext { base_fee: BASE_FEE, ..setup.block };
        Self { state: setup.state, block, hash: keccak256("genesis"), domain, model, consumer }
    }
}

/// The transactions before a life.
struct Setup {
    state: State,
    block: BlockContext,
}

impl Setup {
    #[allow(clippy::panic)] // see `build`
    fn transact(&mut self, from: Address, kind: TxKind, data: Vec<u8>, value: U256) -> ExecutionResult {
        let nonce = self.state.cache.accounts.get(&from).map_or(0, |account| account.info.nonce);
        let transaction = TxEnv {
            caller: from,
            gas_limit: 16_000_000,
            kind,
            value,
            data: data.into(),
            nonce,
            chain_id: Some(CHAIN_ID),
            ..TxEnv::default()
        };
        match execute(&mut self.state, self.block, transaction) {
            Some(result) if result.is_success() => result,
            other => panic!("a transaction of the setup failed: {other:?}"),
        }
    }

    fn call(&mut self, from: Address, to: Address, data: Vec<u8>, value: U256) -> Bytes {
        self.transact(from, TxKind::Call(to), data, value).into_output().unwrap_or_default()
    }

    #[allow(clippy::panic)] // see `build`
    fn create(&mut self, code: Vec<u8>) -> Address {
        let result = self.transact(OWNER, TxKind::Create, code, U256::ZERO);
        result.created_address().unwrap_or_else(|| panic!("a creation has an address"))
    }
}
