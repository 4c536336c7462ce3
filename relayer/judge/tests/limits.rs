//! Limits, failures, and what a session takes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{collections::HashSet, fs};

use oraculum_judge::{CodeSource, DType, Data, Dim, Judge, JudgeError, Limits, OpenError, Tensor};
use support::{cache, judge, model, shipped, wasm};

fn i64s(dims: &[u32], values: &[i64]) -> Tensor {
    Tensor::new(DType::I64, dims.to_vec(), values.iter().flat_map(|value| value.to_le_bytes()).collect()).unwrap()
}

fn fuel(fuel: u64) -> Limits {
    Limits { fuel, ..Limits::DEFAULT }
}

#[test]
fn fresh_sessions_take_the_same_fuel() {
    let case = &support::golden("digits")[0];
    let used = (0..3).map(|_| {
        let mut session = judge().load(&shipped("digits"), Limits::DEFAULT).unwrap();
        session.run_all(&case.inputs).unwrap();
        (session.load_fuel(), session.run_fuel(), session.memory())
    });
    let used: HashSet<_> = used.collect();
    assert_eq!(used.len(), 1, "{used:?}");
    // As on every machine.
    assert_eq!(used, [support::DIGITS_FUEL].into());
}

#[test]
fn an_endless_loop_ends_with_its_fuel_and_so_does_the_session() {
    let mut session = judge().load(&model("loop"), fuel(200_000_000)).unwrap();
    assert!(session.run_all(&[i64s(&[], &[3])]).is_ok());
    assert_eq!(session.run_all(&[i64s(&[], &[i64::MAX])]), Err(JudgeError::OutOfFuel));
    assert!(session.has_ended());
    assert_eq!(session.run_all(&[i64s(&[], &[3])]), Err(JudgeError::Ended));
}

#[test]
fn the_fuel_that_a_run_took_is_enough_and_less_is_not() {
    let run = |limits: Limits| {
        let mut session = judge().load(&model("loop"), limits)?;
        session.run_all(&[i64s(&[], &[20_000])])?;
        Ok((session.load_fuel(), session.run_fuel()))
    };
    let (load, needed) = run(Limits::DEFAULT).unwrap();
    assert!(needed > load, "{needed} for the run, {load} for loading");
    assert_eq!(run(fuel(needed)), Ok((load, needed)));
    assert_eq!(run(fuel(needed - needed / 1_000)), Err(JudgeError::OutOfFuel));
    assert_eq!(run(fuel(load / 2)), Err(JudgeError::OutOfFuel));
}

#[test]
fn memory_beyond_the_limit_is_refused_and_below_it_is_given() {
    let limits = Limits { memory: 256 << 20, ..Limits::DEFAULT };
    let floats = |mebibytes: i64| [i64s(&[1], &[mebibytes << 18])];
    let mut session = judge().load(&model("memory"), limits).unwrap();
    assert!(session.run_all(&floats(100)).is_ok());
    assert!(session.memory() > 100 << 20 && session.memory() <= 256 << 20);
    assert_eq!(session.run_all(&floats(300)), Err(JudgeError::OutOfMemory { limit: 256 << 20 }));
    assert_eq!(session.run_all(&floats(1)), Err(JudgeError::Ended));
    // 400 GB, which no address reaches.
    let mut session = judge().load(&model("memory"), limits).unwrap();
    assert!(matches!(session.run_all(&floats(400_000)), Err(JudgeError::Run(_) | JudgeError::OutOfMemory { .. })));
    // The default limit, to the page.
    assert!(judge().load(&model("memory"), Limits::DEFAULT).unwrap().run_all(&floats(1_200)).is_ok());
}

#[test]
fn a_run_that_fails_says_why_and_leaves_the_session_as_it_was() {
    let mut session = judge().load(&model("gather"), Limits::DEFAULT).unwrap();
    for _ in 0..3 {
        let Err(JudgeError::Run(reason)) = session.run_all(&[i64s(&[], &[7])]) else { panic!("no failure") };
        assert!(reason.contains("out of data bounds"), "{reason}");
        assert!(session.run_all(&[i64s(&[], &[2])]).is_ok());
    }
}

#[test]
fn inputs_that_the_model_does_not_take_are_refused() {
    let mut session = judge().load(&model("gather"), Limits::DEFAULT).unwrap();
    assert!(matches!(session.run_all(&[]), Err(JudgeError::Input(_))));
    assert!(matches!(session.run(&[i64s(&[], &[1])], &[1]), Err(JudgeError::Input(_))));
    let float = Tensor::new(DType::F32, vec![], vec![0; 4]).unwrap();
    let Err(JudgeError::Run(reason)) = session.run_all(&[float]) else { panic!("no failure") };
    assert!(reason.contains("data type"), "{reason}");
    assert!(session.run_all(&[i64s(&[], &[1])]).is_ok());
}

