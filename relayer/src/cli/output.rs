//! What is printed: data on standard output, everything else on standard error.
//!
//! Nothing ends because its reader is gone, and a node not because its log cannot be written either: a disk that is full
//! is no reason to stop answering.

use std::{
    error::Error,
    fmt,
    io::{self, ErrorKind, IsTerminal, Write},
};

use serde::Serialize;
use tracing_subscriber::fmt::MakeWriter;

/// What every command ends with; the error says what to do.
pub type CommandResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Prints data on standard output. A reader that has gone away is no error: `oraculum … | head` is fine.
pub(super) fn print(text: &str) -> CommandResult {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}").into())
        }
        _ => Ok(()),
    }
}

/// Prints a value as JSON on standard output, indented.
pub(super) fn print_json(value: &impl Serialize) -> CommandResult {
    print(&serde_json::to_string_pretty(value)?)
}

/// Prints a value as JSON on standard output, in one line.
pub(super) fn print_json_line(value: &impl Serialize) -> CommandResult {
    print(&serde_json::to_string(value)?)
}

/// Tells people something in a line on standard error, where anybody reads it.
macro_rules! tell {
    ($($arguments:tt)*) => { $crate::cli::output::tell_line(format_args!($($arguments)*)) };
}
pub(super) use tell;

pub(super) fn tell_line(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether standard error is shown in colors: on a terminal, unless `NO_COLOR` says no (no-color.org).
pub(super) fn is_colored() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Standard error as logs are written to it: what cannot be written is lost, and nothing fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogWriter;

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
