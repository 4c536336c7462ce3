//! JSON as programs write it that know more numbers than JSON does: Python has `NaN`, `Infinity` and `-Infinity` bare.

use std::borrow::Cow;

use crate::text;

/// What a bare token becomes: a string that no writer of JSON means, so that it cannot be taken for a text.
const MARK: &str = "\\u0000";

/// The bare tokens of floats that JSON has no number for.
const TOKENS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// JSON without a byte order mark, and with the bare tokens as strings that [`bare_float`] knows.
pub(super) fn as_json(bytes: &[u8]) -> Cow<'_, [u8]> {
    let json = text::without_bom(bytes);
    let mut out = Vec::new();
    // Bytes before this are in `out`.
    let mut copied = 0;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = end_of_string(json, at + 1),
            b'N' | b'I' | b'-' => match TOKENS.iter().find(|token| json[at..].starts_with(token.as_bytes())) {
                Some(token) => {
                    out.extend_from_slice(&json[copied..at]);
                    out.extend(format!("\"{MARK}{token}\"").bytes());
                    at += token.len();
                    copied = at;
                }
                None => at += 1,
            },
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.extend_from_slice(&json[copied..]);
    Cow::Owned(out)
}

/// The place behind a string whose content begins at `at`.
fn end_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

/// The bare token that a string stands for.
pub(super) fn bare_float(text: &str) -> Option<&str> {
    text.strip_prefix('\0').filter(|token| TOKENS.contains(token))
}

/// The float that JSON has no number for, by any of its usual names: `NaN`, `Infinity` and `inf`, in any case and with a sign.
pub(super) fn float_by_name(text: &str) -> Option<f64> {
    let name = bare_float(text).unwrap_or(text);
    let unsigned = name.strip_prefix(['+', '-']).unwrap_or(name);
    // 1e999 is infinite, too, and a number that does not fit.
    unsigned.starts_with(|first: char| first.is_ascii_alphabetic()).then(|| name.parse().ok()).flatten()
}
