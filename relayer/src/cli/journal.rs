//! `oraculum journal`: a stopped node's journal as a file.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};

use super::{CommandResult, tell};
use crate::{
    config::{FILE_NAME, Settings},
    journal::{Journal, SledJournal},
};

/// Write a stopped node's journal as JSON lines, or make one of them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  oraculum journal export journal.jsonl
  oraculum journal import journal.jsonl --config other-machine/oraculum.toml")]
pub(super) struct JournalArgs {
    #[command(subcommand)]
    command: JournalCommand,
    /// The node's configuration.
    #[arg(long, global = true, value_name = "FILE", env = "ORACULUM_CONFIG", default_value = FILE_NAME)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// Writes every record as a line of JSON.
    #[command(after_help = "Example:\n  oraculum journal export - | gzip > journal.jsonl.gz")]
    Export {
        /// The file, which must not exist; `-` for standard output.
        file: PathBuf,
    },
    /// Makes the journal in `node.data_dir`, where there must be none, of exported lines.
    #[command(after_help = "Example:\n  gunzip < journal.jsonl.gz | oraculum journal import -")]
    Import {
        /// The file; `-` for standard input.
        file: PathBuf,
    },
}

impl JournalArgs {
    /// Runs the command.
    pub(super) fn run(self) -> CommandResult {
        let settings = Settings::load(&self.config)?;
        let folder = &settings.node.data_dir;
        let named = |file: &Path, error: std::io::Error| format!("{}: {error}", file.display());
        match self.command {
            JournalCommand::Export { file } => {
                let journal = SledJournal::open_existing(folder)?;
                let mut out: Box<dyn Write> = if file == Path::new("-") {
                    Box::new(std::io::stdout().lock())
                } else {
                    Box::new(File::create_new(&file).map_err(|error| named(&file, error))?)
                };
                let count = journal.export(&mut BufWriter::new(&mut out))?;
                tell!("{count} records of the journal in {}", folder.display());
            }
            JournalCommand::Import { file } => {
                let count = if file == Path::new("-") {
                    SledJournal::import(folder, std::io::stdin().lock())?
                } else {
                    SledJournal::import(
                        folder,
                        BufReader::new(File::open(&file).map_err(|error| named(&file, error))?),
                    )?
                };
                let journal = SledJournal::open_existing(folder)?;
                let at =
                    journal.cursor()?.map_or_else(|| "no block".into(), |cursor| format!("block {}", cursor.number));
                tell!("{count} records make the journal in {}, which ends at {at}", folder.display());
            }
        }
        Ok(())
    }
}