#[test]
fn every_type_goes_in_and_comes_out_unchanged() {
    let mut session = judge().load(&model("ports"), Limits::DEFAULT).unwrap();
    let types: Vec<DType> = session.inputs().iter().map(|port| port.dtype.unwrap()).collect();
    assert_eq!(types.iter().collect::<HashSet<_>>().len(), 14);
    assert_eq!(session.outputs().iter().map(|port| port.dtype.unwrap()).collect::<Vec<_>>(), types);
    assert_eq!(session.inputs()[3].name, "x3");
    assert_eq!(session.inputs()[3].dims, [Dim::Symbol("N".to_owned()), Dim::Fixed(2)]);
    for rows in [0u32, 1, 3] {
        let tensor = |dtype: &DType| match dtype.size() {
            None => {
                let texts = ["", "é", "日本語", "a b", "x\n", "z"].map(str::to_owned);
                Tensor::strings(vec![rows, 2], texts[..2 * rows as usize].to_vec()).unwrap()
            }
            Some(size) => {
                // All bits matter, those of NaNs too; of bools only the last.
                let byte = |place: usize| if *dtype == DType::Bool { place as u8 % 2 } else { 255 - place as u8 };
                Tensor::new(*dtype, vec![rows, 2], (0..2 * rows as usize * size).map(byte).collect()).unwrap()
            }
        };
        let inputs: Vec<Tensor> = types.iter().map(tensor).collect();
        assert_eq!(session.run_all(&inputs).unwrap(), inputs);
        assert_eq!(session.run(&inputs, &[13, 9]).unwrap(), [inputs[13].clone(), inputs[9].clone()]);
        let mut broken = inputs;
        broken[13] = Tensor::strings(vec![1], vec!["a\0b".to_owned()]).unwrap();
        assert!(matches!(session.run_all(&broken), Err(JudgeError::Input(_))));
    }
}

#[test]
fn a_warm_session_gives_the_same_outputs_and_keeps_its_memory() {
    let cases = support::golden("language");
    let mut warm = judge().load(&shipped("language"), Limits::DEFAULT).unwrap();
    let first: Vec<_> = cases.iter().map(|case| warm.run_all(&case.inputs).unwrap()).collect();
    let memory = warm.memory();
    for _ in 0..20 {
        let again: Vec<_> = cases.iter().map(|case| warm.run_all(&case.inputs).unwrap()).collect();
        assert_eq!(again, first);
    }
    assert_eq!(warm.memory(), memory);
}

#[test]
fn files_that_are_no_models_are_refused_with_a_reason() {
    for (file, reason) in [(&b""[..], "graph"), (b"not a model", "Protobuf"), (&shipped("iris")[..500], "")] {
        let Err(JudgeError::Load(told)) = judge().load(file, Limits::DEFAULT) else { panic!("loaded") };
        assert!(told.to_lowercase().contains(&reason.to_lowercase()), "{told}");
    }
}

#[test]
fn a_file_that_is_not_the_judge_is_refused() {
    let mut altered = wasm();
    altered[5_000_000] ^= 1;
    for file in [&altered[..], b"", b"\0asm\x01\0\0\0"] {
        let Err(OpenError::NotTheJudge { hash }) = Judge::open(file, None) else { panic!("opened") };
        assert_eq!(hash.len(), 64);
    }
}

#[test]
fn altered_code_on_disk_is_compiled_again_and_not_run() {
    judge();
    let folder = tempfile::tempdir().unwrap();
    copy(&cache(), folder.path());
    assert_eq!(Judge::open(&wasm(), Some(folder.path())).unwrap().code_source(), CodeSource::Cached);
    for file in code(folder.path()) {
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).unwrap();
    }
    let again = Judge::open(&wasm(), Some(folder.path())).unwrap();
    assert_eq!(again.code_source(), CodeSource::Recompiled);
    again.self_test().unwrap();
    assert_eq!(Judge::open(&wasm(), Some(folder.path())).unwrap().code_source(), CodeSource::Cached);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Files of compiled code, without their hashes.
fn code(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    // A folder for each compiler and file, and in it wasmtime's own.
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("modules"));
    let compilers = folders.filter(|modules| modules.is_dir()).flat_map(|modules| fs::read_dir(modules).unwrap());
    let files = compilers.flat_map(|compiler| fs::read_dir(compiler.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_none()).collect()
}

#[test]
fn bitcasts_of_nans_are_the_same_number_on_every_machine() {
    let outputs = judge().load(&model("bitcast"), Limits::DEFAULT).unwrap().run_all(&[]).unwrap();
    let Data::Bytes(bits) = outputs[0].data() else { panic!("strings") };
    // Of infinity − infinity, twice, and of 1 − 1 and 0 − 0.
    let expected: Vec<u8> = [0x7fc0_0000u32, 0x7fc0_0000, 0, 0].iter().flat_map(|bits| bits.to_le_bytes()).collect();
    assert_eq!(bits, &expected);
}
