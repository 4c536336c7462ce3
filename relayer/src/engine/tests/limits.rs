//! Time, memory and queues: what nobody can reproduce, so nobody may sign.

use proptest::test_runner::TestRunner;

use super::*;

fn count(value: i64) -> Bytes {
    pack(&[Tensor::i64(vec![1], &[value]).unwrap()])
}

#[tokio::test]
async fn a_model_that_does_not_end_is_stopped_and_goes_on_serving() {
    for trust_models in [false, true] {
        let engine = native(trust_models, Limits { run: Duration::from_millis(300), ..Limits::default() }).await;
        let slow = bad_folder(&engine, "slow.onnx").await;
        for _ in 0..2 {
            let error = engine.run(slow, count(i64::MAX), NATIVE).await.unwrap_err();
            assert!(matches!(error, EngineError::Timeout { .. }) && error.fault() == Fault::Load, "{error}");
        }
        assert_eq!(engine.run(slow, count(1), NATIVE).await.unwrap().outcome, Outcome::Ok);
    }
}

/// The sum of a·a, a being n × n ones: for large n, one kernel of many seconds.
fn product() -> Vec<u8> {
    let ones = node("ConstantOfShape", &["shape"], &["a"]);
    let nodes = vec![ones, node("MatMul", &["a", "a"], &["b"]), node("ReduceSum", &["b"], &["y"])];
    model(graph(nodes, vec![port("shape", 7, &[2])], vec![port("y", 1, &[-1, -1])]), vec![])
}

#[tokio::test]
async fn a_kernel_that_hangs_is_answered_for_and_replaced() {
    for trust_models in [false, true] {
        let (run, grace) = (Duration::from_millis(100), Duration::from_millis(100));
        let engine = native(trust_models, Limits { run, grace, ..Limits::default() }).await;
        let id = bare(&engine, product()).await;
        let square = |n| pack(&[Tensor::i64(vec![2], &[n, n]).unwrap()]);
        let error = engine.run(id, square(4_000), NATIVE).await.unwrap_err();
        assert!(matches!(error, EngineError::Timeout { .. }), "{error}");
        // The kernel goes on behind this; on a busy machine a small one may be late too, so it is asked again.
        for attempt in 0.. {
            match engine.run(id, square(2), NATIVE).await {
                Ok(_) => break,
                Err(error) => assert!(error.fault() != Fault::Request && attempt < 100, "{error}"),
            }
        }
    }
}

#[tokio::test]
async fn requests_beyond_the_queue_are_turned_away_at_once() {
    for trust_models in [false, true] {
        let limits = Limits { queue: 1, run: Duration::from_millis(500), ..Limits::default() };
        let engine = native(trust_models, limits).await;
        let slow = bad_folder(&engine, "slow.onnx").await;
        let runs = (0..6).map(|_| engine.run(slow, count(i64::MAX), NATIVE));
        let errors: Vec<_> = futures::future::join_all(runs).await.into_iter().map(Result::unwrap_err).collect();
        let overloaded = errors.iter().filter(|error| matches!(error, EngineError::Overloaded { .. })).count();
        // One runs, one waits, and the thread may not have taken the first yet.
        assert!((4..=5).contains(&overloaded), "{errors:?}");
        assert!(errors.iter().all(|error| error.fault() == Fault::Load));
        assert_eq!(engine.run(slow, count(1), NATIVE).await.unwrap().outcome, Outcome::Ok);
    }
}

#[tokio::test]
async fn a_request_whose_caller_has_gone_is_not_run() {
    for trust_models in [false, true] {
        let limits = Limits { run: Duration::from_millis(300), ..Limits::default() };
        let engine = native(trust_models, limits).await;
        let slow = bad_folder(&engine, "slow.onnx").await;
        for _ in 0..200 {
            let run = engine.run(slow, count(i64::MAX), NATIVE);
            assert!(futures::FutureExt::now_or_never(run).is_none());
        }
        // Were they run, this would wait for 200 time limits, longer than a request may wait.
        assert_eq!(engine.run(slow, count(1), NATIVE).await.unwrap().outcome, Outcome::Ok);
    }
}

