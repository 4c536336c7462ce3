//! The configuration file with every key documented, which `oraculum init` writes.

use std::fmt::Write;

use super::key::SectionInfo;

/// What is told of keys of which a running node takes over a change.
const RELOADABLE: &str = "Read again on SIGHUP.";

/// Returns the configuration file with every key documented. `values` are TOML literals by full key, in place of defaults;
/// keys with neither are commented out.
#[must_use]
pub(super) fn example(sections: &[SectionInfo], values: &[(&str, String)]) -> String {
    let mut text = String::from(
        "# Configuration of an Oraculum node. Paths are relative to this file. Every key may be overridden by an\n\
         # environment variable, ORACULUM_<SECTION>_<KEY>: ORACULUM_CHAIN_RPC_URLS overrides rpc_urls in [chain].\n",
    );
    for section in sections {
        write_section(&mut text, section, values);
    }
    text
}

fn write_section(text: &mut String, section: &SectionInfo, values: &[(&str, String)]) {
    let all_reloadable = section.keys.iter().all(|key| key.reloadable);
    text.push('\n');
    write_comment(text, section.about, all_reloadable);
    let _ = writeln!(text, "[{}]", section.name);
    for key in &section.keys {
        write_comment(text, key.docs, key.reloadable && !all_reloadable);
        if let Some(range) = &key.range {
            let _ = writeln!(text, "# Range: {range}.");
        }
        let path = key.path();
        let given = values.iter().find(|(name, _)| *name == path).map(|(_, value)| value.as_str());
        let _ = match given.or(key.default()) {
            Some(value) => writeln!(text, "{} = {value}", key.name),
            None => writeln!(text, "# {} = {}", key.name, key.literal),
        };
    }
}

/// Writes lines of documentation as comments, and what is told of reloadable keys at the end of the last one.
fn write_comment(text: &mut String, docs: &[&str], reloadable: bool) {
    let lines: Vec<_> = docs.iter().map(|line| format!("# {}", line.trim())).collect();
    text.push_str(&lines.join("\n"));
    if reloadable {
        let _ = write!(text, " {RELOADABLE}");
    }
    text.push('\n');
}
