//! What only a GPU can show. `scripts/test-gpu` runs these; elsewhere they are listed as ignored.

use super::*;

#[tokio::test]
#[ignore = "needs a GPU: scripts/test-gpu"]
async fn the_shipped_models_agree_on_the_gpu_or_are_named() {
    let engine = start(Provider::Auto).await;
    for name in ["iris", "digits", "credit", "language"] {
        let (same, all) = run_golden(&engine, name).await;
        let place = if shipped(&engine, name).await.fallback { "the processor" } else { "the GPU" };
        eprintln!("{name} on {place}: {same} of {all} outputs equal to the bit, the rest within the card's tolerance");
    }
    assert!(!shipped(&engine, "iris").await.fallback);
}

#[tokio::test]
#[ignore = "needs a GPU: scripts/test-gpu"]
async fn cuda_refuses_what_it_would_have_to_give_to_the_processor() {
    let engine = start(Provider::Cuda).await;
    let strings = std::fs::read(models_folder().join("bad/no-batch.onnx")).unwrap();
    let Err(error) = engine.load(in_memory(strings.clone())).await else { panic!("strings have no place on a GPU") };
    assert!(matches!(error, LoadError::Session(_)), "{error}");
    let engine = start(Provider::Auto).await;
    assert!(engine.load(in_memory(strings)).await.unwrap().fallback);
}

#[tokio::test]
#[ignore = "needs a GPU: scripts/test-gpu"]
async fn a_gpus_answer_says_so_and_is_the_same_every_time() {
    let engine = start(Provider::Cuda).await;
    let iris = shipped(&engine, "iris").await.id;
    let input = pack(&[Tensor::f32(vec![1, 4], &[5.1, 3.5, 1.4, 0.2]).unwrap()]);
    let first = engine.run(iris, input.clone(), NATIVE).await.unwrap();
    assert_eq!(first.profile.device, Device::Cuda(0));
    for _ in 0..100 {
        assert_eq!(engine.run(iris, input.clone(), NATIVE).await.unwrap().output, first.output);
    }
}

#[tokio::test]
#[ignore = "needs a GPU: scripts/test-gpu"]
async fn a_run_that_fails_on_the_gpu_is_judged_by_the_processor() {
    let engine = start(Provider::Cuda).await;
    // Reshaping to a size that is not there fails wherever it runs; its shape input is read on the processor.
    let reshape = node("Reshape", &["x", "shape"], &["y"]);
    let file = model(
        graph(vec![reshape], vec![port("x", 1, &[4]), port("shape", 7, &[1])], vec![port("y", 1, &[-1])]),
        vec![],
    );
    let id = bare(&engine, file).await;
    let input = |n| pack(&[Tensor::f32(vec![4], &[1.0; 4]).unwrap(), Tensor::i64(vec![1], &[n]).unwrap()]);
    assert_eq!(engine.run(id, input(4), NATIVE).await.unwrap().outcome, Outcome::Ok);
    assert_eq!(engine.run(id, input(5), NATIVE).await.unwrap().outcome, Outcome::BadInput);
}

#[tokio::test]
#[ignore = "needs a GPU: scripts/test-gpu"]
async fn a_device_that_there_is_not_is_named() {
    let options = EngineOptions { provider: Provider::Cuda, devices: vec![0, 99], ..EngineOptions::default() };
    let Err(error) = OnnxEngine::start(options).await else { panic!("there are no hundred GPUs") };
    assert!(matches!(error, StartError::Device { device: Device::Cuda(99), .. }), "{error}");
}
