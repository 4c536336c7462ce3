//! Simulations that the endpoint refuses for reasons of its own.

use super::*;

/// Calls that the endpoint was asked for in some seconds of the test's time, whatever it refuses.
async fn calls_while_refused(refusal: ChainError, is_claim: bool) -> usize {
    let rig = Rig::start(Bench::new());
    let task = rig.answer(0).await;
    rig.sent(1).await;
    rig.chain().refuse(Some(refusal));
    let before = rig.chain().called_at().len();
    if is_claim {
        rig.claims.send(vec![claim(&task, 1)]).await.unwrap();
    } else {
        rig.answer(1).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.chain().called_at().len() - before
}

#[tokio::test(start_paused = true)]
async fn where_no_gas_suffices_more_is_tried_once() {
    for is_claim in [false, true] {
        let calls = calls_while_refused(ChainError::OutOfGas("out of gas".into()), is_claim).await;
        assert!((2..=4).contains(&calls), "{calls}, claim: {is_claim}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_endpoint_cannot_simulate_waits_for_the_next_look() {
    for is_claim in [false, true] {
        let refusal = ChainError::Other { code: -32_000, message: "not now".into() };
        let calls = calls_while_refused(refusal, is_claim).await;
        assert!((2..=16).contains(&calls), "{calls}, claim: {is_claim}");
    }
}
