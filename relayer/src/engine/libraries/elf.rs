//! What a shared library says of itself in ELF: for which machine it is, and which others it needs.
//!
//! Only what finding libraries takes is read, in 64-bit little-endian files. Every size that a file states is bounded, for a file
//! may state anything.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// Bytes of a table that are read at most.
const MAX_TABLE: u64 = 1 << 20;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const NEEDED: u64 = 1;
/// Folders, by an older and a newer name.
const FOLDERS: [u64; 2] = [15, 29];
const STRING_TABLE: u64 = 5;
const STRING_TABLE_SIZE: u64 = 10;

/// What a library asks of the loader.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Linked {
    /// Names of the libraries that it is linked to.
    pub needed: Vec<String>,
    /// Lists of folders, joined by colons, in which these are; `$ORIGIN` is the library's own.
    pub folders: Vec<String>,
}

/// What a library is linked to.
///
/// # Errors
/// The system's, or `InvalidData` for what is no such file.
pub(super) fn linked(path: &Path) -> io::Result<Linked> {
    linked_in(&mut File::open(path)?)
}

/// Whether a file is a library for this machine, as far as its head tells.
pub(super) fn is_for_this_machine(path: &Path) -> bool {
    let machine = File::open(path).and_then(|mut file| Ok(machine(&header(&mut file)?)));
    let expected = match std::env::consts::ARCH {
        "x86_64" => 62,
        "aarch64" => 183,
        // The loader will say.
        _ => return machine.is_ok(),
    };
    machine.is_ok_and(|machine| machine == expected)
}

/// Part of the file that is mapped to addresses.
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn header(file: &mut (impl Read + Seek)) -> io::Result<[u8; HEADER]> {
    let mut header = [0; HEADER];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut header).map_err(|_| invalid("it is too short for a library"))?;
    // Magic number, 64 bits, little-endian.
    if header.get(..6) != Some(&[0x7f, b'E', b'L', b'F', 2, 1]) {
        return Err(invalid("it is no 64-bit ELF file"));
    }
    Ok(header)
}

fn machine(header: &[u8]) -> u16 {
    number(header, 18, 2) as u16
}

/// The little-endian number of `size` bytes at a place, or 0 behind the end.
fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    let bytes = bytes.get(at..at + size).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn read(file: &mut (impl Read + Seek), at: u64, size: u64) -> io::Result<Vec<u8>> {
    if size > MAX_TABLE {
        return Err(invalid("its tables are too large"));
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn linked_in(file: &mut (impl Read + Seek)) -> io::Result<Linked> {
    let header = header(file)?;
    let (at, count) = (number(&header, 32, 8), number(&header, 56, 2));
    let table = read(file, at, count * PROGRAM_HEADER as u64)?;
    let segments: Vec<_> = table
        .chunks_exact(PROGRAM_HEADER)
        .map(|entry| Segment {
            kind: number(entry, 0, 4) as u32,
            offset: number(entry, 8, 8),
            address: number(entry, 16, 8),
            size: number(entry, 32, 8),
        })
        .collect();
    let dynamic = segments.iter().find(|segment| segment.kind == DYNAMIC).ok_or(invalid("it is no shared library"))?;
    let dynamic = read(file, dynamic.offset, dynamic.size)?;
    let entries: Vec<_> = dynamic.chunks_exact(16).map(|entry| (number(entry, 0, 8), number(entry, 8, 8))).collect();
    let of = |tag| entries.iter().find(|(found, _)| *found == tag).map(|(_, value)| *value);
    let (address, size) = of(STRING_TABLE).zip(of(STRING_TABLE_SIZE)).ok_or(invalid("it has no names"))?;
    let offset = segments
        .iter()
        .filter(|segment| segment.kind == LOAD)
        .find_map(|segment| {
            let within = address.checked_sub(segment.address).filter(|within| *within < segment.size)?;
            segment.offset.checked_add(within)
        })
        .ok_or(invalid("its names lie nowhere"))?;
    let strings = read(file, offset, size)?;
    let name = |at: u64| {
        let rest = strings.get(usize::try_from(at).ok()?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(rest.get(..end)?).ok().map(str::to_owned)
    };
    let all =
        |tags: &[u64]| entries.iter().filter(|(tag, _)| tags.contains(tag)).filter_map(|(_, at)| name(*at)).collect();
    Ok(Linked { needed: all(&[NEEDED]), folders: all(&FOLDERS) })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn this_program_needs_the_c_library_and_is_for_this_machine() {
        let own = std::env::current_exe().unwrap();
        let needed = linked(&own).unwrap().needed;
        assert!(needed.iter().any(|name| name.starts_with("libc.so")), "{needed:?}");
        assert!(is_for_this_machine(&own));
        assert!(!is_for_this_machine(Path::new("/proc/self/maps")));
    }

    #[test]
    fn what_is_no_library_says_so() {
        for (bytes, says) in [(&b"\x7fELF"[..], "too short"), (&[0; 64][..], "no 64-bit ELF file")] {
            let error = linked_in(&mut Cursor::new(bytes)).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    proptest! {
        /// A file may state any offset and any size.
        #[cfg(target_os = "linux")]
        #[test]
        fn a_damaged_file_is_read_or_refused(changes in prop::collection::vec((0usize..4096, any::<u8>()), 1..40)) {
            let mut bytes = vec![0; 4096];
            let own = std::env::current_exe().unwrap();
            File::open(own).unwrap().read_exact(&mut bytes).unwrap();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            let _ = linked_in(&mut Cursor::new(bytes));
        }
    }
}
