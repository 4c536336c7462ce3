mod engine;

use proptest::prelude::*;

use super::{key::KeyInfo, value::Kind, *};

const ADDRESS: &str = "0x5FbDB2315678afecb367f032d93F642f64180aa3";

fn path() -> &'static Path {
    Path::new("/etc/oraculum/oraculum.toml")
}

fn valid() -> String {
    let address = format!("\"{ADDRESS}\"");
    example(&[("chain.coordinator", address.clone()), ("node.owner", address)])
}

fn parse(text: &str) -> Result<Settings, ConfigError> {
    Settings::parse(text, path(), [])
}

fn parse_with(variable: &str, value: &str) -> Result<Settings, ConfigError> {
    Settings::parse(&valid(), path(), [(variable.to_owned(), value.to_owned())])
}

/// The error of the valid file with one line replaced.
fn error_of(key: &str, value: &str) -> String {
    let mut found = false;
    let lines: Vec<_> = valid()
        .lines()
        .map(|line| {
            if line.starts_with(&format!("{key} = ")) {
                found = true;
                format!("{key} = {value}")
            } else {
                line.to_owned()
            }
        })
        .collect();
    assert!(found, "{key}");
    parse(&lines.join("\n")).unwrap_err().to_string()
}

/// The least file that can be used.
fn bare() -> String {
    format!("[chain]\ncoordinator = \"{ADDRESS}\"\n[node]\nowner = \"{ADDRESS}\"\n")
}

/// Every key of every section.
fn keys() -> Vec<KeyInfo> {
    sections().into_iter().flat_map(|section| section.keys).collect()
}

/// The valid file with a TOML literal for a key.
fn valid_but(key: &str, literal: &str) -> String {
    let address = format!("\"{ADDRESS}\"");
    example(&[(key, literal.to_owned()), ("chain.coordinator", address.clone()), ("node.owner", address)])
}

#[test]
fn the_example_says_what_holds_without_it() {
    assert_eq!(parse(&valid()).unwrap(), parse(&bare()).unwrap());
}

#[test]
fn every_key_of_the_example_is_documented_and_read() {
    for key in keys() {
        let path = key.path();
        let docs: Vec<_> = key.docs.iter().map(|line| format!("# {}", line.trim())).collect();
        assert!(docs.concat().ends_with('.') && docs.concat().len() > 15, "{path}");
        assert!(valid().contains(&docs.join("\n")), "{path}");
        // No key is a date, so every key that is read says so.
        let text = valid_but(&path, "1979-05-27");
        let line = 1 + text.lines().position(|line| line.ends_with("1979-05-27")).unwrap();
        let error = parse(&text).unwrap_err().to_string();
        let says = format!("/etc/oraculum/oraculum.toml, line {line}: {path} is wrong: its type is datetime; write ");
        assert!(error.starts_with(&says), "{error}");
    }
}

