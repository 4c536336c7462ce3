//! Text that others wrote, made fit for a line of a log or a terminal.

use std::fmt::Write;

/// Characters of a foreign text that are shown at most.
const LONGEST: usize = 300;

/// Returns a foreign text as one line: what a terminal would act on, or nobody would see, is escaped, and what is long is cut.
/// An endpoint's words, a contract's revert reason and a server's page could otherwise write lines of their own into a log.
#[must_use]
pub fn one_line(text: &str) -> String {
    cut(text, LONGEST)
}

/// Returns the beginning of a foreign text as one line.
#[must_use]
pub fn cut(text: &str, longest: usize) -> String {
    let mut rest = text.trim().char_indices().skip(longest);
    match rest.next() {
        Some((end, _)) => escaped(&text.trim()[..end]) + "…",
        None => escaped(text.trim()),
    }
}

/// Returns all of a text as one line.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if is_plain(character) {
            line.push(character);
        } else {
            let _ = write!(line, "{}", character.escape_default());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped_and_words_of_any_language_stay() {
        assert_eq!(one_line("nonce too low"), "nonce too low");
        assert_eq!(one_line("nönce zu niedrig, 数値, مرحبا"), "nönce zu niedrig, 数値, مرحبا");
        assert_eq!(
            one_line("a\n2026 INFO paid\r\u{1b}[2J\u{9b}31m\u{7}"),
            "a\\n2026 INFO paid\\r\\u{1b}[2J\\u{9b}31m\\u{7}"
        );
        assert_eq!(one_line("abc\u{202e}fed\u{200b}\u{2028}g"), "abc\\u{202e}fed\\u{200b}\\u{2028}g");
    }

    #[test]
    fn what_is_long_is_cut() {
        let line = one_line(&"é".repeat(301));
        assert_eq!((line.chars().count(), line.ends_with("é…")), (301, true));
        assert_eq!(cut("abc", 3), "abc");
    }
}
