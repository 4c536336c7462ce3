//! Blocks until the answer.

use oraculum_tests::{Res, anvil::Anvil};

use super::fixture::Fixture;

/// Blocks from a request to its answer on 1 s blocks.
pub(super) async fn run(seconds: usize) -> Res<()> {
    let mut fixture = Fixture::set(Anvil::with(&["--block-time", "1"]).await?, false).await?;
    let mut ids = Vec::new();
    for _ in 0..seconds {
        // Four requests a block; `ask` returns when they are mined.
        ids.extend(fixture.consumer.ask(4).await?);
    }
    let answers = fixture.consumer.settle(&fixture.deployment, &ids, 60).await?;
    let next = ids.iter().filter(|id| answers[*id].answered_at == answers[*id].asked_at + 1).count();
    let share = 100.0 * next as f64 / ids.len() as f64;
    println!("1 s blocks: {next} of {} requests answered in the very next block ({share:.1}%)", ids.len());
    Ok(())
}
