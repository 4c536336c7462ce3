//! Gets models ready while the logs of a block are read that probably asks for them.

use std::{collections::HashMap, sync::Arc};

use alloy::primitives::{Address, B256};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::watch;

use crate::{chain::Header, engine::Engine};

/// Models that are readied for one block at most: more would stand in the way of its answers.
const MAX_AT_ONCE: usize = 4;

/// Follows the heads until no more come. The head's filter of logs tells whether a block may hold a request, and of which
/// models: their ids are topics.
pub(super) async fn follow(
    mut heads: watch::Receiver<Option<Header>>,
    models: watch::Receiver<HashMap<B256, String>>,
    coordinator: Address,
    engine: Arc<dyn Engine>,
) {
    while heads.changed().await.is_ok() {
        let head = *heads.borrow_and_update();
        let Some(head) = head.filter(|head| head.may_have_logs_of(coordinator)) else { continue };
        let asked: Vec<_> = models.borrow().keys().copied().filter(|model| head.may_have_topic(*model)).collect();
        let warming: FuturesUnordered<_> =
            asked.into_iter().take(MAX_AT_ONCE).map(|model| engine.warm_up(model)).collect();
        warming.collect::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use alloy::primitives::{Bloom, BloomInput, Bytes};
    use futures::future::BoxFuture;

    use super::*;
    use crate::{
        engine::{EngineError, Inference},
        protocol::OutputFormat,
        testing::block,
    };

    const COORDINATOR: Address = Address::repeat_byte(0xc0);

    #[derive(Default)]
    struct Warmed(Mutex<Vec<B256>>);

    impl Engine for Warmed {
        fn run(&self, model: B256, _: Bytes, _: OutputFormat) -> BoxFuture<'_, Result<Inference, EngineError>> {
            Box::pin(std::future::ready(Err(EngineError::UnknownModel(model))))
        }

        fn warm_up(&self, model: B256) -> BoxFuture<'_, ()> {
            self.0.lock().unwrap().push(model);
            Box::pin(std::future::ready(()))
        }
    }

    /// What is warmed up for a block with logs of a contract that have these topics.
    async fn warmed(contract: Address, topics: &[B256]) -> Vec<B256> {
        let served = (1..=3).map(|model| (B256::repeat_byte(model), format!("model {model}"))).collect();
        let mut bloom = Bloom::default();
        bloom.accrue(BloomInput::Raw(contract.as_slice()));
        topics.iter().for_each(|topic| bloom.accrue(BloomInput::Raw(topic.as_slice())));
        let (heads, seen) = watch::channel(None);
        let (_models, models) = watch::channel(served);
        let engine = Arc::<Warmed>::default();
        let following = tokio::spawn(follow(seen, models, COORDINATOR, engine.clone()));
        tokio::task::yield_now().await;
        let block = block(1);
        heads.send_replace(Some(Header { block, parent: block.hash, timestamp: 0, base_fee: 0, bloom }));
        tokio::task::yield_now().await;
        drop(heads);
        following.await.unwrap();
        std::mem::take(&mut *engine.0.lock().unwrap())
    }

    #[tokio::test]
    async fn a_block_warms_up_the_models_that_its_filter_names_and_no_other() {
        assert_eq!(warmed(COORDINATOR, &[B256::repeat_byte(2)]).await, [B256::repeat_byte(2)]);
        assert!(warmed(COORDINATOR, &[B256::repeat_byte(9)]).await.is_empty());
        assert!(warmed(Address::repeat_byte(0xc1), &[B256::repeat_byte(2)]).await.is_empty());
    }
}
