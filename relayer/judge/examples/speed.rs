//! How long the judge takes: `cargo run -p oraculum-judge --example speed -- WASM CACHE MODEL…`, each model with its golden.json
//! beside it, or without inputs.

use oraculum_judge::*;
use std::{error::Error, fs, path::Path, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let _ = (Path::new(""),);
    let args: Vec<String> = std::env::args().skip(1).collect();
    let wasm = fs::read(&args[0])?;
    let t = Instant::now();
    let judge = Judge::open(&wasm, Some(Path::new(&args[1])))?;
    println!("open {:?} {:?}", t.elapsed(), judge.code_source());
    for m in &args[2..] {
        let t = Instant::now();
        let mut s = judge.load(&fs::read(m)?, Limits::DEFAULT)?;
        let l = t.elapsed();
        if !s.inputs().is_empty() {
            println!("{m} load {l:?} {:?}", s.inputs());
            continue;
        }
        let t = Instant::now();
        match s.run_all(&[]) {
            Ok(o) => println!(
                "{m} load {l:?} fuel {} run {:?} fuel {} mem {}  {}  {}",
                s.load_fuel(),
                t.elapsed(),
                s.run_fuel(),
                s.memory(),
                digest(&o),
                o.len()
            ),
            Err(e) => println!("{m} {e}"),
        }
    }
    let t = Instant::now();
    println!("{:?} {:?}", judge.self_test(), t.elapsed());
    Ok(())
}