#[tokio::test]
async fn memory_that_is_not_there_is_no_bad_input() {
    for trust_models in [false, true] {
        let engine = native(trust_models, Limits::default()).await;
        let file = model(
            graph(
                vec![node("ConstantOfShape", &["shape"], &["y"])],
                vec![port("shape", 7, &[1])],
                vec![port("y", 1, &[-1])],
            ),
            vec![],
        );
        let id = bare(&engine, file).await;
        // 2^62 bytes are more than any address space.
        let error = engine.run(id, count(1 << 60), NATIVE).await.unwrap_err();
        assert!(matches!(error, EngineError::OutOfMemory(_)) && error.fault() == Fault::Load, "{error}");
        assert_eq!(engine.run(id, count(3), NATIVE).await.unwrap().outcome, Outcome::Ok);
    }
}

#[tokio::test]
async fn outputs_that_no_process_hands_over_are_too_long_and_the_process_goes_on() {
    let engine = native(false, Limits::default()).await;
    let zeros = node("ConstantOfShape", &["shape"], &["y"]);
    let file = model(graph(vec![zeros], vec![port("shape", 7, &[1])], vec![port("y", 1, &[-1])]), vec![]);
    let id = bare(&engine, file).await;
    let Inference { outcome, failure, .. } = engine.run(id, count(65 << 20), NATIVE).await.unwrap();
    assert_eq!(outcome, Outcome::Unrepresentable);
    let length = 260 << 20;
    assert!(
        matches!(failure, Some(Failure::Unrepresentable(Unrepresentable::TooLong { length: l, .. })) if l == length)
    );
    assert_eq!(engine.run(id, count(3), NATIVE).await.unwrap().outcome, Outcome::Ok);
}

/// The process is refused the memory, and no other model notices.
#[tokio::test]
async fn three_gigabytes_from_eight_bytes_cost_one_request() {
    let options = EngineOptions { provider: Provider::Cpu, memory: 512 << 20, ..EngineOptions::default() };
    let engine = OnnxEngine::start(options).await.unwrap();
    let zeros = node("ConstantOfShape", &["shape"], &["a"]);
    let nodes = vec![zeros, node("ReduceSum", &["a"], &["y"])];
    let file = model(graph(nodes, vec![port("shape", 7, &[1])], vec![port("y", 1, &[-1])]), vec![]);
    let (hungry, other) = (bare(&engine, file).await, bare(&engine, gather()).await);
    let before = engine.run(hungry, count(1 << 20), NATIVE).await.unwrap().output;
    let error = engine.run(hungry, count(750 << 20), NATIVE).await.unwrap_err();
    assert!(matches!(error, EngineError::OutOfMemory(_)) && error.fault() == Fault::Load, "{error}");
    assert_eq!(engine.run(other, gather_input(1), NATIVE).await.unwrap().outcome, Outcome::Ok);
    assert_eq!(engine.run(hungry, count(1 << 20), NATIVE).await.unwrap().output, before);
}

#[tokio::test]
async fn damaged_files_and_odd_inputs_never_panic() {
    let engine = cpu().await;
    let good = std::fs::read(models_folder().join("iris/model.onnx")).unwrap();
    let mut runner = TestRunner::deterministic();
    let mut loaded = 0;
    for _ in 0..200 {
        use proptest::strategy::{Strategy, ValueTree};
        let damage = (0..good.len(), proptest::num::u8::ANY, 0..4usize);
        let (at, value, cut) = damage.new_tree(&mut runner).unwrap().current();
        let mut file = good.clone();
        file[at] = value;
        if cut == 0 {
            file.truncate(at);
        }
        let Ok(model) = engine.load(in_memory(file)).await else { continue };
        loaded += 1;
        for input in [Bytes::new(), pack(&[Tensor::f32(vec![2, 4], &[1e30; 8]).unwrap()])] {
            let _ = engine.run(model.id, input, NATIVE).await;
        }
    }
    assert!(loaded > 0 && loaded < 200);
}

#[test]
fn every_error_has_its_own_label() {
    let errors = [
        EngineError::UnknownModel(B256::ZERO),
        EngineError::InvalidFormat(NATIVE),
        EngineError::Overloaded { waiting: 1 },
        EngineError::Timeout { limit: Duration::ZERO },
        EngineError::OutOfMemory(String::new()),
        EngineError::Device(String::new()),
        EngineError::Unconfirmed { runtime: String::new(), reference: String::new(), reason: String::new() },
        EngineError::Runtime(String::new()),
        EngineError::Stopped(String::new()),
    ];
    let labels: std::collections::HashSet<_> = errors.iter().map(EngineError::metrics_label).collect();
    assert_eq!(labels.len(), errors.len());
}
