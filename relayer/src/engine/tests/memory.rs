//! What a loaded model holds.

use std::io::{BufWriter, Write};

use prost::Message;

use super::*;

/// Bytes of one weight of the model: beyond 32 MiB, so that the system's allocator gives it back when it is freed.
const WEIGHT: usize = 40 << 20;

/// Writes a model that adds up one row of each of `count` weights; a field at a time, for it may be large.
fn write_large(path: &Path, count: usize) {
    let names: Vec<_> = (0..count).map(|index| (format!("w{index}"), format!("r{index}"))).collect();
    let mut nodes: Vec<_> = names.iter().map(|(w, row)| node("Gather", &[w, "i"], &[row])).collect();
    let rows: Vec<_> = names.iter().map(|(_, row)| row.as_str()).collect();
    nodes.push(node("Sum", &rows, &["y"]));
    let body = graph(nodes, vec![port("i", 7, &[1])], vec![port("y", 1, &[1, 1024])]).encode_to_vec();
    let varint = |mut value: usize| {
        let mut bytes = Vec::new();
        while value > 127 {
            bytes.push(value as u8 | 128);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    // Fields of a TensorProto: dims, data_type, name, and the head of raw_data.
    let head = |name: &str| {
        let dims = [&[8][..], &varint(WEIGHT / 4096), &[8], &varint(1024)].concat();
        [&dims[..], &[16, 1, 66, name.len() as u8], name.as_bytes(), &[74], &varint(WEIGHT)].concat()
    };
    // The weight's field in the graph, up to its data.
    let weights = names.iter().map(|(name, _)| {
        let head = head(name);
        [&[42][..], &varint(head.len() + WEIGHT), &head].concat()
    });
    let weights: Vec<_> = weights.collect();
    let length = body.len() + weights.iter().map(|weight| weight.len() + WEIGHT).sum::<usize>();
    let mut file = BufWriter::new(std::fs::File::create(path).unwrap());
    file.write_all(&model(build::graph(vec![], vec![], vec![]), vec![])).unwrap();
    file.write_all(&[&[58][..], &varint(length), &body].concat()).unwrap();
    let data = vec![0x3e; WEIGHT];
    for weight in weights {
        file.write_all(&weight).unwrap();
        file.write_all(&data).unwrap();
    }
    file.flush().unwrap();
}

/// A figure of /proc/self/status, in MiB.
fn status(field: &str) -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.split_whitespace().next()?.parse::<usize>().ok()? >> 10)
}

#[test]
fn a_loaded_model_holds_its_weights_once() {
    const ALONE: &str = "ORACULUM_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return tokio::runtime::Runtime::new().unwrap().block_on(measure());
    }
    // Other tests of this process would count: it is measured in one of its own.
    let name = "engine::tests::memory::a_loaded_model_holds_its_weights_once";
    let alone = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = [alone.stdout, alone.stderr].concat();
    assert!(alone.status.success(), "{}", String::from_utf8_lossy(&said));
}

async fn measure() {
    const COUNT: usize = 5;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.onnx");
    write_large(&path, COUNT);
    let engine = native(true, Limits::default()).await;
    // What the runtime needs by itself is there before.
    bare(&engine, gather()).await;
    let Some(before) = status("VmRSS") else { return };
    let id = engine.load(Source::file(ModelFile::of_path(&path).unwrap())).await.unwrap().id;
    let output = engine.run(id, pack(&[Tensor::i64(vec![1], &[3]).unwrap()]), NATIVE).await.unwrap();
    assert_eq!(output.outcome, Outcome::Ok);
    let (Some(after), Some(peak)) = (status("VmRSS"), status("VmHWM")) else { return };
    let (file, held, peak) = ((COUNT * WEIGHT) >> 20, after - before, peak - before);
    eprintln!("a file of {file} MiB: {held} MiB held, {peak} MiB at the peak");
    assert!(held * 10 < file * 12, "{held} MiB for a file of {file}");
    assert!(peak * 10 < file * 14, "{peak} MiB at the peak for a file of {file}");
}

#[tokio::test]
async fn a_file_that_is_replaced_while_it_is_open_stays_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, gather()).unwrap();
    let file = ModelFile::of_path(&path).unwrap();
    let opened = file.open().unwrap();
    std::fs::write(folder.path().join("other"), "other").unwrap();
    std::fs::rename(folder.path().join("other"), &path).unwrap();
    opened.verify().unwrap();
    assert_eq!(opened.read().unwrap(), gather());
    if let Some(pinned) = opened.pinned_path() {
        assert_eq!(std::fs::read(pinned).unwrap(), gather());
    }
    let altered = |error| matches!(error, crate::model::ModelError::Altered { .. });
    assert!(altered(file.open().unwrap().verify().unwrap_err()));
    assert!(altered(file.open().unwrap().read().unwrap_err()));
}
