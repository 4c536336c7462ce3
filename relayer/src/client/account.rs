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
    text::eth,
};

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a transaction may take to be mined.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(300);
/// Tries to mend a WebSocket that breaks meanwhile.
const RECONNECT_TRIES: u32 = 10;
/// The priority fee where the endpoint suggests none, wei per gas: 1 gwei.
const FALLBACK_PRIORITY_FEE: u128 = 1_000_000_000;

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
    #[error(
        "{account} has too little ETH on {endpoint}: it holds {} ETH, and the transaction needs {}its gas; send it more",
        eth(U256::from(*balance)), amount_and(*value)
    )]
    InsufficientFunds { endpoint: String, account: Address, balance: u128, value: u128 },
    #[error("transaction {hash} was mined, but reverted")]
    Failed { hash: B256 },
    #[error("transaction {hash} was not mined in {} s; it may still be", RECEIPT_TIMEOUT.as_secs())]
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
    /// Connects to an endpoint, and checks the chain's id if one is expected.
    ///
    /// # Errors
    /// `Unreachable`, `Refused` or `WrongChain`.
    pub async fn connect(
        endpoint: Endpoint,
        expected: Option<u64>,
        trust: &RootCertificates,
    ) -> Result<Self, AccountError> {
        let unreachable = |reason: String| AccountError::Unreachable { endpoint: endpoint.to_string(), reason };
        let provider = timeout(CALL_TIMEOUT, dial(&endpoint, trust, RECONNECT_TRIES))
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

    /// Connects to the first of several endpoints that can be reached.
    ///
    /// # Errors
    /// `Unreachable` of the last endpoint; of the first that can be reached, `Refused` or `WrongChain`.
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

    /// The chain's id, as the endpoint gave it.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The endpoint that answers.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The endpoint's methods; [`Client::ask`] waits for them.
    pub fn provider(&self) -> &RootProvider {
        &self.provider
    }

    /// Waits for an answer of the endpoint.
    ///
    /// # Errors
    /// `Unreachable`, also where no answer comes in time; `Reverted` for a call that reverts; `Refused` for all else.
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

    /// Calls a view of a contract, at the latest block.
    ///
    /// # Errors
    /// Those of [`Client::ask`]; `NoContract`, or `NotACoordinator` where the answer cannot be decoded.
    pub async fn read<C: SolCall>(&self, contract: Address, call: &C) -> Result<C::Return, AccountError> {
        let request = TransactionRequest::default().with_to(contract).with_input(call.abi_encode());
        let data = self.ask(self.provider.call(request)).await?;
        if data.is_empty() {
            self.expect_contract(contract).await?;
        }
        C::abi_decode_returns(&data)
            .map_err(|_| AccountError::NotACoordinator { address: contract, call: C::SIGNATURE })
    }

    /// Checks that there is code at an address.
    ///
    /// # Errors
    /// `NoContract`, or those of [`Client::ask`].
    pub async fn expect_contract(&self, address: Address) -> Result<(), AccountError> {
        let code = self.ask(self.provider.get_code_at(address)).await?;
        if code.is_empty() {
            return Err(AccountError::NoContract { endpoint: self.endpoint.to_string(), address });
        }
        Ok(())
    }

    /// Waits for the receipt of a transaction.
    ///
    /// # Errors
    /// `Failed` if it reverted, `NotMined` if it takes too long, or those of [`Client::ask`].
    pub async fn receipt(&self, hash: B256) -> Result<TransactionReceipt, AccountError> {
        let deadline = Instant::now() + RECEIPT_TIMEOUT;
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

/// An account on a chain, with its key. It sends one transaction at a time.
#[derive(Clone, Debug)]
pub struct Account {
    client: Client,
    key: PrivateKeySigner,
}

impl Account {
    /// An account that signs with a key.
    pub fn new(client: Client, key: PrivateKeySigner) -> Self {
        Self { client, key }
    }

    /// The address of the account.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// The chain that the account is on.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Calls a contract with `value` wei, and waits until that is mined.
    ///
    /// # Errors
    /// Those of [`Account::submit`] and [`Client::receipt`].
    pub async fn call<C: SolCall>(
        &self,
        contract: Address,
        call: &C,
        value: U256,
    ) -> Result<TransactionReceipt, AccountError> {
        let hash = self.submit(contract.into(), call.abi_encode().into(), value).await?;
        self.client.receipt(hash).await
    }

    /// Sends a transaction with `value` wei, and returns its hash without waiting.
    ///
    /// # Errors
    /// `Reverted` with what it would revert with in the pending block, `NoContract` or `InsufficientFunds`: nothing is sent
    /// then. `Signing`, or those of [`Client::ask`].
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
                return Err(self.insufficient(value).await?);
            }
            gas => gas?,
        };
        let latest = client.ask(provider.get_block_by_number(BlockNumberOrTag::Latest)).await?;
        let base_fee = latest.and_then(|block| block.header.base_fee_per_gas()).unwrap_or_default();
        let priority_fee = client.ask(provider.get_max_priority_fee_per_gas()).await.unwrap_or(FALLBACK_PRIORITY_FEE);
        let nonce = client.ask(provider.get_transaction_count(self.address()).pending()).await?;
        // Twice the base fee keeps for six full blocks; a fifth more gas covers what moves until then.
        let request = request
            .with_nonce(nonce)
            .with_chain_id(client.chain_id)
            .with_gas_limit(gas + gas / 5)
            .with_max_priority_fee_per_gas(priority_fee)
            .with_max_fee_per_gas(2 * u128::from(base_fee) + priority_fee);
        let signed = request
            .build(&EthereumWallet::from(self.key.clone()))
            .await
            .map_err(|error| AccountError::Signing(error.to_string()))?;
        match client.ask(provider.send_raw_transaction(&signed.encoded_2718())).await {
            Ok(_) => Ok(*signed.tx_hash()),
            Err(AccountError::Refused { reason: ChainError::InsufficientFunds, .. }) => {
                Err(self.insufficient(value).await?)
            }
            Err(error) => Err(error),
        }
    }

    async fn insufficient(&self, value: U256) -> Result<AccountError, AccountError> {
        let account = self.address();
        let balance = self.client.ask(self.client.provider.get_balance(account)).await?.saturating_to();
        let value = value.saturating_to();
        Ok(AccountError::InsufficientFunds { endpoint: self.client.endpoint.to_string(), account, balance, value })
    }
}

/// `1 ETH and `, or nothing for no amount.
fn amount_and(wei: u128) -> String {
    if wei == 0 { String::new() } else { format!("{} ETH and ", eth(U256::from(wei))) }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).field("chain_id", &self.chain_id).finish()
    }
}
