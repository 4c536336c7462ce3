//! `[engine.cuda]`, `[engine.tensorrt]` and `[engine.plugin]`.

use std::path::PathBuf;

use super::{
    key::Reader,
    readers::{boolean, mebibytes, path, text, texts, variant},
    section::section,
};
use crate::engine::{ArenaGrowth, ConvolutionSearch, CudaOptions, PluginOptions, TensorrtOptions};

section! {
    /// Options of CUDA, which runs models where engine.provider is `cuda`, `auto` or, beside TensorRT, `tensorrt`. What would
    /// have it give other bits from start to start is fixed: no TF32, no algorithm that is chosen by its time.
    struct CudaOptions = "engine.cuda" {
        /// MiB that one model may take on one GPU for its weights and runs (`gpu_mem_limit`); a run that wants more fails, and the
        /// model serves on. What CUDA and cuDNN take for themselves is not counted. Without it, there is no limit.
        memory_limit: Option<u64> = mebibytes().optional("4096"),
        /// How that memory grows (`arena_extend_strategy`): `doubling` takes steps that double; `exact` takes as much as is asked
        /// for, which holds less and asks the driver more often.
        arena: ArenaGrowth = variant().default("\"doubling\""),
        /// How cuDNN's algorithm for a convolution is chosen (`cudnn_conv_algo_search`): `default` takes the one that always works,
        /// `heuristic` the one that cuDNN expects to be fastest here. The exhaustive search would choose by time.
        convolution: ConvolutionSearch = variant().default("\"default\""),
    }
}

section! {
    /// Options of TensorRT, where engine.provider is `tensorrt`. It builds an engine of each model when that is loaded, which takes
    /// minutes (engine.load_limit), and again in a run whose input has sizes unlike those before: serve models of fixed sizes.
    struct TensorrtOptions = "engine.tensorrt" {
        /// The folder in which built engines are kept; nobody else may write to it, for what lies there is run. Without it, every
        /// start builds them anew, perhaps with other bits.
        cache: Option<PathBuf> = path().optional("\"data/tensorrt\""),
        /// Whether half precision may be used. Its answers are further from the reference: look whether the cards' tolerances allow it.
        fp16: bool = boolean().default("false"),
        /// MiB of scratch memory that an engine may use. Without it, as much as there is.
        workspace: Option<u64> = mebibytes().optional("2048"),
    }
}

section! {
    /// An execution provider in a library of its own, where engine.provider is `plugin`: one that is built for ONNX Runtime's
    /// interface of plugins, such as those of PyPI's onnxruntime-ep-… packages. engine.device_ids counts its devices.
    struct PluginOptions = "engine.plugin" {
        /// The library that the provider is in.
        library: Option<PathBuf> = path().optional("\"/opt/onnxruntime-ep/libonnxruntime_providers_openvino_plugin.so\""),
        /// The provider's name, where the library has several.
        name: Option<String> = text().optional("\"OpenVINOExecutionProvider\""),
        /// Options of the provider, as it names them. Those that change an output's bits are between you and the cards' tolerances.
        options: Vec<(String, String)> = pairs().default("[]"),
    }
}

/// Names and values with `=` between.
fn pairs() -> Reader<Vec<(String, String)>> {
    texts().then(|items| {
        let pair = |item: &String| {
            let (name, value) = item.split_once('=').filter(|(name, _)| !name.trim().is_empty())?;
            // Neither can be told to the runtime otherwise.
            (!item.contains('\0')).then(|| (name.trim().to_owned(), value.trim().to_owned()))
        };
        let pairs = items.iter().map(pair).collect::<Option<Vec<_>>>();
        pairs.ok_or_else(|| "an item has no name and value; write each as \"name=value\"".to_owned())
    })
}
