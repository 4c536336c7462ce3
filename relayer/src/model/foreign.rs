//! What a file is that is no ONNX file.

use std::fmt;

/// Bytes of a file's beginning that are looked at.
pub(super) const LOOKED_AT: usize = 512;

/// A kind of file that is often found where an ONNX file should be, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign(&'static Kind);

#[derive(Debug, PartialEq, Eq)]
struct Kind {
    what: &'static str,
    remedy: &'static str,
}

const fn kind(what: &'static str, remedy: &'static str) -> Kind {
    Kind { what, remedy }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.what, self.0.remedy)
    }
}

const DOWNLOAD: &str = "download the file itself";
const UNPACK: &str = "unpack it";
const EXPORT: &str = "export the model to ONNX";

/// Beginnings that tell a kind of file, at an offset.
static KINDS: [(usize, &[u8], Kind); 19] = [
    (0, b"version https://git-lfs.github.com/spec/", kind("a Git LFS pointer", "fetch the file with `git lfs pull`")),
    (0, b"\x1f\x8b", kind("compressed with gzip", "unpack it with `gunzip`")),
    (0, b"\x28\xb5\x2f\xfd", kind("compressed with zstd", "unpack it with `unzstd`")),
    (0, b"\xfd7zXZ\0", kind("compressed with xz", "unpack it with `unxz`")),
    (0, b"BZh", kind("compressed with bzip2", "unpack it with `bunzip2`")),
    (0, b"7z\xbc\xaf", kind("a 7z archive", UNPACK)),
    (0, b"Rar!", kind("a RAR archive", UNPACK)),
    (257, b"ustar", kind("a tar archive", "unpack it with `tar -xf`")),
    (0, b"PK\x03\x04", kind("a zip archive, as PyTorch saves models", "export the model to ONNX, or unpack it")),
    (0, b"\x80\x02", kind("a Python pickle, as PyTorch and scikit-learn save models", EXPORT)),
    (0, b"\x80\x03", kind("a Python pickle, as PyTorch and scikit-learn save models", EXPORT)),
    (0, b"\x80\x04", kind("a Python pickle, as PyTorch and scikit-learn save models", EXPORT)),
    (0, b"\x80\x05", kind("a Python pickle, as PyTorch and scikit-learn save models", EXPORT)),
    (0, b"\x89HDF\r\n", kind("an HDF5 file, as Keras saves models", EXPORT)),
    (4, b"TFL3", kind("a TensorFlow Lite model", EXPORT)),
    (4, b"ORTM", kind("a model in ONNX Runtime's own format", "keep the ONNX file that it was made of")),
    (0, b"GGUF", kind("a GGUF model", EXPORT)),
    (8, b"{\"", kind("a safetensors file, which holds weights without a model", EXPORT)),
    (0, b"%PDF", kind("a PDF", DOWNLOAD)),
];

static EMPTY: Kind = kind("empty", "download it again");
static WEB_PAGE: Kind = kind("a web page", DOWNLOAD);
static XML: Kind = kind("XML", DOWNLOAD);
static JSON: Kind = kind("JSON", DOWNLOAD);
static TEXT: Kind = kind("text", DOWNLOAD);

/// What a file is that begins with these bytes; `None` if they tell nothing.
pub(super) fn recognise(beginning: &[u8]) -> Option<Foreign> {
    if beginning.is_empty() {
        return Some(Foreign(&EMPTY));
    }
    let begins = |(offset, bytes, _): &&(usize, &[u8], Kind)| {
        beginning.get(*offset..).is_some_and(|rest| rest.starts_with(bytes))
    };
    if let Some((.., kind)) = KINDS.iter().find(begins) {
        return Some(Foreign(kind));
    }
    let beginning = &beginning[..beginning.len().min(LOOKED_AT)];
    let text = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        // The end of what is looked at may be within a character.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&beginning[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let is_tag = |name: &str| text.get(..name.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(name));
    if is_tag("<!doctype html") || is_tag("<html") || is_tag("<head") {
        Some(Foreign(&WEB_PAGE))
    } else if text.starts_with("<?xml") || text.starts_with('<') {
        Some(Foreign(&XML))
    } else if text.starts_with(['{', '[']) {
        Some(Foreign(&JSON))
    } else if !text.is_empty() && !text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        Some(Foreign(&TEXT))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F15: the file is called what it is, with what to do.
    #[test]
    fn files_of_other_kinds_are_recognised() {
        let tar = [&[b'a'; 257][..], b"ustar\x0000"].concat();
        for (file, says) in [
            (
                &b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n"[..],
                "Git LFS pointer: fetch the file with `git lfs pull`",
            ),
            (b"<!DOCTYPE html>\n<html>", "a web page"),
            (b"\xef\xbb\xbf\n<HTML>", "a web page"),
            (b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>", "XML"),
            (b"\x1f\x8b\x08\0", "gunzip"),
            (b"PK\x03\x04", "PyTorch"),
            (b"\x80\x04\x95", "pickle"),
            (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
            (b"{\"error\":\"not found\"}", "JSON"),
            (b"Not Found", "text"),
            (b"", "empty"),
            (&tar, "tar -xf"),
        ] {
            let found = recognise(file).map(|found| found.to_string());
            assert!(found.as_ref().is_some_and(|found| found.contains(says)), "{says}: {found:?}");
        }
        assert_eq!(recognise(b"\x08\x08\x12\x08oraculum"), None);
    }
}
