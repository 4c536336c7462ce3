//! Waits for the answer to a request.

use std::time::{Duration, Instant};

use alloy::{
    primitives::{Address, B256, Bytes},
    providers::Provider,
    rpc::types::Filter,
    sol_types::SolEvent,
};
use tokio::time::sleep;

use super::{Asked, Client, RequestError};
use crate::{
    coordinator::abi::InferenceCoordinator as Coordinator,
    model::Details,
    oip::{self, OipError, OipTensor},
    protocol::{Outcome, OutputFormat, answer::Announced},
};

/// The pause before the second reading; it grows by half with each, up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The most outputs that a format can choose among.
const MAX_CHOSEN_OUTPUTS: usize = 16;

/// An answer that is on chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What was found.
    pub outcome: Outcome,
    /// Packed tensors; empty unless the outcome is `Ok`.
    pub output: Bytes,
    /// The form of the outputs.
    pub format: OutputFormat,
    /// The block of the answer.
    pub block: u64,
    /// The transaction that brought the answer.
    pub transaction: B256,
    /// Gas used by that transaction, other answers in it included.
    pub gas_used: u64,
    /// The time from the start of waiting to the answer.
    pub waited: Duration,
}

impl Answered {
    /// The outputs as Open Inference Protocol tensors; `None` unless the outcome is `Ok`. They have the model's names where
    /// its details are known, else `output0` and so on.
    ///
    /// # Errors
    /// `Tensor` where the output is not packed tensors, or not as many as were asked for.
    pub fn outputs(&self, details: Option<&Details>) -> Result<Option<Vec<OipTensor>>, OipError> {
        match self.outcome {
            Outcome::Ok => named_outputs(&self.output, self.format, details).map(Some),
            Outcome::BadInput | Outcome::Unrepresentable => Ok(None),
        }
    }
}

fn named_outputs(output: &Bytes, format: OutputFormat, details: Option<&Details>) -> Result<Vec<OipTensor>, OipError> {
    let names: Vec<String> = match details {
        Some(details) => {
            let wanted = details.outputs.iter().enumerate().filter(|(index, _)| format.wants(*index));
            wanted.map(|(_, port)| port.name.clone()).collect()
        }
        None => {
            let wanted = (0..MAX_CHOSEN_OUTPUTS).filter(|index| format.wants(*index));
            wanted.map(|index| format!("output{index}")).collect()
        }
    };
    oip::unpack_outputs(output, names.iter().map(String::as_str))
}

/// Waits until a request is answered, for `timeout` at most.
///
/// # Errors
/// `NotYet` once that time is over, `Expired` once the deadline has passed; `Account`, `Event` or `Outcome` where the
/// answer cannot be read.
pub async fn wait_for_answer(
    client: &Client,
    coordinator: Address,
    asked: &Asked,
    timeout: Duration,
) -> Result<Answered, RequestError> {
    let began = Instant::now();
    let filter = Filter::new()
        .address(coordinator)
        .event_signature(Coordinator::Fulfilled::SIGNATURE_HASH)
        .topic1(asked.id)
        .from_block(asked.block);
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(log) = client.ask(client.provider().get_logs(&filter)).await?.first() {
            let event = Coordinator::Fulfilled::decode_log_data(log.data())
                .map_err(|error| RequestError::Event { coordinator, reason: error.to_string() })?;
            let Announced { outcome, output, .. } = Announced::decode(&event.answer)
                .map_err(|error| RequestError::Event { coordinator, reason: error.to_string() })?;
            let receipt = client.receipt(log.transaction_hash.unwrap_or_default()).await?;
            return Ok(Answered {
                outcome,
                output,
                format: asked.format,
                block: log.block_number.unwrap_or_default(),
                transaction: receipt.transaction_hash,
                gas_used: receipt.gas_used,
                waited: began.elapsed(),
            });
        }
        let head = client.ask(client.provider().get_block_number()).await?;
        let Asked { id, deadline, .. } = *asked;
        if head > deadline {
            return Err(RequestError::Expired { id, head, deadline });
        }
        if began.elapsed() > timeout {
            return Err(RequestError::NotYet { id, head, deadline });
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Bytes;
    use serde_json::json;

    use super::*;
    use crate::protocol::tensor::{DType, Tensor, encode};

    #[test]
    fn outputs_get_the_names_of_those_that_were_asked_for() {
        let port = |name: &str| json!({ "name": name, "datatype": "FP32", "shape": [1] });
        let details = serde_json::from_value(json!({ "inputs": [], "outputs": [port("a"), port("b")] })).unwrap();
        let number: Bytes = 1_500_000i32.to_be_bytes().into();
        let output = encode(&[Tensor::new(DType::I32, 6, vec![1], number).unwrap()]).unwrap();
        let second = OutputFormat { width: 4, decimals: 6, mask: 2 };
        let named = named_outputs(&output, second, Some(&details)).unwrap();
        assert_eq!((named[0].name.as_str(), &named[0].data), ("b", &json!([1.5])));
        assert_eq!(named_outputs(&output, second, None).unwrap()[0].name, "output1");
    }
}