#[test]
fn every_key_of_the_example_has_a_variable_that_says_the_same() {
    for key in keys().iter().filter(|key| key.kind != Kind::Table) {
        let text = match toml::from_str::<toml::Table>(&format!("x = {}", key.literal)).unwrap()["x"].clone() {
            Value::String(text) => text,
            Value::Array(items) => {
                let item = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
                items.iter().map(item).collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        let said = parse_with(&key.variable(), &text).unwrap();
        assert_eq!(said, parse(&valid_but(&key.path(), key.literal)).unwrap(), "{}", key.variable());
    }
}

#[test]
fn samples_in_the_example_are_valid() {
    for key in keys() {
        parse(&valid_but(&key.path(), key.literal)).unwrap();
    }
}

#[test]
fn ranges_are_told_in_the_example() {
    assert!(valid().contains("the endpoint refuses.\n# Range: 1 to 1000000 blocks.\nlog_page = 2000\n"), "{}", valid());
    assert!(valid().contains("\n# What a unit of gas may cost. Read again on SIGHUP.\n[fees]\n"), "{}", valid());
}

#[test]
fn settings_made_without_a_file_are_the_defaults_of_the_file() {
    let address = ADDRESS.parse().unwrap();
    let endpoint = "http://127.0.0.1:8545".parse().unwrap();
    let made = Settings::new(path().parent().unwrap(), &endpoint, 31337, address, address).unwrap();
    assert_eq!(made, parse(&valid()).unwrap());
}

#[test]
fn relative_paths_start_at_the_file() {
    let settings = parse(&valid()).unwrap();
    assert_eq!(settings.node.data_dir, Path::new("/etc/oraculum/data"));
    assert_eq!(settings.keys.signer, Path::new("/etc/oraculum/keys/signer.json"));
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = parse("[chain]\nrpc_uri = \"http://localhost\"\n").unwrap_err().to_string();
    assert_eq!(
        error,
        "/etc/oraculum/oraculum.toml, line 2: unknown key `rpc_uri` in [chain]; did you mean `rpc_urls`?"
    );
    let error = parse("[fees]\ntip = 7\n").unwrap_err().to_string();
    assert!(error.ends_with("there are max_fee_per_gas, min_priority_fee, bump_percent"), "{error}");
    let error = parse("rpc_urls = [\"http://a/secret\"]\n").unwrap_err().to_string();
    assert!(error.contains("line 1: unknown section `rpc_urls`") && !error.contains("secret"), "{error}");
    let error = parse("chain = \"http://a/secret\"\n").unwrap_err().to_string();
    assert!(error.contains("line 1: chain is wrong") && !error.contains("secret"), "{error}");
    let error = parse("[chian]\n").unwrap_err().to_string();
    assert!(error.contains("unknown section `chian`; did you mean `chain`?"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_its_key_and_not_shown_where_it_may_be_secret() {
    let text = format!("{}[policy]\nmin_fee = \"1\"\nmargin_percent = \"a\"\n", bare());
    let error = parse(&text).unwrap_err().to_string();
    assert!(
        error.contains("line 7: policy.margin_percent is wrong: its type is string; write a whole number"),
        "{error}"
    );
    let error = parse("[chain]\nrpc_urls = [\"http://a/secret\", 7]\n").unwrap_err().to_string();
    assert!(error.contains("line 2: chain.rpc_urls is wrong: its type is array of string, integer"), "{error}");
    for value in [
        "[\"http://a/secret\", 7]",
        "\"http://a/secret\"",
        "[[\"http://a/secret\"]]",
        "[\n\"http://a/secret?key=1\" 7]",
        "[\"http://a/secret\"",
        "\"http://a/secret",
    ] {
        let error = parse(&format!("[chain]\nrpc_urls = {value}\n")).unwrap_err().to_string();
        assert!(!error.contains("secret") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn what_is_required_is_asked_for() {
    let error = parse("").unwrap_err().to_string();
    assert_eq!(
        error,
        "/etc/oraculum/oraculum.toml: chain.coordinator is missing; write the address of the coordinator"
    );
    let error = parse(&format!("[chain]\ncoordinator = \"{ADDRESS}\"")).unwrap_err().to_string();
    assert!(error.contains("node.owner is missing"), "{error}");
}

#[test]
fn a_wrong_value_is_named_with_its_key_and_the_remedy() {
    for (key, value, says) in [
        ("rpc_urls", "[\"ftp://example.org\"]", "number 1: an endpoint cannot be reached by `ftp`; write an http"),
        ("rpc_urls", "[\"http://a\", \"localhost\"]", "number 2: it is no URL"),
        ("rpc_urls", "[]", "it is empty"),
        ("rpc_urls", "[\"http://a/key\", \"http://a/key\"]", "http://a/… is listed twice"),
        ("finality", "\"soon\"", "expected one of `depth`, `safe`, `finalized`"),
        ("quorum", "0", "0 of 1 endpoints cannot agree"),
        ("quorum", "2", "2 of 1 endpoints cannot agree; write 1 to 1"),
        ("requests_per_second", "-1", "write 0 to 1000000 requests per second"),
        ("reorg_depth", "0", "write 1 to 8000 blocks"),
        ("confirmations", "65", "chain.reorg_depth is wrong: it is below chain.confirmations"),
        ("chain_id", "0", "chain.chain_id is wrong: 0 is out of range"),
        ("coordinator", "\"0x12\"", "no address; write 0x and 40"),
        ("coordinator", "\"0x0000000000000000000000000000000000000000\"", "zero address"),
        ("confirmations", "9000", "write 0 to 8000 blocks"),
        ("request_timeout", "0", "0.1 to 600 seconds"),
        ("request_timeout", "nan", "out of range"),
        ("poll_interval", "-1", "out of range"),
        ("log_page", "0", "out of range"),
        ("min_fee", "\"0.1\"", "write wei as a whole number"),
        ("min_fee", "\"79228162514264337593543950336\"", "no fee"),
        ("margin_percent", "-101", "write -100 to 100000 per cent"),
        ("balance_alert", "-1", "out of range"),
        ("max_batch", "0", "write 1 to 1000 answers"),
        ("batch_wait", "61", "write 0 to 60 seconds"),
        ("senders", "[]", "it is empty"),
        ("status_listen", "\"0.0.0.0:80\"", "write a loopback address"),
        ("status_listen", "\"here\"", "127.0.0.1:0"),
        ("provider", "\"gpu\"", "expected one of `cpu`, `cuda`, `tensorrt`, `plugin`, `auto`"),
        ("device_ids", "[]", "it is empty"),
        ("queue", "0", "out of range"),
        ("time_limit", "inf", "out of range"),
        ("max_fee_per_gas", "30000000000", "gwei"),
        ("max_fee_per_gas", "0", "allow more"),
        ("min_priority_fee", "87", "below fees.max_fee_per_gas, 100 gwei; lower it"),
        ("bump_percent", "5", "write 10 to 100 per cent"),
    ] {
        let error = error_of(key, value);
        assert!(error.contains(says), "{key} = {value}: {error}");
        assert!(error.starts_with("/etc/oraculum/oraculum.toml, line "), "{error}");
    }
}

#[test]
fn environment_variables_override_the_file() {
    let settings = parse_with("ORACULUM_CHAIN_RPC_URLS", "wss://example.org/key, http://b").unwrap();
    let urls: Vec<_> = settings.chain.rpc_urls.iter().map(|endpoint| endpoint.url().as_str()).collect();
    assert_eq!(urls, ["wss://example.org/key", "http://b/"]);
    assert_eq!(parse_with("ORACULUM_CHAIN_CONFIRMATIONS", "7").unwrap().chain.finality(), Finality::Depth(7));
    assert_eq!(parse_with("ORACULUM_ENGINE_DEVICE_IDS", "1, 2").unwrap().engine.device_ids, [1, 2]);
    assert_eq!(parse_with("ORACULUM_POLICY_MIN_FEE", "7").unwrap().policy.min_fee, 7);
    assert_eq!(parse_with("ORACULUM_NODE_SERVE", "iris/v1,digits/v1").unwrap().node.serve, ["iris/v1", "digits/v1"]);
    assert_eq!(parse_with("ORACULUM_FEES_MAX_FEE_PER_GAS", "0.5").unwrap().fees.max_fee_per_gas, 500_000_000);
    let settings = Settings::parse(
        "",
        path(),
        ["ORACULUM_CHAIN_COORDINATOR", "ORACULUM_NODE_OWNER"].map(|name| (name.to_owned(), ADDRESS.to_owned())),
    );
    assert_eq!(settings.unwrap().node.owner.to_string(), ADDRESS);
}

#[test]
fn terms_of_a_model_are_read_by_its_name() {
    let with = |line: &str| parse(&valid().replace("[keys]", &format!("models = {line}\n[keys]")));
    let policy = with("{ \"iris/v1\" = { margin_percent = 50 } }").unwrap().policy;
    let terms = &policy.models["iris/v1"];
    assert_eq!((terms.min_fee, terms.margin_percent), (None, Some(50)));
    let error = with("{ \"iris/v1\" = { min_fee = \"0.1\" } }").unwrap_err().to_string();
    assert!(error.contains("policy.models.\"iris/v1\".min_fee is wrong"), "{error}");
    let error = with("{ \"iris/v1\" = { min_fees = \"1\" } }").unwrap_err().to_string();
    assert!(error.contains("unknown key `min_fees` in policy.models.\"iris/v1\"; did you mean `min_fee`?"), "{error}");
    let error = with("{ \"iris/v1\" = 7 }").unwrap_err().to_string();
    assert!(error.contains("policy.models.\"iris/v1\" is wrong: its type is integer; write a table"), "{error}");
    let error = parse_with("ORACULUM_POLICY_MODELS", "iris").unwrap_err().to_string();
    assert!(error.contains("write it in the file"), "{error}");
}

#[test]
fn the_status_is_for_this_machine_unless_the_operator_says_otherwise() {
    let text = valid().replace("127.0.0.1:0", "0.0.0.0:9100");
    assert!(parse(&text).unwrap_err().to_string().contains("node.status_public = true"));
    let settings = Settings::parse(&text, path(), [("ORACULUM_NODE_STATUS_PUBLIC".to_owned(), "true".to_owned())]);
    assert_eq!(settings.unwrap().node.status_listen, Some("0.0.0.0:9100".parse().unwrap()));
}

#[test]
fn a_wrong_variable_is_blamed_itself() {
    let error = parse_with("ORACULUM_CHAIN_CHAIN_ID", "mainnet").unwrap_err().to_string();
    assert_eq!(error, "ORACULUM_CHAIN_CHAIN_ID: chain.chain_id is wrong: `mainnet` is no whole number");
    let error = parse_with("ORACULUM_ENGINE_PROVIDER", "gpu").unwrap_err().to_string();
    assert!(error.starts_with("ORACULUM_ENGINE_PROVIDER: engine.provider"), "{error}");
    let error = parse_with("ORACULUM_FEES_BUMP_PERCENT", "1").unwrap_err().to_string();
    assert!(error.starts_with("ORACULUM_FEES_BUMP_PERCENT: fees.bump_percent"), "{error}");
    let error = parse_with("ORACULUM_CHAIN_RPC_URI", "http://localhost").unwrap_err().to_string();
    assert!(error.contains("ORACULUM_CHAIN_RPC_URI") && error.contains("ORACULUM_CHAIN_RPC_URLS"), "{error}");
}

#[test]
fn variables_of_other_things_are_left_alone() {
    for variable in ["ORACULUM_LOG", "ORACULUM_PASSWORD", "ORACULUM_KEYSTORE", "PATH", "ORACULUM"] {
        parse_with(variable, "anything").unwrap();
    }
}

#[test]
fn an_endpoints_secret_is_never_shown() {
    let text = valid().replace("http://127.0.0.1:8545", "https://user:hunter2@rpc.example.org:8443/v2/KEY?token=abc");
    let settings = parse(&text).unwrap();
    let shown = format!("{settings:?} {}", settings.chain.rpc_urls[0]);
    for secret in ["hunter2", "KEY", "abc"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("https://rpc.example.org:8443/…"), "{shown}");
    let error = parse(&valid().replace("http://127.0.0.1:8545", "rpc.example.org/KEY")).unwrap_err().to_string();
    assert!(!error.contains("KEY"), "{error}");
}

#[test]
fn a_missing_file_says_how_to_get_one() {
    let error = Settings::load(Path::new("/nowhere/oraculum.toml")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/oraculum.toml") && error.contains("oraculum init"), "{error}");
}

#[test]
fn messages_of_libraries_lose_the_endpoints_secret() {
    let endpoint: Endpoint = "https://user:hunter2@rpc.example.org/v2/KEY?token=abc&key=0123456789".parse().unwrap();
    let tail = "/v2/KEY?token=abc&key=0123456789";
    let url = endpoint.url();
    let message = format!("error sending request for url ({url}): at {tail} by user:hunter2: no key 0123456789");
    let shown = endpoint.scrub(&message);
    for secret in ["hunter2", "KEY", "abc", "0123456789"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("https://rpc.example.org/…"), "{shown}");
}

#[test]
fn a_later_reading_names_what_needs_a_restart() {
    let old = parse(&valid()).unwrap();
    let text =
        valid().replace("max_batch = 32", "max_batch = 7").replace("max_fee_per_gas = 100", "max_fee_per_gas = 9");
    let new = parse(&text).unwrap();
    assert_eq!((new.policy.max_batch, new.fees.max_fee_per_gas), (7, 9_000_000_000));
    assert!(new.changed_for_a_restart(&old).is_empty());
    let new =
        parse(&text.replace("log_page = 2000", "log_page = 3").replace("data_dir = \"data\"", "data_dir = \"d\""))
            .unwrap();
    assert_eq!(new.changed_for_a_restart(&old), ["chain.log_page", "node.data_dir"]);
}

#[test]
fn a_variable_cannot_set_what_is_each_chains_own() {
    let refuse = |variables: [&str; 2]| raw::refuse_shared(variables.map(str::to_owned), &sections());
    let error = refuse(["PATH", "ORACULUM_CHAIN_CHAIN_ID"]).unwrap_err().to_string();
    assert!(error.contains("ORACULUM_CHAIN_CHAIN_ID") && error.contains("write it into each file"), "{error}");
    refuse(["ORACULUM_ENGINE_QUEUE", "ORACULUM_LOG"]).unwrap();
}

#[test]
fn a_name_that_steers_the_terminal_is_escaped() {
    for text in ["\"a\\nb\" = 1", "[\"a\\u001b[2J\"]", "[chain]\n\"rpc\\nurls\" = 1"] {
        let told = parse(text).unwrap_err().to_string();
        assert!(!told.chars().any(char::is_control), "{told:?}");
    }
}

proptest! {
    /// F16: whatever a variable of ours is set to, it is taken or refused in one line that names it.
    #[test]
    fn a_variable_with_any_value_is_taken_or_refused_in_one_line(
        key in any::<prop::sample::Index>(), text in prop_oneof!["\\PC{0,30}", ".{0,10}", "[-0-9a-fx_.,]{0,70}", "[\\x00-\\x1f]{1,3}"],
    ) {
        let variables = variables();
        let variable = &variables[key.index(variables.len())];
        if let Err(error) = parse_with(variable, &text) {
            let told = error.to_string();
            prop_assert!(told.contains(variable.as_str()) || told.contains("is wrong"), "{:?}", told);
            prop_assert!(told.len() < 1500 && !told.chars().any(char::is_control), "{:?}", told);
        }
    }

    /// However a valid file is damaged, it is read or refused in one line.
    #[test]
    fn a_damaged_file_is_read_or_refused_in_one_line(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 1..4),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut text: Vec<char> = valid().chars().collect();
        for (at, character) in changes {
            let at = at.index(text.len());
            text[at] = character;
        }
        if let Some(cut) = cut {
            text.truncate(cut.index(text.len()));
        }
        if let Err(error) = parse(&text.into_iter().collect::<String>()) {
            let told = error.to_string();
            prop_assert!(told.len() < 2000 && !told.chars().any(char::is_control), "{:?}", told);
        }
    }
}
