//! Runs the sections, each in a process of its own, and writes the report.

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use oraculum::text;
use oraculum_tests::Res;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Command,
    time::timeout,
};

use crate::{
    Verdict,
    arguments::{Arguments, Section},
};

/// Time that everything may take: the last sections are left out where it would be more.
const TIME_LIMIT: Duration = Duration::from_secs(340);
/// Lines of what a section says on standard error that the report keeps, and characters of each.
const LAST_WORDS: usize = 12;
const LONGEST_LINE: usize = 400;
/// Lines of a section that the report keeps.
const MAX_LINES: usize = 2_000;

/// A section that has ended.
struct Ended {
    section: Section,
    verdict: Result<Verdict, String>,
    took: Duration,
    text: String,
    last_words: Vec<String>,
}

/// Runs all sections and writes the report; whether nothing is wrong.
pub(crate) async fn run(arguments: &Arguments) -> Res<bool> {
    let began = Instant::now();
    let wanted = |section: &Section| arguments.only.is_empty() || arguments.only.contains(section);
    let mut all = Vec::new();
    for section in Section::ALL.into_iter().filter(wanted) {
        let left = TIME_LIMIT.saturating_sub(began.elapsed());
        eprint!("gpu-check: {:34}", section.title());
        let ended = one(arguments, section, section.limit().min(left)).await;
        eprintln!("{:12} {:5.1} s", told(&ended.verdict), ended.took.as_secs_f64());
        all.push(ended);
        write(&arguments.report, &report(arguments, &all, began.elapsed()))?;
    }
    let wrong = all.iter().filter(|ended| !matches!(ended.verdict, Ok(Verdict::Passed | Verdict::NotHere))).count();
    eprintln!("gpu-check: {wrong} of {} sections failed; the report is {}", all.len(), arguments.report.display());
    Ok(wrong == 0)
}

async fn one(arguments: &Arguments, section: Section, limit: Duration) -> Ended {
    let began = Instant::now();
    let mut ended = Ended {
        section,
        verdict: Err("not begun: no time was left".to_owned()),
        took: Duration::ZERO,
        text: String::new(),
        last_words: Vec::new(),
    };
    if limit < Duration::from_secs(5) {
        return ended;
    }
    ended.verdict = match watched(arguments, section, limit, &mut ended.text, &mut ended.last_words).await {
        Ok(verdict) => verdict,
        Err(error) => Err(error.to_string()),
    };
    ended.took = began.elapsed();
    ended
}

async fn watched(
    arguments: &Arguments,
    section: Section,
    limit: Duration,
    text: &mut String,
    last_words: &mut Vec<String>,
) -> Res<Result<Verdict, String>> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments.again(section))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut lines = 0;
    let keep = |line: String| {
        lines += 1;
        if lines <= MAX_LINES {
            *text += &line;
            text.push('\n');
        }
    };
    let remember = |line: String| {
        if last_words.len() == LAST_WORDS {
            last_words.remove(0);
        }
        last_words.push(text::cut(&text::shown(&line), LONGEST_LINE));
    };
    let ended =
        timeout(limit, async { tokio::join!(read(stdout, keep), read(stderr, remember), child.wait()).2 }).await;
    Ok(match ended {
        Err(_) => {
            child.start_kill()?;
            Err(format!("not done within {} s, and ended", limit.as_secs()))
        }
        Ok(status) => match status?.code() {
            Some(0) => Ok(Verdict::Passed),
            Some(1) => Ok(Verdict::Failed),
            Some(3) => Ok(Verdict::NotHere),
            Some(code) => Err(format!("its process ended with code {code}")),
            None => Err("its process crashed".to_owned()),
        },
    })
}

async fn read(stream: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(String)) {
    let Some(stream) = stream else { return };
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        take(line);
    }
}

fn told(verdict: &Result<Verdict, String>) -> &'static str {
    match verdict {
        Ok(Verdict::Passed) => "passed",
        Ok(Verdict::Failed) => "failed",
        Ok(Verdict::NotHere) => "not here",
        Err(_) => "broke off",
    }
}

fn report(arguments: &Arguments, all: &[Ended], took: Duration) -> String {
    let mut report = String::from("# GPU check\n\n");
    let line = |field: &str, value: &str| format!("{field}: {value}  \n");
    report += &line("Checked", &arguments.subject());
    if arguments.rehearse {
        report += &line(
            "Rehearsal",
            "the processor stands in for the GPU, with small models; no figure below is one of a GPU",
        );
    }
    report += &line("At", &format!("{}, for {:.0} s", text::one_line(&arguments.note), took.as_secs_f64()));
    report += &line(
        "Program",
        &format!("{}, {} build", env!("CARGO_PKG_VERSION"), if cfg!(debug_assertions) { "dev" } else { "release" }),
    );
    report += "\n| section | result | s |\n|---|---|---:|\n";
    for ended in all {
        let reason = ended.verdict.as_ref().err().map_or_else(String::new, |reason| format!(": {reason}"));
        let _ = writeln!(
            report,
            "| {} | {}{reason} | {:.1} |",
            ended.section.title(),
            told(&ended.verdict),
            ended.took.as_secs_f64()
        );
    }
    for Ended { section, verdict, text, last_words, .. } in all {
        let _ = write!(report, "\n## {}\n\n{}", section.title(), text.trim_start());
        if !matches!(verdict, Ok(Verdict::Passed | Verdict::NotHere)) && !last_words.is_empty() {
            let _ = write!(report, "\nWhat it said last:\n\n```\n{}\n```\n", last_words.join("\n"));
        }
    }
    report
}

/// Writes a file as a whole or not at all.
fn write(path: &Path, content: &str) -> Res<()> {
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, content)?;
    Ok(fs::rename(unfinished, path)?)
}
