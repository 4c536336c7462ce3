//! Text that others wrote: read as they mean it, shown so that it stays one line. Amounts, as people read them.

use alloy::primitives::{Address, U256, utils::format_ether};

/// Characters of a foreign name or value that a message shows at most.
const SHOWN: usize = 200;
/// Characters of a foreign message at most.
const LINE: usize = 300;

/// The bytes of a text without the byte order mark that editors on Windows put before UTF-8.
#[must_use]
pub fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

/// A foreign text as a message may show it: the beginning, as one line.
#[must_use]
pub fn shown(text: &str) -> String {
    cut(text, SHOWN)
}

/// A foreign message as one line: what a terminal would act on, or nobody would see, is escaped, and what is long is cut. An
/// endpoint's words, a contract's revert reason and a server's page could otherwise write lines of their own into a log.
#[must_use]
pub fn one_line(text: &str) -> String {
    cut(text, LINE)
}

/// The beginning of a foreign text as one line.
#[must_use]
pub fn cut(text: &str, longest: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(longest) {
        Some((end, _)) => escaped(&text[..end]) + "…",
        None => escaped(text),
    }
}

/// All of a text as one line.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if is_plain(character) {
            line.push(character);
        } else {
            line.extend(character.escape_default());
        }
    }
    line
}

/// Tells whether a character only shows itself: it moves no cursor, turns no direction, and is not invisible.
fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{180b}'..='\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// A whole number as TOML writes it: decimal or, after 0x, hexadecimal, and with `_` between digits.
#[must_use]
pub fn whole_number(text: &str) -> Option<i64> {
    let digits = text.trim().replace('_', "");
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        // A sign may not come after the prefix.
        Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => i64::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None => digits.parse().ok(),
    }
}

/// An account as people write it: 0x and 40 hexadecimal digits. Where small and capital letters are mixed they are a checksum
/// (EIP-55), which must be right.
///
/// # Errors
/// The reason, with what to write.
pub fn address(text: &str) -> Result<Address, String> {
    let text = text.trim();
    let address: Address =
        text.parse().map_err(|_| format!("`{}` is no address; write 0x and 40 hexadecimal digits", shown(text)))?;
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mixed = digits.contains(|c: char| c.is_ascii_lowercase()) && digits.contains(|c: char| c.is_ascii_uppercase());
    if mixed && !address.to_string().ends_with(digits) {
        return Err(format!(
            "the checksum of `{text}` is wrong, so a digit or a letter is: copy the address again, or write it in small \
             letters if you are sure of it"
        ));
    }
    Ok(address)
}

/// Wei as ETH, exactly, without zeros at the end.
#[must_use]
pub fn eth(wei: U256) -> String {
    let text = format_ether(wei);
    let text = text.trim_end_matches('0');
    text.strip_suffix('.').unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F16: a chain's id is as often seen in hexadecimal.
    #[test]
    fn whole_numbers_are_decimal_or_hexadecimal() {
        for (text, expected) in
            [("1", Some(1)), (" 0x7a69 ", Some(31337)), ("0XFF", Some(255)), ("1_000", Some(1000)), ("-3", Some(-3))]
        {
            assert_eq!(whole_number(text), expected, "{text}");
        }
        for text in ["", "0x", "0x-1", "0x+1", "1.0", "mainnet", "0x10000000000000000"] {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }

    /// F16: a wrong checksum is a wrong address.
    #[test]
    fn an_address_with_a_wrong_checksum_is_refused() {
        let right = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
        for text in [right, &right[2..], &right.to_lowercase(), &format!("0x{}", right[2..].to_uppercase())] {
            assert_eq!(address(text).unwrap().to_string(), right);
        }
        let wrong = address(&right.replace('F', "f")).unwrap_err();
        assert!(wrong.contains("checksum") && wrong.contains("copy the address again"), "{wrong}");
        assert!(address(&right.replace("aa3", "aa4")).unwrap_err().contains("checksum"));
        for text in ["", "0x12", "vitalik.eth", "0x5FbDB2315678afecb367f032d93F642f64180aa3\n00"] {
            let told = address(text).unwrap_err();
            assert!(told.contains("40 hexadecimal digits") && !told.contains('\n'), "{told}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_text() {
        assert_eq!(without_bom(b"\xef\xbb\xbf{}"), b"{}");
        assert_eq!(without_bom(b"{}"), b"{}");
    }

    #[test]
    fn what_a_terminal_acts_on_is_escaped_and_words_of_any_language_stay() {
        assert_eq!(one_line("nönce zu niedrig, 数値, مرحبا"), "nönce zu niedrig, 数値, مرحبا");
        assert_eq!(
            one_line("a\n2026 INFO paid\r\u{1b}[2J\u{9b}31m\u{7}"),
            "a\\n2026 INFO paid\\r\\u{1b}[2J\\u{9b}31m\\u{7}"
        );
        assert_eq!(one_line("abc\u{202e}fed\u{200b}\u{2028}g"), "abc\\u{202e}fed\\u{200b}\\u{2028}g");
    }

    #[test]
    fn what_is_long_is_cut() {
        let line = one_line(&"é".repeat(LINE + 1));
        assert_eq!((line.chars().count(), line.ends_with("é…")), (LINE + 1, true));
        assert_eq!(cut("abc", 3), "abc");
    }

    #[test]
    fn what_is_shown_is_one_short_line_that_steers_nothing() {
        assert_eq!(shown("a\nb\x1b[31m\u{202e}é"), "a\\nb\\u{1b}[31m\\u{202e}é");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), SHOWN + 1);
    }
}
