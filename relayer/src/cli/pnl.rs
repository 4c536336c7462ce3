//! `oraculum pnl`: what answers earned and what they cost.

use std::path::PathBuf;

use alloy::primitives::{B256, utils::format_ether};
use clap::Args;
use serde_json::Value;

use super::{CommandResult, model_names, print, print_json};
use crate::{
    api,
    client::earnings,
    config::{FILE_NAME, Settings},
    journal::SledJournal,
};

/// Show profit and loss by model and day, from the journal of a node, whether it runs or not.
///
/// A transaction counts when it is final, on the day (UTC) of the chain's clock: its gas against the models that it
/// answered or claimed for, and its answers with what they are paid once their vesting has passed. What serves no model,
/// such as filling a nonce, is listed as `none`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oraculum pnl --days 7 --config my-node/oraculum.toml")]
pub(super) struct PnlArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "ORACULUM_CONFIG", default_value = FILE_NAME)]
    config: PathBuf,
    /// The last days to show; all without it.
    #[arg(long, value_name = "DAYS")]
    days: Option<usize>,
    /// Print JSON: amounts in wei, as texts.
    #[arg(long)]
    json: bool,
}

/// Wei as ETH, with its sign.
fn ether(wei: &str) -> String {
    match wei.strip_prefix('-') {
        Some(wei) => format!("-{}", ether(wei)),
        None => format_ether(wei.parse::<u128>().unwrap_or(u128::MAX)),
    }
}

/// Runs the command.
pub(super) async fn run(args: PnlArgs) -> CommandResult {
    let settings = Settings::load(&args.config)?;
    let folder = &settings.node.data_dir;
    let found = match api::ask(folder, "/books").await? {
        Some((200, value)) => value,
        Some((code, value)) => return Err(format!("the node answered {code}: {value}").into()),
        None => earnings::by_day_and_model(&SledJournal::open_existing(folder)?)?,
    };
    let mut lines: Vec<&Value> = found.as_array().into_iter().flatten().collect();
    if let Some(days) = args.days {
        let mut shown: Vec<&str> = lines.iter().filter_map(|line| line["day"].as_str()).collect();
        shown.dedup();
        shown.truncate(days);
        lines.retain(|line| line["day"].as_str().is_some_and(|day| shown.contains(&day)));
    }
    if args.json {
        return print_json(&lines.into_iter().cloned().collect());
    }
    if lines.is_empty() {
        eprintln!("Nothing is final yet: answers are booked once they are deep enough.");
    }
    let names = model_names(&settings);
    print(&format!(
        "{:<10}  {:<20}  {:>8}  {:>22}  {:>22}  {:>22}",
        "day", "model", "answers", "earned", "spent", "profit"
    ))?;
    for line in lines {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        let id = text("model");
        let model = match id.parse::<B256>() {
            Ok(B256::ZERO) => "none",
            Ok(model) => names.get(&model).map_or(id.get(..14).unwrap_or(id), String::as_str),
            Err(_) => id,
        };
        let [earned, spent, profit] = ["earnedWei", "spentWei", "profitWei"].map(|key| ether(text(key)));
        print(&format!(
            "{:<10}  {model:<20}  {:>8}  {earned:>22}  {spent:>22}  {profit:>22}",
            text("day"),
            line["answers"]
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_their_sign() {
        assert_eq!(ether("-1500000000000000000"), "-1.500000000000000000");
        assert_eq!(ether("0"), "0.000000000000000000");
    }
}
