//! Places where a test may have the process die or a stage panic, before and after every write of the journal and every
//! broadcast.
//!
//! They exist in builds with the feature `chaos` only. `ORACULUM_CRASH_AT=sent.after:3` aborts the process when it passes
//! `sent.after` for the third time; `ORACULUM_PANIC_AT=sent.after:3` panics there every third time. Without a number, at
//! the first or every time.

/// Every crash point.
pub const POINTS: &[&str] = &[
    // A block's logs, with the cursor.
    "taken.before",
    "taken.after",
    // What became final, and what is forgotten.
    "pruned.before",
    "pruned.after",
    // A reorganisation undone.
    "rewound.before",
    "rewound.after",
    // A job passed over or failed.
    "closed.before",
    "closed.after",
    // A nonce whose transaction is not signed yet.
    "reserved.after",
    // A signed transaction, before it is broadcast.
    "sent.before",
    "sent.after",
    // Another attempt under the same nonce.
    "replaced.before",
    "replaced.after",
    // A self-transfer under a nonce that nothing holds.
    "filled.before",
    "filled.after",
    // A receipt.
    "mined.before",
    "mined.after",
    // Receipts that a reorganisation took back.
    "unmined.before",
    "unmined.after",
    // Jobs whose transaction did not answer them.
    "reopened.before",
    "reopened.after",
    // Jobs that a transaction of ours turns out to carry already.
    "adopted.before",
    "adopted.after",
    // A transaction that is final.
    "final.before",
    "final.after",
    // The raw transaction handed to the endpoint.
    "broadcast.before",
    "broadcast.after",
];

/// The environment variables that name them; none are known where there are no crash points.
pub const VARIABLES: &[&str] = if cfg!(feature = "chaos") { &["ORACULUM_CRASH_AT", "ORACULUM_PANIC_AT"] } else { &[] };

/// What an environment variable asks for at a point.
#[cfg(feature = "chaos")]
struct Trap {
    at: Option<(String, u64)>,
    passed: std::sync::atomic::AtomicU64,
}

#[cfg(feature = "chaos")]
impl Trap {
    fn of(variable: &str) -> Self {
        let at = std::env::var(variable).ok().and_then(|text| match text.rsplit_once(':') {
            Some((name, count)) => Some((name.to_owned(), count.parse().ok()?)),
            None => Some((text, 1)),
        });
        Self { at, passed: 0.into() }
    }

    /// How often its point was passed with this, and the number asked for, if this is its point.
    fn pass(&self, name: &str) -> Option<(u64, u64)> {
        let (_, count) = self.at.as_ref().filter(|(wanted, _)| wanted == name)?;
        Some((self.passed.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, *count))
    }
}

/// Passes a crash point of `POINTS`.
#[cfg(feature = "chaos")]
#[allow(clippy::panic)] // a stage that panics is what a test asked for
pub fn failpoint(name: &str) {
    use std::sync::LazyLock;
    static DEATH: LazyLock<Trap> = LazyLock::new(|| Trap::of(VARIABLES[0]));
    static PANIC: LazyLock<Trap> = LazyLock::new(|| Trap::of(VARIABLES[1]));
    debug_assert!(POINTS.contains(&name), "{name} is not among the crash points");
    if DEATH.pass(name).is_some_and(|(passed, count)| passed == count) {
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("crash point {name}\n"));
        std::process::abort();
    }
    if PANIC.pass(name).is_some_and(|(passed, count)| passed.is_multiple_of(count)) {
        panic!("crash point {name}");
    }
}

/// Passes a crash point; nothing without the feature `chaos`.
#[cfg(not(feature = "chaos"))]
#[inline(always)]
pub fn failpoint(_: &str) {}

/// Faults that a test may plant, to show that the simulation finds such. Each takes one care away.
pub const FAULTS: &[&str] = &[
    // An answer is signed without being remembered.
    "signed-unrecorded",
    // A reorganisation leaves answers that it took back as they are.
    "reorganisation-unheard",
    // The last log of a block is lost.
    "log-lost",
    // What is mined counts as final at once.
    "final-at-once",
    // What a pool lost is not broadcast again.
    "broadcast-once",
];

#[cfg(feature = "chaos")]
static PLANTED: std::sync::OnceLock<&'static str> = std::sync::OnceLock::new();

/// Plants a fault of `FAULTS` for the life of the process. Returns whether there is one of that name, and none yet.
#[cfg(feature = "chaos")]
#[must_use]
pub fn plant(name: &str) -> bool {
    FAULTS.iter().find(|fault| **fault == name).is_some_and(|fault| PLANTED.set(fault).is_ok())
}

/// Whether a fault is planted.
#[cfg(feature = "chaos")]
pub fn is_planted(name: &str) -> bool {
    debug_assert!(FAULTS.contains(&name), "{name} is not among the faults");
    PLANTED.get() == Some(&name)
}

/// Whether a fault is planted; never without the feature `chaos`.
#[cfg(not(feature = "chaos"))]
#[inline(always)]
pub fn is_planted(_: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, fs, path::Path};

    /// The names that the sources pass.
    fn passed(folder: &Path, into: &mut HashSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                passed(&path, into);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                into.extend(text.split("failpoint(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.into())));
            }
        }
    }

    #[test]
    fn every_point_is_passed_somewhere_and_every_passed_one_is_listed() {
        let mut found = HashSet::new();
        passed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let listed: HashSet<String> = POINTS.iter().map(|name| (*name).to_owned()).collect();
        found.retain(|name| name.contains('.'));
        assert_eq!(found, listed);
        assert_eq!(POINTS.len(), listed.len());
    }
}
