//! `[engine]`.

use std::{path::PathBuf, time::Duration};

use super::{
    readers::{boolean, indices, not_empty, path, seconds, variant, whole},
    section::section,
};
use crate::engine::Provider;

section! {
    /// How models are run.
    pub struct EngineSettings = "engine" {
        /// ONNX Runtime's library. Without it, it is looked for in ORT_DYLIB_PATH, beside the binary and in node_modules.
        runtime: Option<PathBuf> = path().optional("\"/opt/onnxruntime/lib/libonnxruntime.so\""),
        /// The canonical judge's file. Without it, it is looked for beside the binary and in node_modules.
        judge: Option<PathBuf> = path().optional("\"/opt/oraculum/ort-wasm-simd-threaded.wasm\""),
        /// What runs models that the judge does not: `cpu`, `cuda`, `tensorrt` or `plugin` (which stop at start, and say why, if they
        /// are not usable) or `auto` (CUDA if it is usable, else the CPU, with a warning). `oraculum doctor --gpu` says what is missing.
        provider: Provider = variant().default("\"cpu\""),
        /// The provider's devices to use, one or more; GPUs by CUDA's numbers.
        device_ids: Vec<u32> =
            not_empty(indices(), "write the numbers of the GPUs, such as [0]").default("[0]"),
        /// Whether the CPU may run the part of a model that its device has no kernels for: with a warning, and `+cpu` in its
        /// profile and metrics. Else such a model is not served, or under `auto` runs on the CPU as a whole.
        partial: bool = boolean().default("false"),
        /// Whether models run in the node's own process, without the memory and the few microseconds that a process of their own
        /// takes. One that crashes ends the node then: only for models that you made. The canonical judge never does.
        trust_models: bool = boolean().default("false"),
        /// MiB of memory for models: those that were used least recently leave it where it is short, and a process of a native
        /// model gets no more. 0 for three quarters of the machine's.
        memory: u64 = whole(0..=1 << 30, "MiB").default("0"),
        /// MiB of each GPU's memory for models, in the same way. 0 for all.
        gpu_memory: u64 = whole(0..=1 << 30, "MiB").default("0"),
        /// Runs that may wait per model; more are held back in the journal.
        queue: usize = whole(1..=1_000_000, "runs").default("64"),
        /// Seconds that one run may take.
        time_limit: Duration = seconds(0.001..=86_400.0).default("10"),
        /// Seconds that a model may take to load.
        load_limit: Duration = seconds(1.0..=86_400.0).default("120"),
    }
}
