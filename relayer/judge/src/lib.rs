//! The canonical judge: ONNX Runtime as WebAssembly, which gives the same bits on every machine.
//!
//! The file is `ort-wasm-simd-threaded.wasm` of npm's `onnxruntime-web`, known by its SHA-256. wasmtime runs it with one
//! thread, all NaNs canonical, and limits on instructions and memory; nothing that it can ask the host for differs between
//! machines.
//!
//! ```text
//! Judge::open ──▶ Judge::load ──▶ Session::run        host/   what the file imports
//!   once            a model, in     tensors to        cache   compiled code on disk
//!                   its own memory  tensors           trace   what only who ran the model knows
//!                                                     guard   whether small changes of values change the answer
//! ```

mod cache;
mod error;
mod guard;
mod guest;
mod host;
mod judge;
mod onnx;
mod profile;
mod self_test;
mod session;
mod tensor;
mod tested;
mod trace;

pub use cache::CodeSource;
pub use error::{JudgeError, OpenError};
pub use guard::{Guard, GuardError, GuardVerdict, JitteredRun, Speaks, Weights};
pub use judge::Judge;
pub use profile::{Lane, Limits, ONNX_RUNTIME, Profile, ProfileError, WASM_SHA256};
pub use self_test::{SelfTestError, digest};
pub use session::{Dim, Port, Session};
pub use tensor::{DType, Data, Tensor, TensorError};
pub use trace::{Candidates, Trace};
