//! Where a shared library is found: beside the runtime, as Python's packages lay it down, and then where the system's loader looks.

use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::{elf, loader_cache};

/// Folders of an installation of Python packages that are looked at in all.
const MAX_FOLDERS: usize = 256;
/// Lists of packages' files that are read for a version, and bytes of each.
const MAX_PACKAGES: usize = 2_000;
const MAX_LIST: u64 = 4 << 20;

/// A library that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path, as it was found.
    pub path: PathBuf,
    /// Its version, where the name of the file or the package that it came with tells.
    pub version: Option<String>,
}

/// Places in which libraries are looked for.
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// Folders that are looked at first, in this order.
    folders: Vec<PathBuf>,
    /// The folder of the Python packages that the runtime is one of, if it is.
    packages: Option<PathBuf>,
    index: HashMap<String, Vec<PathBuf>>,
}

impl Search {
    /// The places for a runtime at a path, in this process.
    pub(super) fn of(runtime: Option<&Path>) -> Self {
        Self::within(runtime, env::var_os("LD_LIBRARY_PATH"), loader_cache::read())
    }

    fn within(runtime: Option<&Path>, variable: Option<OsString>, index: HashMap<String, Vec<PathBuf>>) -> Self {
        let beside = runtime.and_then(Path::parent);
        // …/site-packages/onnxruntime/capi/libonnxruntime.so, and …/site-packages/nvidia/*/lib.
        let packages = beside.and_then(|folder| folder.parent()?.parent());
        let packages = packages.filter(|packages| packages.join("onnxruntime").is_dir()).map(Path::to_owned);
        let mut folders: Vec<_> = beside.iter().map(|folder| folder.to_path_buf()).collect();
        for packages in packages.as_deref().into_iter().chain(beside) {
            folders.extend(below(&packages.join("nvidia")).into_iter().map(|package| package.join("lib")));
            folders.push(packages.join("tensorrt_libs"));
        }
        // An empty part is the working directory to the loader; a node that takes libraries from there is nobody's wish.
        folders.extend(variable.iter().flat_map(env::split_paths).filter(|folder| folder.is_absolute()));
        Self { folders, packages, index }
    }

    /// The same, with the folders that a library names for those that it is linked to, before all others.
    pub(super) fn with_folders_of(mut self, library: &Path, lists: &[String]) -> Self {
        let origin = library.parent().unwrap_or(library).display().to_string();
        let expand = |list: &String| list.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
        let lists: Vec<_> = lists.iter().map(expand).collect();
        let folders = lists.iter().flat_map(env::split_paths).filter(|folder| folder.is_absolute());
        self.folders = folders.chain(std::mem::take(&mut self.folders)).collect();
        self
    }

    /// Finds a library by the name that others are linked to.
    pub(super) fn find(&self, name: &str) -> Option<Found> {
        let first = self.folders.iter().map(|folder| folder.join(name));
        let last = standard().map(|folder| Path::new(folder).join(name));
        let listed = self.index.get(name).into_iter().flatten().cloned();
        let path = first.chain(listed).chain(last).find(|path| elf::is_for_this_machine(path))?;
        let version = self.version(&path, name);
        Some(Found { path, version })
    }

    /// The version of a library: of the package that lists it, or what stands behind its name in the name of the file itself.
    fn version(&self, path: &Path, name: &str) -> Option<String> {
        if let Some(version) = self.packages.as_deref().and_then(|packages| packaged(packages, path)) {
            return Some(version);
        }
        let file = path.canonicalize().ok()?.file_name()?.to_str()?.to_owned();
        let stem = name.split_once(".so").map_or(name, |(stem, _)| stem);
        let version = file.strip_prefix(stem)?.strip_prefix(".so.")?;
        let named = name.split_once(".so.").map(|(_, version)| version);
        // What the name says already is no news.
        (Some(version) != named).then(|| version.to_owned())
    }
}

/// Folders that the loader looks at without being told.
fn standard() -> impl Iterator<Item = &'static str> {
    let of_machine = match env::consts::ARCH {
        "x86_64" => ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"],
        "aarch64" => ["/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu"],
        _ => ["/lib", "/usr/lib"],
    };
    of_machine.into_iter().chain(["/lib64", "/usr/lib64", "/lib", "/usr/lib"])
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(MAX_FOLDERS);
    let mut folders: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    folders
}

