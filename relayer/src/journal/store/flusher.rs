//! The thread that brings the journal to the disk every second: first the log, then the trees. sled's own thread
//! knows nothing of the log and is switched off.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tracing::{info, warn};

use super::{
    trees::folder,
    wal::{self, Wal},
};
use crate::journal::JournalError;

/// Commits wait for the end of a flush, some milliseconds: more often would be felt in the latency of answers.
const INTERVAL: Duration = Duration::from_secs(1);

/// Flushes until it is dropped, and then once more.
#[derive(Debug)]
pub(super) struct Flusher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Starts the thread for the database in a folder.
    ///
    /// # Errors
    /// `Folder` if there can be no thread.
    pub(super) fn start(wal: Arc<Mutex<Wal>>, db: sled::Db, path: &Path) -> Result<Self, JournalError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let mut fails = false;
        let mut flush = move || {
            if !wal::lock(&wal).is_unflushed() {
                return;
            }
            match wal::flush(&wal, &db) {
                Ok(()) if std::mem::take(&mut fails) => info!("the journal reaches the disk again"),
                // The database refuses every commit after a failure of its own.
                Err(error) if !std::mem::replace(&mut fails, true) => {
                    warn!(%error, "the journal does not reach the disk; lost power would take what it holds");
                }
                _ => {}
            }
        };
        let flushing = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
                flush();
            }
            flush();
        };
        let thread =
            thread::Builder::new().name("journal".into()).spawn(flushing).map_err(|source| folder(path, source))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop = None;
        // One that panicked has nothing left to do.
        self.thread.take().map(JoinHandle::join);
    }
}
