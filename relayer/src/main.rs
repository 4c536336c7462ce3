//! The `oraculum` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    oraculum::cli::main()
}
