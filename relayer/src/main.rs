//! The `oraculum` binary.
fn main() {}
