//! The jitter guard.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests end where something is not as they need it")]

mod support;

use oraculum_judge::{DType, Guard, Limits, Tensor, Weights, digest};
use support::{SHIPPED, golden, judge, model, shipped};

const OWN: [&str; 15] = [
    "bitcast",
    "casts",
    "control",
    "float16",
    "float32",
    "float64",
    "gather",
    "integers",
    "layers",
    "loop",
    "memory",
    "nans",
    "ports",
    "recurrent",
    "strings",
];

fn i64s(dims: &[u32], value: i64) -> Tensor {
    Tensor::new(DType::I64, dims.to_vec(), value.to_le_bytes().to_vec()).unwrap()
}

fn own_inputs(name: &str) -> Vec<Tensor> {
    match name {
        "control" => {
            let bytes = [0.125f32, -0.5, 0.3, 0.9].iter().flat_map(|value| value.to_le_bytes()).collect();
            vec![Tensor::new(DType::F32, vec![4], bytes).unwrap()]
        }
        "gather" => vec![i64s(&[], 2)],
        "loop" => vec![i64s(&[], 20)],
        "memory" => vec![i64s(&[1], 1000)],
        "ports" => judge()
            .load(&model("ports"), Limits::DEFAULT)
            .unwrap()
            .inputs()
            .iter()
            .map(|port| match port.dtype.unwrap() {
                DType::String => Tensor::strings(vec![3, 2], vec!["x".to_owned(); 6]).unwrap(),
                dtype => {
                    let size = dtype.size().unwrap();
                    Tensor::new(
                        dtype,
                        vec![3, 2],
                        (0..6 * size).map(|place| if dtype == DType::Bool { 1 } else { 255 - place as u8 }).collect(),
                    )
                    .unwrap()
                }
            })
            .collect(),
        _ => vec![],
    }
}

fn all() -> Vec<(&'static str, Vec<u8>, Vec<Tensor>)> {
    let mut all: Vec<_> =
        SHIPPED.into_iter().map(|name| (name, shipped(name), golden(name).remove(0).inputs)).collect();
    all.extend(OWN.into_iter().map(|name| (name, model(name), own_inputs(name))));
    all
}

#[test]
fn a_run_without_jitter_gives_the_plain_runs_bits() {
    for (name, file, inputs) in all() {
        let started = std::time::Instant::now();
        let mut plain_session = judge().load(&file, Limits::DEFAULT).unwrap();
        let plain = plain_session.run_all(&inputs).unwrap();
        let guard = match Guard::of(&file) {
            Ok(guard) => guard,
            Err(error) => {
                println!("{name}: {error}");
                continue;
            }
        };
        let mut session = match judge().load(&guard.file(Weights::Plain).unwrap(), Guard::limits(Limits::DEFAULT)) {
            Ok(s) => s,
            Err(error) => {
                println!("{name}: {error}");
                continue;
            }
        };
        let wanted: Vec<usize> = (0..plain.len()).collect();
        let outputs = session.run(&guard.inputs(0, &inputs), &wanted);
        match outputs {
            Ok(outputs) => println!(
                "{name}: {} {} fuel {} {} -> {} {} size {} -> {}, {:?}",
                digest(&outputs) == digest(&plain),
                guard.jittered(),
                plain_session.load_fuel(),
                plain_session.run_fuel(),
                session.load_fuel(),
                session.run_fuel(),
                file.len(),
                guard.file(Weights::Plus).unwrap().len(),
                started.elapsed()
            ),
            Err(error) => println!("{name}: {error}"),
        }
    }
}
