//! A node's process, as far as it can die: its journal, its signer and its endpoint all ask whether it lives.

use std::{
    panic::resume_unwind,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// When a process dies: at one of its next operations, before it or after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Death {
    pub(crate) operations: u32,
    pub(crate) before: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Process {
    dead: AtomicBool,
    death: Mutex<Option<Death>>,
}

/// What a task of a dead process unwinds with.
struct Killed;

impl Process {
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Lets it die.
    pub(crate) fn plan(&self, death: Death) {
        *self.death.lock().unwrap_or_else(PoisonError::into_inner) = Some(death);
    }

    /// Kills it between two operations.
    pub(crate) fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    /// Ends the task that calls this, if its process is dead.
    pub(crate) fn lives(&self) {
        if self.is_dead() {
            resume_unwind(Box::new(Killed));
        }
    }

    /// Does something that outlives the process: a write of the journal or a broadcast. The process may die before it or
    /// after it.
    pub(crate) fn operate<T>(&self, operation: impl FnOnce() -> T) -> T {
        self.lives();
        let due = {
            let mut death = self.death.lock().unwrap_or_else(PoisonError::into_inner);
            match death.as_mut() {
                Some(Death { operations: 0, .. }) => death.take(),
                Some(death) => {
                    death.operations -= 1;
                    None
                }
                None => None,
            }
        };
        match due {
            Some(Death { before: true, .. }) => self.kill(),
            Some(_) => {
                operation();
                self.kill();
            }
            None => return operation(),
        }
        resume_unwind(Box::new(Killed))
    }
}
