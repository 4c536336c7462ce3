//! Weights in files beside a model's own: that they are the ones which the details list, and stay what they are.
//!
//! ONNX Runtime opens them by their paths, and keeps what it needs of them mapped as long as a session lives. So the folder is
//! held open, under a path of its own that nobody can put another folder behind. Once the session is open each file has to be
//! the very one that was found before, of the same inode, size and times: a file that was written to, replaced, or put away
//! for a while has another time of change, which no program can set back. After each run none may have been written to.

use std::{
    fs::{self, File, Metadata},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

use super::{
    ModelError,
    graph::Refused,
    pieces::{hash, recognise, unread},
};

/// A file with weights, as `details.json` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListedFile {
    /// Path within the model's folder, with `/` between names.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: B256,
    /// Size in bytes.
    pub size: u64,
}

/// Files beside a model's own that may hold its weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Beside {
    /// None: there is no folder.
    Nothing,
    /// Whichever the model names, as they are.
    AsFound,
    /// Those of a list.
    Listed(Vec<ListedFile>),
}

/// The files with a model's weights, held open in their folder.
#[derive(Debug)]
pub struct OpenWeights {
    folder: PathBuf,
    /// The folder as it was, whatever lies at its path by now.
    pinned: Pinned,
    files: Vec<OpenWeight>,
}

#[derive(Debug)]
struct OpenWeight {
    /// Path within the folder.
    path: String,
    listed: Option<ListedFile>,
    file: File,
    identity: Identity,
}

impl Beside {
    /// Opens the files that a model names in `folder`; `None` if it names none.
    ///
    /// # Errors
    /// `ModelError::Unlisted` or `Unused` where the list has others; `Missing`, `Read`, `Symlink` or `Size` for a file; `Refused`
    /// where there can be none.
    pub(super) fn open(&self, folder: &Path, named: &[String]) -> Result<Option<OpenWeights>, ModelError> {
        let listed: &[ListedFile] = if let Self::Listed(listed) = self { listed } else { &[] };
        if let Some(unused) = listed.iter().find(|file| !named.contains(&file.path)) {
            return Err(ModelError::Unused { path: folder.join(&unused.path) });
        }
        let Some(first) = named.first() else { return Ok(None) };
        if matches!(self, Self::Nothing) {
            return Err(Refused::ExternalData { tensor: first.clone() }.into());
        }
        let pinned = Pinned::new(folder)?;
        let open = |path: &String| {
            let entry = listed.iter().find(|file| file.path == *path).cloned();
            if entry.is_none() && matches!(self, Self::Listed(_)) {
                return Err(ModelError::Unlisted { path: folder.join(path) });
            }
            OpenWeight::open(folder, pinned.path(), path, entry)
        };
        let files = named.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Some(OpenWeights { folder: folder.to_path_buf(), pinned, files }))
    }
}

impl OpenWeights {
    /// The path under which the folder is to be read.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.pinned.path()
    }

    /// Size of all files, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|weight| weight.identity.size).sum()
    }

    /// Paths within the folder, each with its file's size in bytes.
    pub fn sizes(&self) -> impl Iterator<Item = (String, u64)> {
        self.files.iter().map(|weight| (weight.path.clone(), weight.identity.size))
    }

    /// Checks that each file is the one that was opened, and has not been touched since.
    ///
    /// # Errors
    /// `ModelError::Touched` for one that was; `Missing` or `Read`.
    pub fn check_untouched(&self) -> Result<(), ModelError> {
        for OpenWeight { path, file, identity, .. } in &self.files {
            let shown = self.folder.join(path);
            let there = fs::metadata(self.pinned.path().join(path)).map_err(|error| unread(&shown, error))?;
            let held = Identity::of_open(file).map_err(|error| unread(&shown, error))?;
            if Identity::of(&there) != *identity || held != *identity {
                return Err(ModelError::Touched { path: shown });
            }
        }
        Ok(())
    }

    /// Checks that no file has been written to since it was opened. It may have been moved or removed, since the open one stays.
    ///
    /// # Errors
    /// `ModelError::Touched` for one that was; `Altered` or `Read`.
    pub fn check_unwritten(&mut self) -> Result<(), ModelError> {
        for OpenWeight { path, file, listed, identity } in &mut self.files {
            let path = || self.folder.join(&*path);
            let now = Identity::of_open(file).map_err(|error| unread(&path(), error))?;
            if now == *identity {
                continue;
            }
            if !now.may_be_as_written(identity) {
                return Err(ModelError::Touched { path: path() });
            }
            // The time of the last write can be set back.
            verify(&path(), file, listed.as_ref())?;
            *identity = now;
        }
        Ok(())
    }

    /// Reads the listed files in pieces, and checks their hashes; then that no file has been touched since it was opened.
    ///
    /// # Errors
    /// `ModelError::Altered` where the hash is another; else as `check_untouched`.
    pub fn verify(&self) -> Result<(), ModelError> {
        for OpenWeight { path, file, listed, .. } in &self.files {
            verify(&self.folder.join(path), file, listed.as_ref())?;
        }
        self.check_untouched()
    }

    /// Lists the files as they are.
    ///
    /// # Errors
    /// `ModelError::Read`; else as `check_untouched`.
    pub(super) fn list(&self) -> Result<Vec<ListedFile>, ModelError> {
        let list = |OpenWeight { path, file, identity, .. }: &OpenWeight| {
            let sha256 = hash(&self.folder.join(path), file, u64::MAX)?;
            Ok(ListedFile { path: path.clone(), sha256, size: identity.size })
        };
        let files = self.files.iter().map(list).collect::<Result<_, ModelError>>()?;
        self.check_untouched()?;
        Ok(files)
    }

    /// Copies the files into another folder, under the same paths.
    ///
    /// # Errors
    /// `ModelError::Read` or `Write`.
    pub(super) fn copy(&self, folder: &Path) -> Result<(), ModelError> {
        for OpenWeight { path, .. } in &self.files {
            let (from, to) = (self.pinned.path().join(path), folder.join(path));
            let failed = |error| ModelError::Write { path: to.clone(), error };
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            let mut source = File::open(&from).map_err(|error| unread(&self.folder.join(path), error))?;
            let mut target = File::create_new(&to).map_err(failed)?;
            std::io::copy(&mut source, &mut target).map_err(failed)?;
        }
        Ok(())
    }
}

