//! The environment variables that are about this program: each has a meaning, or it is an error, for a misspelt one would
//! silently mean nothing.

use std::ffi::{OsStr, OsString};

use clap::Command;

use crate::{
    config::{self, ConfigError},
    engine::JUDGE_CACHE_VARIABLE,
    failpoint,
    keys::PASSWORD_VARIABLE,
};

const PREFIX: &str = "ORACULUM_";
/// Variables of the script that deploys a coordinator, `contracts/script/Deploy.s.sol`: the same shell may run a node next.
const OF_THE_DEPLOY_SCRIPT: [&str; 2] = ["ORACULUM_OWNER", "ORACULUM_DEV"];

/// Checks the variables of this process against those of the configuration and the command line.
///
/// # Errors
/// `UnknownVariable` for one that means nothing; `Value` for one that is not UTF-8.
pub(super) fn check(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    command: &Command,
) -> Result<(), ConfigError> {
    let mut known = config::variables();
    known.push(PASSWORD_VARIABLE.to_owned());
    known.push(JUDGE_CACHE_VARIABLE.to_owned());
    known.extend(failpoint::VARIABLES.iter().map(|name| (*name).to_owned()));
    known.extend(OF_THE_DEPLOY_SCRIPT.map(str::to_owned));
    add_arguments(command, &mut known);
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || is_link(&name, &value) {
            continue;
        }
        if !known.iter().any(|known| *known == name) {
            return Err(config::unknown_variable(&name, known.iter().map(String::as_str)));
        }
        if value.to_str().is_none() {
            let (origin, reason) = (name.into_owned(), "it is not UTF-8; set it again".to_owned());
            return Err(ConfigError::Value { key: "its value".into(), origin, reason });
        }
    }
    Ok(())
}

fn add_arguments(command: &Command, known: &mut Vec<String>) {
    let variables = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str());
    known.extend(variables.filter(|name| name.starts_with(PREFIX)).map(str::to_owned));
    command.get_subcommands().for_each(|command| add_arguments(command, known));
}

/// Whether Kubernetes or Docker set a variable, as they do for a service that is called `oraculum`.
fn is_link(name: &str, value: &OsStr) -> bool {
    let address = value.to_str().is_some_and(|value| value.starts_with("tcp://") || value.starts_with("udp://"));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP"))
        || name.ends_with("_PORT") && address
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use proptest::prelude::*;

    use super::*;
    use crate::cli::Cli;

    fn checked(name: &str, value: &str) -> Result<(), ConfigError> {
        check([(name.into(), value.into())], &Cli::command())
    }

    /// F16: a misspelt variable is an error with the nearest name, whatever it was to be about.
    #[test]
    fn an_unknown_variable_is_an_error_with_the_nearest_name() {
        for (wrong, meant) in [
            ("ORACULUM_CHAIN_RPC_URL", "ORACULUM_CHAIN_RPC_URLS"),
            ("ORACULUM_CHIAN_CHAIN_ID", "ORACULUM_CHAIN_CHAIN_ID"),
            ("ORACULUM_PASWORD", "ORACULUM_PASSWORD"),
            ("ORACULUM_LOGFORMAT", "ORACULUM_LOG_FORMAT"),
            ("ORACULUM_CONFIGS", "ORACULUM_CONFIG"),
        ] {
            let error = checked(wrong, "1").unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains(&format!("did you mean `{meant}`?")), "{error}");
        }
        let error = checked("ORACULUM_SOMETHING_ELSE", "1").unwrap_err().to_string();
        assert!(error.contains("unset it") && error.len() < 400, "{error}");
    }

    #[test]
    fn every_variable_of_ours_is_known_and_others_are_left_alone() {
        for name in
            ["ORACULUM_PASSWORD", "ORACULUM_LOG", "ORACULUM_MODELS", "ORACULUM_NODE_OWNER", "ORT_DYLIB_PATH", "PATH"]
        {
            checked(name, "x").unwrap();
        }
        for (name, value) in [
            ("ORACULUM_SERVICE_HOST", "10.0.0.1"),
            ("ORACULUM_NODE_SERVICE_PORT_HTTP", "80"),
            ("ORACULUM_PORT", "tcp://10.0.0.1:80"),
            ("ORACULUM_PORT_80_TCP_ADDR", "10.0.0.1"),
        ] {
            checked(name, value).unwrap();
        }
    }

    proptest! {
        /// F16: whatever the name, the message is one line.
        #[test]
        fn a_damaged_name_is_known_or_refused_in_one_line(rest in "\\PC{0,40}|[A-Z_]{0,40}|[\\n\\r\\x1b]{1,3}") {
            if let Err(error) = checked(&format!("{PREFIX}{rest}"), "1") {
                let told = error.to_string();
                prop_assert!(!told.chars().any(char::is_control) && told.len() < 1000, "{:?}", told);
            }
        }
    }
}
