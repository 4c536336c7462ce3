//! Names of the values that the guard adds.

use super::GuardError;

/// What every added name begins with; a file that uses it is refused.
const PREFIX: &str = "guard:";

/// Gives names that no value of the file has.
#[derive(Default)]
pub(super) struct Names {
    given: u32,
}

impl Names {
    /// A name that was not given before.
    pub(super) fn fresh(&mut self) -> String {
        self.given += 1;
        format!("{PREFIX}{}", self.given)
    }

    /// The name of something of which there is one.
    pub(super) fn own(kind: &str, which: &str) -> String {
        format!("{PREFIX}{kind}:{which}")
    }

    /// Refuses a name of the file that the guard could give.
    pub(super) fn check(name: &str) -> Result<(), GuardError> {
        if name.starts_with(PREFIX) { Err(GuardError::Name(name.to_owned())) } else { Ok(()) }
    }
}