impl OpenWeight {
    /// Opens a file of a folder that is read at `pinned`.
    fn open(folder: &Path, pinned: &Path, path: &str, listed: Option<ListedFile>) -> Result<Self, ModelError> {
        let shown = folder.join(path);
        let failed = |error| unread(&shown, error);
        if listed.is_some() {
            // One name after another: a folder on the way may be a link, too.
            let mut way = pinned.to_path_buf();
            for name in path.split('/') {
                way.push(name);
                if fs::symlink_metadata(&way).map_err(failed)?.is_symlink() {
                    return Err(ModelError::Symlink { path: shown });
                }
            }
        }
        // Opening a pipe would wait for somebody to write into it.
        if !fs::metadata(pinned.join(path)).map_err(failed)?.is_file() {
            return Err(ModelError::Read { path: shown, error: ErrorKind::InvalidInput.into() });
        }
        let file = File::open(pinned.join(path)).map_err(failed)?;
        let identity = Identity::of_open(&file).map_err(failed)?;
        match &listed {
            Some(ListedFile { size, .. }) if *size != identity.size => {
                let found = recognise(&file);
                Err(ModelError::Size { path: shown, expected: *size, actual: identity.size, found })
            }
            _ => Ok(Self { path: path.to_owned(), listed, file, identity }),
        }
    }
}

/// Checks a file's hash, if it is listed.
fn verify(path: &Path, file: &File, listed: Option<&ListedFile>) -> Result<(), ModelError> {
    let Some(ListedFile { sha256: expected, .. }) = listed else { return Ok(()) };
    let actual = hash(path, file, u64::MAX)?;
    if actual == *expected {
        return Ok(());
    }
    Err(ModelError::Altered { path: path.to_path_buf(), expected: *expected, actual, found: recognise(file) })
}

/// A folder under a path that leads to it whatever lies at its own path by now, where the system has such paths.
#[derive(Debug)]
struct Pinned {
    path: PathBuf,
    /// Keeps the path alive.
    _folder: Option<File>,
}

impl Pinned {
    fn new(folder: &Path) -> Result<Self, ModelError> {
        // A bare file's folder may be written as nothing.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            let held = File::open(folder).map_err(|error| unread(folder, error))?;
            let path = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
            if path.exists() {
                return Ok(Self { path, _folder: Some(held) });
            }
        }
        Ok(Self { path: folder.to_path_buf(), _folder: None })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// What tells that a file is another, or was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    size: u64,
    #[cfg(unix)]
    inode: (u64, u64),
    /// Times of the last write and of the last change, in seconds and nanoseconds.
    #[cfg(unix)]
    times: [(i64, i64); 2],
    #[cfg(not(unix))]
    written: Option<std::time::SystemTime>,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Self {
            size: metadata.len(),
            #[cfg(unix)]
            inode: (metadata.dev(), metadata.ino()),
            #[cfg(unix)]
            times: [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())],
            #[cfg(not(unix))]
            written: metadata.modified().ok(),
        }
    }

    /// The same of an open file. An isolated process has no other call for that than this one, which takes no path.
    #[cfg(unix)]
    fn of_open(file: &File) -> std::io::Result<Self> {
        let stat = rustix::fs::fstat(file)?;
        Ok(Self {
            size: stat.st_size.try_into().unwrap_or(u64::MAX),
            inode: (stat.st_dev, stat.st_ino),
            times: [(stat.st_mtime, stat.st_mtime_nsec as i64), (stat.st_ctime, stat.st_ctime_nsec as i64)],
        })
    }

    #[cfg(not(unix))]
    fn of_open(file: &File) -> std::io::Result<Self> {
        file.metadata().map(|metadata| Self::of(&metadata))
    }

    /// Whether a file of this identity may hold what was written into it when it had another: it was moved or removed, or
    /// somebody set its times.
    fn may_be_as_written(&self, before: &Self) -> bool {
        #[cfg(unix)]
        let same = self.times[0] == before.times[0] && self.inode == before.inode;
        #[cfg(not(unix))]
        let same = self.written == before.written;
        same && self.size == before.size
    }
}
