//! Requests of every model with both kinds of payment, from a real consumer contract, and their answers.

use std::collections::{HashMap, HashSet};

use alloy::{
    network::Ethereum,
    primitives::{Address, B256, Bytes, U256, aliases::U96, keccak256},
    providers::{DynProvider, PendingTransactionBuilder, Provider},
    rpc::types::Log,
    sol_types::SolEvent,
};

use oraculum::protocol::answer::Announced;

use crate::{
    Res,
    abi::{
        BenchConsumer::{self, BenchConsumerInstance},
        InferenceCoordinator::{DeliveryFailed, Fulfilled, Requested, Skipped},
    },
    deployment::{Deployment, account},
    models::{self, Model},
};

const GWEI: u128 = 1_000_000_000;

/// Fee of every request, in wei.
pub const FEE: u64 = 1_000_000_000_000;

/// How many `Skipped` events are among logs.
#[must_use]
pub fn skipped(logs: &[Log]) -> usize {
    logs.iter().filter(|log| log.topic0() == Some(&Skipped::SIGNATURE_HASH)).count()
}

/// A consumer with money, and what it asked.
#[derive(Debug)]
pub struct Consumer {
    consumer: BenchConsumerInstance<DynProvider>,
    payer: Address,
    /// The models it asks.
    pub models: Vec<Model>,
    turn: usize,
}

/// An answer on the chain.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The request's block.
    pub asked_at: u64,
    /// The request's block hash.
    pub asked_in: B256,
    /// Its model.
    pub model: B256,
    /// The hash of its input.
    pub input: B256,
    /// The block of the fulfillment.
    pub answered_at: u64,
    /// The signers' seats.
    pub seats: Bytes,
    /// 0 is `Ok`.
    pub outcome: u8,
    /// The output.
    pub output: Bytes,
}