/// Version of the Python package that lists a file.
fn packaged(packages: &Path, path: &Path) -> Option<String> {
    let relative = path.strip_prefix(packages).ok()?.to_str()?;
    let entries = fs::read_dir(packages).ok()?.take(MAX_PACKAGES);
    let infos = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let infos =
        infos.filter_map(|path| Some((path.file_name()?.to_str()?.strip_suffix(".dist-info")?.to_owned(), path)));
    for (package, info) in infos {
        let list = info.join("RECORD");
        if fs::metadata(&list).is_ok_and(|list| list.len() > MAX_LIST) {
            continue;
        }
        let lists = |line: &str| line.split(',').next() == Some(relative);
        if fs::read_to_string(list).is_ok_and(|list| list.lines().any(lists)) {
            return package.rsplit_once('-').map(|(_, version)| version.to_owned());
        }
    }
    None
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// A library for this machine, as far as its head tells.
    fn lay(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let own = fs::read(env::current_exe().unwrap()).unwrap();
        fs::write(path, &own[..64]).unwrap();
    }

    #[test]
    fn libraries_are_found_beside_the_runtime_before_the_variables_folders_and_the_systems() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path);
        let runtime = at("site/onnxruntime/capi/libonnxruntime.so.1");
        lay(&runtime);
        lay(&at("variable/liba.so.1"));
        lay(&at("system/liba.so.1"));
        let variable = env::join_paths([PathBuf::new(), "relative".into(), at("variable")]).unwrap();
        let index = HashMap::from([("liba.so.1".to_owned(), vec![at("none/liba.so.1"), at("system/liba.so.1")])]);
        let find = || {
            let search = Search::within(Some(&runtime), Some(variable.clone()), index.clone());
            search.find("liba.so.1").map(|found| found.path)
        };
        assert_eq!(find(), Some(at("variable/liba.so.1")));
        lay(&at("site/nvidia/cu13/lib/liba.so.1"));
        assert_eq!(find(), Some(at("site/nvidia/cu13/lib/liba.so.1")));
        // A text in its place is passed over.
        fs::write(at("site/onnxruntime/capi/liba.so.1"), "INPUT(-la)").unwrap();
        assert_eq!(find(), Some(at("site/nvidia/cu13/lib/liba.so.1")));
        lay(&at("site/onnxruntime/capi/liba.so.1"));
        assert_eq!(find(), Some(at("site/onnxruntime/capi/liba.so.1")));
        let system = Search::within(None, None, index.clone());
        assert_eq!(system.find("liba.so.1").map(|found| found.path), Some(at("system/liba.so.1")));
        assert_eq!(system.find("libnone.so.1"), None);
        let libc = Search::of(None).find("libc.so.6");
        assert!(libc.is_some_and(|found| found.path.is_absolute()));
    }

    #[test]
    fn a_version_is_the_packages_or_the_files() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path);
        let runtime = at("onnxruntime/capi/libonnxruntime.so.1");
        lay(&runtime);
        lay(&at("nvidia/cudnn/lib/libcudnn.so.9"));
        lay(&at("other/libb.so.1.2.3"));
        std::os::unix::fs::symlink("libb.so.1.2.3", at("other/libb.so.1")).unwrap();
        fs::create_dir(at("nvidia_cudnn_cu13-9.28.1.4.dist-info")).unwrap();
        let list = "nvidia/cudnn/lib/libcudnn.so.9,sha256=abc,1\n";
        fs::write(at("nvidia_cudnn_cu13-9.28.1.4.dist-info/RECORD"), list).unwrap();
        let search = Search::within(Some(&runtime), Some(at("other").into()), HashMap::new());
        let version = |name| search.find(name).unwrap().version;
        assert_eq!(version("libcudnn.so.9").as_deref(), Some("9.28.1.4"));
        assert_eq!(version("libb.so.1").as_deref(), Some("1.2.3"));
        assert_eq!(version("libb.so.1.2.3"), None);
    }
}
