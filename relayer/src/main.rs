//! The `oraculum` binary.

use std::process::ExitCode;

/// Gives memory back that a burst needed, and is quicker than the system's where one thread allocates what another frees.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    silence_onnx_runtime();
    oraculum::cli::main()
}

/// ONNX Runtime's Linux and macOS builds from npm collect usage data from the moment they are loaded, before its API can
/// be told not to: they make a device id and a database under `~/.cache`, logs in the temporary folder, and report to
/// their maker. This variable is what they heed.
fn silence_onnx_runtime() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    // SAFETY: this is the first thing that the process does, and it has one thread.
    #[allow(unsafe_code, reason = "the environment is the only way to tell the library")]
    unsafe {
        std::env::set_var(VARIABLE, "1");
    }
}