impl Consumer {
    /// Registers the models of the repository and deploys a consumer with a prepaid account.
    ///
    /// # Errors
    /// If a model's files cannot be read, the registry gives a model another id than its card, or a call fails.
    pub async fn new(deployment: &Deployment, names: &[&'static str]) -> Res<Self> {
        let models = names.iter().map(|name| models::load(name)).collect::<Res<Vec<_>>>()?;
        for model in &models {
            let id = deployment.register(model.card.clone()).await?;
            if id != model.id {
                return Err(format!("{}: the card says {}, the registry {id}", model.name, model.id).into());
            }
        }
        let consumer =
            BenchConsumer::deploy(deployment.provider.clone(), *deployment.coordinator.address(), models[0].id).await?;
        let payer = account(0)?.address();
        deployment.coordinator.deposit(payer).value(U256::from(10_000 * FEE)).send().await?.get_receipt().await?;
        deployment.coordinator.allow(*consumer.address(), U96::from(FEE)).send().await?.get_receipt().await?;
        Ok(Self { consumer, payer, models, turn: 0 })
    }

    /// The consumer's address.
    #[must_use]
    pub fn address(&self) -> Address {
        *self.consumer.address()
    }

    /// The ids of its models.
    #[must_use]
    pub fn ids(&self) -> Vec<B256> {
        self.models.iter().map(|model| model.id).collect()
    }

    /// Asks `count` questions, going round the models, their cases and the two kinds of payment, without waiting for
    /// answers. Returns the ids.
    ///
    /// # Errors
    /// If a call fails or a transaction made no request.
    pub async fn ask(&mut self, count: usize) -> Res<Vec<B256>> {
        let mut pending = Vec::new();
        for sent in self.post(count).await? {
            pending.push(sent.get_receipt().await?);
        }
        pending.iter().map(|receipt| Ok(Deployment::requested(receipt)?.0)).collect()
    }

    /// Sends the transactions of `count` questions, and does not wait for their blocks.
    ///
    /// # Errors
    /// If a call fails; none is sent after it.
    pub async fn post(&mut self, count: usize) -> Res<Vec<PendingTransactionBuilder<Ethereum>>> {
        let mut pending = Vec::new();
        for _ in 0..count {
            let model = self.turn % self.models.len();
            let case = self.turn / self.models.len() % self.models[model].cases.len();
            let prepaid = self.turn / 3 % 2 == 1;
            self.turn += 1;
            let (id, input) = (self.models[model].id, self.models[model].cases[case].input.clone());
            // Limit and fees of its own: an estimate would be a round trip more for each, and basefees may be rising.
            let call = if prepaid {
                self.consumer.askPrepaid(id, input, self.payer, U96::from(FEE)).into_transaction_request()
            } else {
                self.consumer.ask(id, input).value(U256::from(FEE)).into_transaction_request()
            };
            let call = call.gas_limit(1_000_000).max_fee_per_gas(500 * GWEI).max_priority_fee_per_gas(GWEI);
            pending.push(self.consumer.provider().send_transaction(call).await?);
        }
        Ok(pending)
    }

    /// The requests on the chain, with their blocks.
    ///
    /// # Errors
    /// If the logs cannot be read.
    pub async fn requests(&self, deployment: &Deployment) -> Res<HashMap<B256, u64>> {
        let logs = deployment.logs_from(0).await?;
        let requests =
            logs.iter().filter_map(|log| Some((Requested::decode_log(&log.inner).ok()?.requestId, log.block_number?)));
        Ok(requests.collect())
    }

    /// The answers on the chain, by request.
    ///
    /// # Errors
    /// A request answered twice, an answer to a request never made, or a callback that failed.
    pub async fn answers(&self, deployment: &Deployment) -> Res<HashMap<B256, Answer>> {
        let mut asked = HashMap::new();
        let mut answers = HashMap::new();
        for log in deployment.logs_from(0).await? {
            let number = log.block_number.ok_or("a log of no block")?;
            if let Ok(event) = Requested::decode_log(&log.inner) {
                let at = (number, log.block_hash.ok_or("no hash")?);
                asked.insert(event.requestId, (at, event.modelId, keccak256(&event.input)));
            } else if let Ok(event) = Fulfilled::decode_log(&log.inner) {
                let ((asked_at, asked_in), model, input) =
                    *asked.get(&event.requestId).ok_or("an answer to no request")?;
                let Announced { outcome, seats, output } = Announced::decode(&event.answer)?;
                let outcome = outcome as u8;
                let answer = Answer { asked_at, asked_in, model, input, answered_at: number, seats, outcome, output };
                if let Some(first) = answers.insert(event.requestId, answer) {
                    let (id, transaction) = (event.requestId, log.transaction_hash);
                    let heights = [first.asked_at, first.answered_at, number];
                    return Err(format!(
                        "{id} is answered twice: asked and answered in {heights:?}, last in {transaction:?}"
                    )
                    .into());
                }
            } else if let Ok(event) = DeliveryFailed::decode_log(&log.inner) {
                return Err(format!("the callback of {} failed", event.requestId).into());
            }
        }
        Ok(answers)
    }

    /// Waits until every id is answered, and checks each output against ONNX Runtime's own.
    ///
    /// # Errors
    /// What is not answered after `seconds`, or answered wrongly.
    pub async fn settle(&self, deployment: &Deployment, ids: &[B256], seconds: u64) -> Res<HashMap<B256, Answer>> {
        self.wait(deployment, seconds, |progress| ids.iter().filter(|id| !progress.answered.contains(*id)).count())
            .await
    }

    /// Waits until at least `count` requests are on the chain, and all that are on it are answered.
    ///
    /// # Errors
    /// As those of [`Self::settle`].
    pub async fn settle_all(&self, deployment: &Deployment, count: usize, seconds: u64) -> Res<HashMap<B256, Answer>> {
        self.wait(deployment, seconds, |progress| {
            let open = progress.asked.difference(&progress.answered).count();
            open.max(count.saturating_sub(progress.asked.len()))
        })
        .await
    }

    async fn wait(
        &self,
        deployment: &Deployment,
        seconds: u64,
        missing: impl Fn(&Progress) -> usize,
    ) -> Res<HashMap<B256, Answer>> {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(seconds);
        let mut progress = Progress::default();
        loop {
            progress.read(deployment).await?;
            let mut left = missing(&progress);
            if left == 0 {
                let answers = self.answers(deployment).await?;
                // Read once more from the start: a reorganisation may have taken back what was counted.
                progress = Progress::default();
                progress.read(deployment).await?;
                left = missing(&progress);
                if left == 0 {
                    self.check(&answers)?;
                    return Ok(answers);
                }
            }
            if tokio::time::Instant::now() > deadline {
                let asked = progress.asked.len();
                return Err(format!("{left} of {asked} requests are not answered after {seconds} s").into());
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// Checks the outputs of answers against ONNX Runtime's own.
    ///
    /// # Errors
    /// The first that differs, or answers what was not asked here.
    pub fn check(&self, answers: &HashMap<B256, Answer>) -> Res<()> {
        for (id, answer) in answers {
            let model = self.models.iter().find(|model| model.id == answer.model).ok_or("another's model")?;
            let mut cases = model.cases.iter().zip(0..);
            let (case, number) =
                cases.find(|(case, _)| keccak256(&case.input) == answer.input).ok_or("another's input")?;
            let wrong = match answer.outcome {
                0 => model.check(case, &answer.output).err(),
                outcome => Some(format!("outcome {outcome}")),
            };
            if let Some(wrong) = wrong {
                return Err(format!("{id}, {}, case {number}: {wrong}", model.name).into());
            }
        }
        Ok(())
    }
}

/// What was seen so far, each block once.
#[derive(Default)]
struct Progress {
    next: u64,
    asked: HashSet<B256>,
    answered: HashSet<B256>,
}

impl Progress {
    async fn read(&mut self, deployment: &Deployment) -> Res<()> {
        for log in deployment.logs_from(self.next).await? {
            self.next = self.next.max(log.block_number.unwrap_or_default() + 1);
            let id = log.topics().get(1).copied().unwrap_or_default();
            match log.topic0() {
                Some(&Requested::SIGNATURE_HASH) => drop(self.asked.insert(id)),
                Some(&Fulfilled::SIGNATURE_HASH) => drop(self.answered.insert(id)),
                _ => {}
            }
        }
        Ok(())
    }
}
