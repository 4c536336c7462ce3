//! An account that reads the coordinator and sends it transactions one at a time, for people at a command line. (The
//! running node sends its own way: it persists before it sends.)

use std::{fmt, time::Duration};

use alloy::{
    consensus::BlockHeader,
    eips::{BlockId, BlockNumberOrTag, Encodable2718},
    network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder},
    primitives::{Address, B256, Bytes, TxKind, U256},
    providers::{Provider, RootProvider},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
    transports::{RpcError, TransportError},
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    chain::{ChainError, Endpoint, RootCertificates, classify, dial},
    coordinator::explain,
};

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a transaction may take to be mined.
const PATIENCE: Duration = Duration::from_secs(300);
/// Tries to mend a WebSocket that breaks meanwhile.
const RETRIES: u32 = 10;
/// A tip where the endpoint suggests none: 1 gwei.
const USUAL_TIP: u128 = 1_000_000_000;

/// Why a call or a transaction failed. The display is one line with the remedy, and shows no secret of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum AccountError {
    #[error("cannot reach {endpoint}: {reason}; check the URL, and that the node behind it runs")]
    Unreachable { endpoint: String, reason: String },
    #[error("{endpoint} is chain {actual}, not chain {expected}; correct the endpoint or the chain id")]
    WrongChain { endpoint: String, expected: u64, actual: u64 },
    #[error("there is no contract at {address} on {endpoint}; correct the coordinator's address or the endpoint")]
    NoContract { endpoint: String, address: Address },
    #[error(
        "the contract at {address} answers {call} with what no coordinator would; correct the coordinator's address"
    )]
    NotACoordinator { address: Address, call: &'static str },
    #[error("{}", explain(data))]
    Reverted { data: Bytes },
    #[error("{account} has too little ETH on {endpoint}: it holds {balance} wei; send it some")]
    InsufficientFunds { endpoint: String, account: Address, balance: U256 },
    #[error("transaction {hash} was mined, but reverted")]
    Failed { hash: B256 },
    #[error("transaction {hash} was not mined in {} s; it may still be", PATIENCE.as_secs())]
    NotMined { hash: B256 },
    #[error("{endpoint} refuses the call: {reason}")]
    Refused { endpoint: String, reason: ChainError },
    #[error("cannot sign the transaction: {0}")]
    Signing(String),
}

/// Reads a chain.
#[derive(Clone)]
pub struct Client {
    provider: RootProvider,
    endpoint: Endpoint,
    chain_id: u64,
}

impl Client {
    /// Connects, and checks the chain's id if one is expected.
    pub async fn connect(
        endpoint: Endpoint,
        expected: Option<u64>,
        trust: &RootCertificates,
    ) -> Result<Self, AccountError> {
        let unreachable = |reason: String| AccountError::Unreachable { endpoint: endpoint.to_string(), reason };
        let provider = timeout(CALL_TIMEOUT, dial(&endpoint, trust, RETRIES))
            .await
            .map_err(|_| unreachable("it did not answer in time".into()))?
            .map_err(|error| match error {
                ChainError::Unreachable { reason, .. } => unreachable(reason),
                other => unreachable(other.to_string()),
            })?;
        let mut client = Self { provider, endpoint, chain_id: 0 };
        client.chain_id = client.ask(client.provider.get_chain_id()).await?;
        match expected {
            Some(expected) if expected != client.chain_id => Err(AccountError::WrongChain {
                endpoint: client.endpoint.to_string(),
                expected,
                actual: client.chain_id,
            }),
            _ => Ok(client),
        }
    }

    /// Connects to the first of several endpoints that can be reached; the error is the last one's.
    pub async fn connect_any(
        endpoints: &[Endpoint],
        expected: Option<u64>,
        trust: &RootCertificates,
    ) -> Result<Self, AccountError> {
        let mut last = AccountError::Unreachable { endpoint: "no endpoint".into(), reason: "none is given".into() };
        for endpoint in endpoints {
            match Self::connect(endpoint.clone(), expected, trust).await {
                Err(error @ AccountError::Unreachable { .. }) => last = error,
                connected => return connected,
            }
        }
        Err(last)
    }

    /// The chain's id.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The endpoint's methods; wait for them with `ask`.
    pub fn provider(&self) -> &RootProvider {
        &self.provider
    }

