//! `oraculum pnl`: what answers earned and what they cost.

use alloy::primitives::{B256, utils::format_ether};
use clap::Args;

use super::{CommandResult, local::NodeArgs, model_names, print, print_json, tell};
use crate::api::{JournalReader, types::LedgerLine};

/// Show profit and loss by model and day, from the journal of a node, whether it runs or not.
///
/// A transaction counts when it is final, on the day (UTC) of the chain's clock: its gas against the models that it
/// answered or claimed for, and its answers with what they are paid once their vesting has passed. What serves no model,
/// such as filling a nonce, is listed as `none`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oraculum pnl --days 7 --config my-node/oraculum.toml")]
pub(super) struct PnlArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The last days to show; all without it.
    #[arg(long, value_name = "DAYS")]
    days: Option<usize>,
    /// Print JSON: amounts in wei, as texts.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn run(args: PnlArgs) -> CommandResult {
    let folders = args.node.folders()?;
    let mut lines = JournalReader::open(&folders.data_dir).await?.ledger().await?;
    if let Some(days) = args.days {
        keep_last_days(&mut lines, days);
    }
    if args.json {
        return print_json(&lines);
    }
    if lines.is_empty() {
        tell!("Nothing is final yet: answers are counted once they are deep enough.");
    }
    let names = model_names(&folders.models_dir);
    print(&format!(
        "{:<10}  {:<20}  {:>8}  {:>22}  {:>22}  {:>22}",
        "day", "model", "answers", "earned", "spent", "profit"
    ))?;
    for line in lines {
        let model = match line.model {
            B256::ZERO => "none".to_owned(),
            // An id is cut to what fits the column.
            id => names.get(&id).cloned().unwrap_or_else(|| id.to_string().chars().take(14).collect()),
        };
        let (earned, profit) = (signed_ether(line.earned_wei), signed_ether(line.profit_wei));
        let (day, answers, spent) = (line.day, line.answers, format_ether(line.spent_wei));
        print(&format!("{day:<10}  {model:<20}  {answers:>8}  {earned:>22}  {spent:>22}  {profit:>22}"))?;
    }
    Ok(())
}

/// Keeps the lines of the newest days that there are lines of; the newest come first.
fn keep_last_days(lines: &mut Vec<LedgerLine>, days: usize) {
    let mut shown: Vec<String> = lines.iter().map(|line| line.day.clone()).collect();
    shown.dedup();
    shown.truncate(days);
    lines.retain(|line| shown.contains(&line.day));
}

/// Wei as ETH, with its sign.
fn signed_ether(wei: i128) -> String {
    let sign = if wei < 0 { "-" } else { "" };
    format!("{sign}{}", format_ether(wei.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_their_sign() {
        assert_eq!(signed_ether(-1_500_000_000_000_000_000), "-1.500000000000000000");
        assert_eq!(signed_ether(0), "0.000000000000000000");
    }

    #[test]
    fn the_last_days_are_those_that_have_lines() {
        let line = |day: &str| LedgerLine {
            day: day.to_owned(),
            model: B256::ZERO,
            answers: 1,
            earned_wei: 0,
            spent_wei: 0,
            profit_wei: 0,
        };
        let mut lines = ["2026-11-23", "2026-11-20", "2026-11-20", "2026-11-01"].map(line).to_vec();
        keep_last_days(&mut lines, 2);
        assert_eq!(lines.len(), 3);
    }
}
