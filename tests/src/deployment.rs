//! A coordinator on an automining Anvil with one node, driven by hand: every transaction is the test's own, so that gas
//! and faults can be measured one at a time.

use alloy::{
    network::EthereumWallet,
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::{Filter, Log, TransactionReceipt, TransactionRequest},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{SolCall, SolEvent, SolValue},
};
use oraculum::protocol::{
    Outcome,
    statement::{Domain, Statement, output_commitment},
};
use serde_json::Value;

use crate::{
    Res,
    abi::InferenceCoordinator::{
        self, Agreement, Attestation, Fulfillment, InferenceCoordinatorInstance, ModelCard, Parameters, Request,
        Requested, Result as Answered, SeatJoined, fulfillCall,
    },
};

/// Anvil's well-known keys. 0 deploys and asks; 1 to 3 own nodes, 4 to 6 pay for their gas; 7 is the benchmarks' floor.
pub const KEYS: [&str; 8] = [
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "0x92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "0x4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
];

/// The account of one of `KEYS`.
///
/// # Errors
/// If that key does not parse.
pub fn account(index: usize) -> Res<PrivateKeySigner> {
    Ok(KEYS[index].parse()?)
}

/// The shortest parameters within the bounds: those of a development chain, with a window of one block.
///
/// # Errors
/// If the two generated types differ.
pub fn parameters() -> Res<Parameters> {
    let dev = Parameters::abi_decode(&oraculum::dev::parameters().abi_encode())?;
    Ok(Parameters { window: 1, ..dev })
}

/// The words of a request, of which the event tells the input's hash by the input and the model by a topic. The relayer has
/// the same over the types of its own binding, which are others to the compiler.
#[must_use]
pub fn request_of(event: &Requested) -> Request {
    Request {
        modelId: event.modelId,
        inputHash: keccak256(&event.input),
        origin: event.origin,
        escrow: event.escrow,
        payment: event.payment,
        terms: event.terms,
    }
}

/// The id of a request as it comes back as calldata.
#[must_use]
pub fn request_id(request: &Request, domain: Domain) -> B256 {
    let words = [request.modelId, request.inputHash, request.origin, request.escrow, request.payment, request.terms];
    keccak256((domain.chain_id, domain.coordinator, words).abi_encode())
}

/// A deployment: a provider that signs for `KEYS`, the coordinator, and what was registered on it.
#[derive(Debug)]
pub struct Deployment {
    /// Sends from any of `KEYS`; the first is the default.
    pub provider: DynProvider,
    /// The coordinator.
    pub coordinator: InferenceCoordinatorInstance<DynProvider>,
    /// The model of `open`.
    pub model: B256,
    /// The signing key of seat 0 of `model`.
    pub signer: PrivateKeySigner,
    /// Chain and coordinator, as signatures are bound to them.
    pub domain: Domain,
}

impl Deployment {
    /// Deploys the coordinator, on a chain that mines by itself.
    ///
    /// # Errors
    /// If the endpoint cannot be reached or a call fails.
    pub async fn deploy(url: &str) -> Res<Self> {
        let mut wallet = EthereumWallet::from(account(0)?);
        for index in 1..KEYS.len() {
            wallet.register_signer(account(index)?);
        }
        // A cached nonce would not survive a reorganisation.
        let provider = ProviderBuilder::default()
            .with_simple_nonce_management()
            .with_gas_estimation()
            .fetch_chain_id()
            .wallet(wallet)
            .connect(url)
            .await?
            .erased();
        // Blocks are often mined at once here: the default pace of asking for receipts is made for real chains.
        provider.client().set_poll_interval(std::time::Duration::from_millis(20));
        let coordinator = InferenceCoordinator::deploy(provider.clone(), account(0)?.address(), parameters()?).await?;
        let domain = Domain { chain_id: provider.get_chain_id().await?, coordinator: *coordinator.address() };
        Ok(Self { provider, coordinator, model: B256::ZERO, signer: PrivateKeySigner::random(), domain })
    }

    /// Deploys the coordinator with one model of no file and an activated seat of `KEYS[1]`, to be answered by hand.
    ///
    /// # Errors
    /// As [`Self::deploy`], [`Self::register`] and [`Self::seat`].
    pub async fn open(url: &str) -> Res<Self> {
        let mut deployment = Self::deploy(url).await?;
        deployment.model = deployment
            .register(ModelCard {
                fileHash: keccak256("file"),
                detailsHash: keccak256("details"),
                profileHash: keccak256("profile"),
                agreement: vec![Agreement { kind: 1, atol: 10_000_000_000_000, rtol: 0, gap: 0 }],
                verifier: Address::ZERO,
                maxInputBytes: 65_536,
                maxOutputBytes: 65_536,
            })
            .await?;
        deployment.seat(1, &deployment.signer, &[deployment.model]).await?;
        Ok(deployment)
    }

    /// Registers a model.
    ///
    /// # Errors
    /// If a call fails.
    pub async fn register(&self, card: ModelCard) -> Res<B256> {
        let model = self.coordinator.registerModel(card.clone(), String::new()).call().await?;
        self.coordinator.registerModel(card, String::new()).send().await?.get_receipt().await?;
        Ok(model)
    }