    /// Waits for an answer of the endpoint, and names what went wrong.
    pub async fn ask<T>(&self, call: impl IntoFuture<Output = Result<T, TransportError>>) -> Result<T, AccountError> {
        let endpoint = || self.endpoint.to_string();
        match timeout(CALL_TIMEOUT, call.into_future()).await {
            Err(_) => {
                Err(AccountError::Unreachable { endpoint: endpoint(), reason: "it did not answer in time".into() })
            }
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let is_transport = matches!(error, RpcError::Transport(_));
                Err(match classify("a call", error, &self.endpoint) {
                    ChainError::Reverted(data) => AccountError::Reverted { data },
                    ChainError::Unreachable { endpoint, reason } => AccountError::Unreachable { endpoint, reason },
                    error if is_transport => {
                        AccountError::Unreachable { endpoint: endpoint(), reason: error.to_string() }
                    }
                    reason => AccountError::Refused { endpoint: endpoint(), reason },
                })
            }
        }
    }

    /// Calls a view of a contract.
    pub async fn read<C: SolCall>(&self, contract: Address, call: &C) -> Result<C::Return, AccountError> {
        let request = TransactionRequest::default().with_to(contract).with_input(call.abi_encode());
        let data = self.ask(self.provider.call(request)).await?;
        if data.is_empty() {
            self.expect_contract(contract).await?;
        }
        C::abi_decode_returns(&data)
            .map_err(|_| AccountError::NotACoordinator { address: contract, call: C::SIGNATURE })
    }

    /// Fails where an address has no code.
    pub async fn expect_contract(&self, address: Address) -> Result<(), AccountError> {
        let code = self.ask(self.provider.get_code_at(address)).await?;
        if code.is_empty() {
            return Err(AccountError::NoContract { endpoint: self.endpoint.to_string(), address });
        }
        Ok(())
    }

    /// The receipt of a transaction, once it is mined; an error if it reverted.
    pub async fn receipt(&self, hash: B256) -> Result<TransactionReceipt, AccountError> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(5);
        while Instant::now() < deadline {
            if let Some(receipt) = self.ask(self.provider.get_transaction_receipt(hash)).await? {
                return if receipt.status() { Ok(receipt) } else { Err(AccountError::Failed { hash }) };
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
        Err(AccountError::NotMined { hash })
    }
}

/// A key on a chain.
#[derive(Clone, Debug)]
pub struct Account {
    client: Client,
    key: PrivateKeySigner,
}

impl Account {
    /// A key on a chain.
    pub fn new(client: Client, key: PrivateKeySigner) -> Self {
        Self { client, key }
    }

    /// Its address.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// The chain.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Calls a contract, and waits until that is mined.
    pub async fn call<C: SolCall>(
        &self,
        contract: Address,
        call: &C,
        value: U256,
    ) -> Result<TransactionReceipt, AccountError> {
        let hash = self.submit(contract.into(), call.abi_encode().into(), value).await?;
        self.client.receipt(hash).await
    }

    /// Sends a transaction and does not wait. What it would revert with in the pending block is an error, and nothing
    /// is sent then.
    pub async fn submit(&self, to: TxKind, input: Bytes, value: U256) -> Result<B256, AccountError> {
        let (client, provider) = (&self.client, &self.client.provider);
        let mut request = TransactionRequest { to: Some(to), ..Default::default() };
        request = request.with_from(self.address()).with_input(input).with_value(value);
        if let TxKind::Call(contract) = to {
            client.expect_contract(contract).await?;
        }
        let gas = client.ask(provider.estimate_gas(request.clone()).block(BlockId::pending())).await;
        let gas = match gas {
            Err(AccountError::Refused { reason: ChainError::InsufficientFunds, .. }) => {
                return Err(self.insufficient().await?);
            }
            gas => gas?,
        };
        let latest = client.ask(provider.get_block_by_number(BlockNumberOrTag::Latest)).await?;
        let base_fee = latest.and_then(|block| block.header.base_fee_per_gas()).unwrap_or_default();
        let tip = client.ask(provider.get_max_priority_fee_per_gas()).await.unwrap_or(USUAL_TIP);
        let nonce = client.ask(provider.get_transaction_count(self.address()).pending()).await?;
        // Twice the base fee keeps for six full blocks; a fifth more gas covers what moves until then.
        let request = request
            .with_nonce(nonce)
            .with_chain_id(client.chain_id)
            .with_gas_limit(gas + gas / 5)
            .with_max_priority_fee_per_gas(tip)
            .with_max_fee_per_gas(2 * u128::from(base_fee) + tip);
        let signed = request
            .build(&EthereumWallet::from(self.key.clone()))
            .await
            .map_err(|error| AccountError::Signing(error.to_string()))?;
        match client.ask(provider.send_raw_transaction(&signed.encoded_2718())).await {
            Ok(_) => Ok(*signed.tx_hash()),
            Err(AccountError::Refused { reason: ChainError::InsufficientFunds, .. }) => {
                Err(self.insufficient().await?)
            }
            Err(error) => Err(error),
        }
    }

    async fn insufficient(&self) -> Result<AccountError, AccountError> {
        let account = self.address();
        let balance = self.client.ask(self.client.provider.get_balance(account)).await?;
        Ok(AccountError::InsufficientFunds { endpoint: self.client.endpoint.to_string(), account, balance })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).field("chain_id", &self.chain_id).finish()
    }
}
