//! The system's index of libraries, `/etc/ld.so.cache`, as glibc 2.2 and later write it.

use std::{collections::HashMap, fs::File, io::Read, path::PathBuf};

const FILE: &str = "/etc/ld.so.cache";
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// Bytes of the file that are read at most; one of 10,000 libraries has one million.
const MAX_FILE: u64 = 16 << 20;

/// Paths of the system's libraries by their names, in the order in which the loader tries them; empty where there is no index.
pub(super) fn read() -> HashMap<String, Vec<PathBuf>> {
    let mut bytes = Vec::new();
    match File::open(FILE).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)) {
        Ok(_) => parse(&bytes),
        Err(_) => HashMap::new(),
    }
}

fn parse(bytes: &[u8]) -> HashMap<String, Vec<PathBuf>> {
    let mut libraries = HashMap::<String, Vec<PathBuf>>::new();
    // Before it there may be the same in an older form.
    let Some(start) = bytes.windows(MAGIC.len()).position(|window| window == MAGIC) else { return libraries };
    let index = bytes.get(start..).unwrap_or_default();
    let number = |at: usize| {
        let bytes = index.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let text = |at: usize| {
        let rest = index.get(at..)?;
        std::str::from_utf8(rest.get(..rest.iter().position(|byte| *byte == 0)?)?).ok()
    };
    let count = number(MAGIC.len()).unwrap_or_default();
    for entry in (0..count.min(index.len() / ENTRY)).map(|entry| HEADER + entry * ENTRY) {
        let Some((name, path)) = number(entry + 4).and_then(text).zip(number(entry + 8).and_then(text)) else {
            continue;
        };
        libraries.entry(name.to_owned()).or_default().push(path.into());
    }
    libraries
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An index of names and paths.
    fn index(libraries: &[(&str, &str)]) -> Vec<u8> {
        let (mut entries, mut strings) = (Vec::new(), Vec::new());
        let at = HEADER + libraries.len() * ENTRY;
        for (name, path) in libraries {
            let mut place = |text: &str| {
                let place = u32::try_from(at + strings.len()).unwrap();
                strings.extend_from_slice(text.as_bytes());
                strings.push(0);
                place
            };
            let (name, path) = (place(name), place(path));
            entries.extend([3, name, path, 0, 0, 0].into_iter().flat_map(u32::to_le_bytes));
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend(u32::try_from(libraries.len()).unwrap().to_le_bytes());
        bytes.resize(HEADER, 0);
        [bytes, entries, strings].concat()
    }

    #[test]
    fn libraries_are_found_by_name_in_the_order_of_the_index() {
        let bytes =
            index(&[("liba.so.1", "/x/liba.so.1"), ("libb.so.2", "/x/libb.so.2"), ("liba.so.1", "/y/liba.so.1")]);
        let found = parse(&[&b"ld.so-1.7.0 and its libraries"[..], &bytes].concat());
        assert_eq!(found["liba.so.1"], [PathBuf::from("/x/liba.so.1"), PathBuf::from("/y/liba.so.1")]);
        assert_eq!((found.len(), &found["libb.so.2"][..]), (2, &[PathBuf::from("/x/libb.so.2")][..]));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_systems_index_has_the_c_library() {
        let found = read();
        // Not every system has an index.
        assert!(found.is_empty() || found["libc.so.6"].iter().any(|path| path.exists()), "{found:?}");
    }

    proptest! {
        #[test]
        fn a_damaged_index_is_read_as_far_as_it_goes(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20), cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = index(&[("liba.so.1", "/x/liba.so.1"), ("libb.so.2", "/x/libb.so.2")]);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.index(bytes.len()));
            parse(&bytes);
        }
    }
}