    /// Makes `KEYS[owner]` a node with a signing key, and gives it an activated seat on each model.
    ///
    /// # Errors
    /// If the key does not sign, a call fails, or no seat was taken.
    pub async fn seat(&self, owner: usize, signer: &PrivateKeySigner, models: &[B256]) -> Res<()> {
        let owner = account(owner)?.address();
        let proof = signer.sign_hash_sync(&self.domain.signer_digest(owner))?.as_bytes().to_vec();
        self.coordinator
            .registerNode(signer.address(), proof.into(), String::new())
            .from(owner)
            .send()
            .await?
            .get_receipt()
            .await?;
        let mut taken = Vec::new();
        for &model in models {
            let bond = U256::from(parameters()?.seatBondGwei) * U256::from(1_000_000_000u64);
            let receipt =
                self.coordinator.joinSeat(model, u32::MAX).value(bond).from(owner).send().await?.get_receipt().await?;
            let joined = receipt.logs().iter().find_map(|log| SeatJoined::decode_log(&log.inner).ok());
            taken.push((model, joined.ok_or("no seat was taken")?.index));
        }
        self.mine(8).await?;
        for (model, index) in taken {
            self.coordinator.activateSeat(model, index).send().await?.get_receipt().await?;
        }
        Ok(())
    }

    /// Mines empty blocks.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn mine(&self, blocks: u64) -> Res<()> {
        self.provider.raw_request::<_, serde_json::Value>("anvil_mine".into(), [format!("{blocks:#x}")]).await?;
        Ok(())
    }

    /// The coordinator's logs from a height on, in order, read by pages: all of a long chain are too much for a message.
    ///
    /// # Errors
    /// If a call fails.
    pub async fn logs_from(&self, from: u64) -> Res<Vec<Log>> {
        // A message of more than 16 MiB ends a WebSocket, and benches put hundreds of requests into a block.
        const PAGE: u64 = 8;
        let head = self.provider.get_block_number().await?;
        let mut logs = Vec::new();
        for from in (from..=head).step_by(PAGE as usize) {
            let filter =
                Filter::new().address(*self.coordinator.address()).from_block(from).to_block(head.min(from + PAGE - 1));
            logs.extend(self.provider.get_logs(&filter).await?);
        }
        Ok(logs)
    }

    /// Calls a method of Anvil.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn rpc(&self, method: &'static str, params: Value) -> Res<Value> {
        Ok(self.provider.raw_request(method.into(), params).await?)
    }

    /// Sends a transaction from `KEYS[0]` and waits for its receipt, which must say success.
    ///
    /// # Errors
    /// If the call fails or the transaction reverted.
    pub async fn send(&self, to: Address, data: Bytes, value: u64) -> Res<TransactionReceipt> {
        // An estimate would find the least gas that does not revert, with which a batch skips its items.
        let transaction =
            TransactionRequest::default().to(to).input(data.into()).value(U256::from(value)).gas_limit(16_000_000);
        let receipt = self.provider.send_transaction(transaction).await?.get_receipt().await?;
        if !receipt.status() {
            return Err(format!("transaction {} reverted", receipt.transaction_hash).into());
        }
        Ok(receipt)
    }

    /// The request in a receipt's logs, with its id.
    ///
    /// # Errors
    /// If the transaction made no request.
    pub fn requested(receipt: &TransactionReceipt) -> Res<(B256, Request)> {
        let event = receipt.logs().iter().find_map(|log| Requested::decode_log(&log.inner).ok());
        let event = event.ok_or("the transaction made no request")?;
        Ok((event.requestId, request_of(&event)))
    }

    /// A signed answer to the request that a receipt holds.
    ///
    /// # Errors
    /// If the transaction made no request or is in no block, or the key does not sign.
    pub fn answer(&self, receipt: &TransactionReceipt, output: &[u8]) -> Res<Fulfillment> {
        let (id, request) = Self::requested(receipt)?;
        let statement = Statement {
            request_id: id,
            block_hash: receipt.block_hash.ok_or("not mined")?,
            input_hash: request.inputHash,
            outcome: Outcome::Ok,
            output_commitment: output_commitment(output),
            seat: 0,
        };
        let signature = statement.sign(self.domain, &self.signer)?;
        Ok(Fulfillment {
            request,
            outcome: 0,
            output: output.to_vec().into(),
            attestations: vec![Attestation { seat: 0, r: signature.r, vs: signature.vs }],
            holes: Vec::new(),
        })
    }

    /// Answers the request that a receipt holds, in a transaction of its own.
    ///
    /// # Errors
    /// As [`Self::answer`] and [`Self::send`].
    pub async fn fulfill(&self, receipt: &TransactionReceipt, output: &[u8]) -> Res<TransactionReceipt> {
        let call = fulfillCall { fulfillment: self.answer(receipt, output)? };
        self.send(*self.coordinator.address(), call.abi_encode().into(), 0).await
    }

    /// The answer to a request, as `claim` wants it.
    ///
    /// # Errors
    /// If the first transaction made no request, or the second is in no block.
    pub fn result(asked: &TransactionReceipt, answered: &TransactionReceipt, output: &[u8]) -> Res<Answered> {
        Ok(Answered {
            request: Self::requested(asked)?.1,
            outcome: 0,
            outputCommitment: output_commitment(output),
            seats: vec![0; 4].into(),
            fulfilledAt: answered.block_number.ok_or("not mined")?,
        })
    }
}
