//! The thread that brings the journal to the disk a few times a second: first the log, then the trees, so that the disk never
//! has a part of a commit in the trees whose line it lacks. sled's own thread knows nothing of the log and is switched off.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tracing::{info, warn};

use super::{trees::folder, wal::Wal};
use crate::journal::JournalError;

const INTERVAL: Duration = Duration::from_millis(200);

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
    pub(super) fn start(wal: Arc<Mutex<Wal>>, db: sled::Db, path: PathBuf) -> Result<Self, JournalError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let at = path.clone();
        let mut fails = false;
        let mut flush = move || {
            let unflushed = wal.lock().unwrap_or_else(PoisonError::into_inner).unflushed();
            match unflushed.map_or(Ok(()), |unflushed| unflushed.flush(&db, &path)) {
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
            thread::Builder::new().name("journal".into()).spawn(flushing).map_err(|source| folder(&at, source))?;
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
