//! The judge, compiled for this machine.

use std::path::Path;

use sha2::{Digest, Sha256};
use wasmtime::{Config, Engine, Linker, Module};

use crate::{
    JudgeError, Limits, OpenError, Session, WASM_SHA256,
    cache::{self, CodeSource},
    host::{self, Host},
    onnx::{Names, with_outputs},
};

/// Where the memory import says that the memory is shared between threads, in the file of `WASM_SHA256`.
const SHARED_MEMORY: usize = 0xe89;
/// Bytes of native stack that WebAssembly may use: half of what threads of Rust have.
const STACK: usize = 1 << 20;

/// The canonical judge: ONNX Runtime as WebAssembly, compiled for this machine.
///
/// It is opened once for a process; any number of sessions run at the same time.
pub struct Judge {
    engine: Engine,
    module: Module,
    linker: Linker<Host>,
    code: CodeSource,
}

impl Judge {
    /// Checks the WebAssembly file, and compiles it or takes compiled code from the folder `cache`.
    ///
    /// Compiling takes some 20 s of two cores, once for a folder. Compiled code that does not have the hash recorded with it
    /// is never run: it is compiled again, which `code_source` tells.
    ///
    /// # Errors
    /// Every variant of `OpenError`.
    pub fn open(wasm: &[u8], cache: Option<&Path>) -> Result<Self, OpenError> {
        Self::open_for(wasm, cache, None)
    }

    /// Opens the judge with code for a target, such as `x86_64-unknown-linux-gnu`, that uses none of the instructions which
    /// this machine has beyond the target's: to compare.
    ///
    /// # Errors
    /// Every variant of `OpenError`.
    pub fn open_for(wasm: &[u8], cache: Option<&Path>, target: Option<&str>) -> Result<Self, OpenError> {
        Self::compile(unshared(wasm)?, cache, target, || {})
    }

    pub(crate) fn compile(
        wasm: Vec<u8>,
        cache: Option<&Path>,
        target: Option<&str>,
        compiling: impl FnOnce(),
    ) -> Result<Self, OpenError> {
        let failed = |error: wasmtime::Error| OpenError::Compile(format!("{error:#}"));
        let mut config = config(target).map_err(failed)?;
        let (engine, module, code) = match cache {
            None => {
                let engine = Engine::new(&config).map_err(failed)?;
                let module = Module::new(&engine, wasm).map_err(failed)?;
                (engine, module, CodeSource::Compiled)
            }
            Some(folder) => {
                let folder = folder.join(cache::name(&wasm, target));
                cache::load(&folder, &mut config, &wasm, compiling)?
            }
        };
        let linker = host::linker(&engine).map_err(failed)?;
        Ok(Self { engine, module, linker, code })
    }

    /// Where the code comes from.
    #[must_use]
    pub fn code_source(&self) -> CodeSource {
        self.code
    }

    /// Loads a model into a fresh instance.
    ///
    /// # Errors
    /// `Load` where ONNX Runtime refuses the model; `OutOfFuel`, `OutOfMemory` and `Trap` where it meets a limit;
    /// `StackExhausted` and `HostMemory` where this machine does.
    pub fn load(&self, model: &[u8], limits: Limits) -> Result<Session, JudgeError> {
        Session::load(&self.engine, &self.linker, &self.module, model, limits)
    }

    /// Loads a model into a fresh instance, with values from inside it as outputs after its own.
    ///
    /// # Errors
    /// Those of `load`; `Load` for a file that is no ONNX model.
    pub fn load_with_outputs(&self, model: &[u8], names: &[String], limits: Limits) -> Result<Session, JudgeError> {
        let outputs = Names::read(model).map_err(|error| JudgeError::Load(error.to_string()))?.outputs;
        let added = names.iter().filter(|name| !outputs.contains(*name)).map(String::as_str);
        self.load(&with_outputs(model, added), limits)
    }
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").field("code", &self.code).finish_non_exhaustive()
    }
}

/// Checks the file's hash, and makes its memory an ordinary one: atomic instructions work on that as well, and one thread
/// needs no more.
pub(crate) fn unshared(wasm: &[u8]) -> Result<Vec<u8>, OpenError> {
    let hash = hex::encode(Sha256::digest(wasm));
    let mut copy = wasm.to_vec();
    match copy.get_mut(SHARED_MEMORY) {
        Some(flags) if hash == WASM_SHA256 => *flags &= !2,
        _ => return Err(OpenError::NotTheJudge { hash }),
    }
    Ok(copy)
}

fn config(target: Option<&str>) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .wasm_threads(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .cranelift_nan_canonicalization(true)
        .consume_fuel(true)
        .max_wasm_stack(STACK)
        .wasm_backtrace_max_frames(None)
        .native_unwind_info(false)
        .generate_address_map(false);
    if let Some(target) = target {
        config.target(target)?;
    }
    Ok(config)
}
