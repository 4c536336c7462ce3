//! `gpu-check`, rehearsed: it ends, every section fills, and what breaks one costs no other.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const SECTIONS: [&str; 9] = [
    "Device and driver",
    "Refusals",
    "Against the judge",
    "Determinism",
    "Memory limit",
    "Loss of the device",
    "Batching",
    "Throughput beside a bare session",
    "Conformance",
];

/// Starts a check, which reads models and cases in the project's root.
fn check(report: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_gpu-check"))
        .arg("--report")
        .arg(report)
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs a check; its exit code and its report.
fn checked(arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.md");
    let code = check(&report, arguments).wait().unwrap().code();
    (code, fs::read_to_string(report).unwrap())
}

/// What the report says below a heading.
fn section<'a>(report: &'a str, title: &str) -> &'a str {
    let (_, rest) = report.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no {title}: {report}"));
    rest.split("\n## ").next().unwrap()
}

#[test]
fn a_rehearsal_fills_every_section() {
    let (code, report) = checked(&["--rehearse"]);
    assert_eq!(code, Some(0), "{report}");
    for title in SECTIONS {
        assert!(report.contains(&format!("| {title} | passed |")), "{title}: {report}");
        let section = section(&report, title);
        assert!(
            section.contains("|---") && section.lines().filter(|line| line.starts_with("| ")).count() >= 2,
            "{section}"
        );
        assert!(!section.contains("**no**") && !section.contains("It ended with an error"), "{section}");
    }
    assert!(section(&report, "Conformance").contains("| wrong | 0 |"), "{report}");
    assert!(report.contains("Rehearsal: the processor stands in for the GPU"), "{report}");
}

#[test]
fn without_a_gpu_every_section_says_what_is_missing() {
    if Path::new("/proc/driver/nvidia").exists() {
        eprintln!("skipped: this machine has a GPU");
        return;
    }
    let (code, report) = checked(&["--provider", "cuda"]);
    assert_eq!(code, Some(1), "{report}");
    for title in SECTIONS {
        assert!(report.contains(&format!("| {title} | failed |")), "{title}: {report}");
        assert!(section(&report, title).contains("cuda:0 cannot be used: "), "{title}: {report}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_section_that_crashes_costs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.md");
    let mut running = check(&report, &["--rehearse", "--only", "judge,determinism"]);
    let began = Instant::now();
    let first = loop {
        match children(running.id()).first() {
            Some(process) => break *process,
            None => assert!(began.elapsed() < Duration::from_secs(60)),
        }
        thread::sleep(Duration::from_millis(1));
    };
    assert!(Command::new("kill").args(["-9", &first.to_string()]).status().unwrap().success());
    assert_eq!(running.wait().unwrap().code(), Some(1));
    let report = fs::read_to_string(report).unwrap();
    assert!(report.contains("| Against the judge | broke off: its process crashed |"), "{report}");
    assert!(report.contains("| Determinism | passed |"), "{report}");
}

/// Processes that a process started.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let numbers = fs::read_dir("/proc").unwrap();
    let numbers = numbers.filter_map(|entry| entry.unwrap().file_name().into_string().ok()?.parse::<u32>().ok());
    let is_child = |process: &u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|found| found.trim() == parent.to_string()))
    };
    numbers.filter(is_child).collect()
}
