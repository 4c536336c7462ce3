//! Domains, each a set of operators with versions of its own.

/// Domains of the ONNX standard.
pub(super) const STANDARD_DOMAINS: [&str; 3] = ["", "ai.onnx", "ai.onnx.ml"];
/// Domain of ONNX Runtime's own operators, of which those of `CONTRIB` are run.
pub(super) const CONTRIB_DOMAIN: &str = "com.microsoft";
/// Domains in which runtimes have operators of their own; a function must not pass for one of them.
pub(super) const RESERVED_DOMAINS: [&str; 4] = ["ai.onnx", CONTRIB_DOMAIN, "com.ms", "org.pytorch"];
