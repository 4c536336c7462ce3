//! Requests of every model with both kinds of payment, from a real consumer contract, and their answers.

use std::collections::HashMap;

use alloy::{
    primitives::{Address, B256, Bytes, U256, aliases::U96},
    providers::{DynProvider, Provider},
    rpc::types::{Filter, Log},
    sol_types::SolEvent,
};

use crate::{
    Res,
    abi::{
        BenchConsumer::{self, BenchConsumerInstance},
        InferenceCoordinator::{DeliveryFailed, Fulfilled, Requested, Skipped},
    },
    market::{Market, account},
    models::{self, Model},
};

/// Fee of every request, in wei.
pub const FEE: u64 = 1_000_000_000_000;

/// How many `Skipped` events are among logs.
#[must_use]
pub fn skipped(logs: &[Log]) -> usize {
    logs.iter().filter(|log| log.topic0() == Some(&Skipped::SIGNATURE_HASH)).count()
}

/// A consumer with money, and what it asked.
#[derive(Debug)]
pub struct Asker {
    consumer: BenchConsumerInstance<DynProvider>,
    payer: Address,
    /// The models it asks.
    pub models: Vec<Model>,
    /// Model and case of each request, by input, model and turn: the id is known once the request is mined.
    asked: HashMap<B256, (usize, usize)>,
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
    /// The block of the fulfilment.
    pub answered_at: u64,
    /// The signers' seats.
    pub seats: Bytes,
    /// 0 is `Ok`.
    pub outcome: u8,
    /// The output.
    pub output: Bytes,
}

impl Asker {
    /// Registers the models of the repository and deploys a consumer with a prepaid account.
    pub async fn new(market: &Market, names: &[&'static str]) -> Res<Self> {
        let models = names.iter().map(|name| models::load(name)).collect::<Res<Vec<_>>>()?;
        for model in &models {
            let id = market.register(model.card.clone()).await?;
            if id != model.id {
                return Err(format!("{}: the card says {}, the registry {id}", model.name, model.id).into());
            }
        }
        let consumer =
            BenchConsumer::deploy(market.provider.clone(), *market.coordinator.address(), models[0].id).await?;
        let payer = account(0)?.address();
        market.coordinator.deposit(payer).value(U256::from(10_000 * FEE)).send().await?.get_receipt().await?;
        market.coordinator.allow(*consumer.address(), U96::from(FEE)).send().await?.get_receipt().await?;
        Ok(Self { consumer, payer, models, asked: HashMap::new(), turn: 0 })
    }

    /// The consumer's address.
    #[must_use]
    pub fn consumer(&self) -> Address {
        *self.consumer.address()
    }

    /// The ids of its models.
    #[must_use]
    pub fn ids(&self) -> Vec<B256> {
        self.models.iter().map(|model| model.id).collect()
    }

    /// Asks `count` questions, going round the models, their cases and the two kinds of payment, without waiting for
    /// answers. Returns the ids.
    pub async fn ask(&mut self, count: usize) -> Res<Vec<B256>> {
        let mut pending = Vec::new();
        for _ in 0..count {
            let model = self.turn % self.models.len();
            let case = self.turn / self.models.len() % self.models[model].cases.len();
            let prepaid = self.turn / 3 % 2 == 1;
            self.turn += 1;
            let (id, input) = (self.models[model].id, self.models[model].cases[case].input.clone());
            // A limit of its own: an estimate would be a round trip more for each.
            let sent = if prepaid {
                self.consumer.askPrepaid(id, input, self.payer, U96::from(FEE)).gas(1_000_000).send().await?
            } else {
                self.consumer.ask(id, input).value(U256::from(FEE)).gas(1_000_000).send().await?
            };
            pending.push((sent, model, case));
        }
        let mut ids = Vec::new();
        for (sent, model, case) in pending {
            let receipt = sent.get_receipt().await?;
            let (id, _) = Market::requested(&receipt)?;
            self.asked.insert(id, (model, case));
            ids.push(id);
        }
        Ok(ids)
    }

    /// The answers on the chain, by request.
    ///
    /// # Errors
    /// A request answered twice, an answer to a request never made, or a callback that failed.
    pub async fn answers(&self, market: &Market) -> Res<HashMap<B256, Answer>> {
        let filter = Filter::new().address(*market.coordinator.address()).from_block(0);
        let mut asked = HashMap::new();
        let mut answers = HashMap::new();
        for log in market.provider.get_logs(&filter).await? {
            let number = log.block_number.ok_or("a log of no block")?;
            if let Ok(event) = Requested::decode_log(&log.inner) {
                asked.insert(event.requestId, (number, log.block_hash.ok_or("no hash")?, event.modelId));
            } else if let Ok(event) = Fulfilled::decode_log(&log.inner) {
                let (asked_at, asked_in, model) = *asked.get(&event.requestId).ok_or("an answer to no request")?;
                let answer = Answer {
                    asked_at,
                    asked_in,
                    model,
                    answered_at: number,
                    seats: event.seats.clone(),
                    outcome: event.outcome,
                    output: event.output.clone(),
                };
                if answers.insert(event.requestId, answer).is_some() {
                    return Err(format!("{} is answered twice", event.requestId).into());
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
    pub async fn settle(&self, market: &Market, ids: &[B256], seconds: u64) -> Res<HashMap<B256, Answer>> {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(seconds);
        let answers = loop {
            let answers = self.answers(market).await?;
            let missing = ids.iter().filter(|id| !answers.contains_key(*id)).count();
            if missing == 0 {
                break answers;
            }
            if tokio::time::Instant::now() > deadline {
                return Err(format!("{missing} of {} requests are not answered after {seconds} s", ids.len()).into());
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        };
        for id in ids {
            let (model, case) = *self.asked.get(id).ok_or("not asked here")?;
            let (model, answer) = (&self.models[model], &answers[id]);
            if answer.outcome != 0 {
                return Err(format!("{}, case {case}: outcome {}", model.name, answer.outcome).into());
            }
            model
                .check(&model.cases[case], &answer.output)
                .map_err(|wrong| format!("{}, case {case}: {wrong}", model.name))?;
        }
        Ok(answers)
    }
}
