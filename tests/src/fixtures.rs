//! What most end-to-end tests begin with and wait by.

use std::time::Duration;

use crate::{Res, anvil::Anvil, consumer::Consumer, deployment::Deployment, node::Node};

/// A deployment with the iris model, and a node with the one seat that reaches the chain at `url` and is not started.
/// `extra` is added to sections of its configuration.
///
/// # Errors
/// If the deployment fails, or the node's home cannot be written.
pub async fn one_node(anvil: &Anvil, url: &str, extra: &[(&str, &str)]) -> Res<(Deployment, Consumer, Node)> {
    let deployment = Deployment::deploy(&anvil.local.ws_url()).await?;
    let consumer = Consumer::new(&deployment, &["iris"]).await?;
    let node = Node::new(&deployment, url, 0, extra)?;
    deployment.seat(1, &node.signer, &consumer.ids()).await?;
    Ok((deployment, consumer, node))
}

/// Waits until something holds, half a minute at most.
///
/// # Errors
/// What `holds` fails with; a sentence with `what` if it never holds.
pub async fn until<F: Future<Output = Res<bool>>>(what: &str, mut holds: impl FnMut() -> F) -> Res<()> {
    for _ in 0..300 {
        if holds().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("it never came to pass that {what}").into())
}
