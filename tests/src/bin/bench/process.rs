//! What a running node uses, from /proc.

use oraculum_tests::{Res, node::Node};

/// Clock ticks a second: `sysconf(_SC_CLK_TCK)`, 100 on every Linux that is used.
const TICKS: f64 = 100.0;

fn read(node: &Node, file: &str) -> Res<String> {
    let pid = node.pid().ok_or("the node is not running")?;
    Ok(std::fs::read_to_string(format!("/proc/{pid}/{file}"))?)
}

fn megabytes(node: &Node, field: &str) -> Res<f64> {
    parse(&read(node, "status")?, field)
}

fn parse(status: &str, field: &str) -> Res<f64> {
    let line = status.lines().find(|line| line.starts_with(field)).ok_or("no such field")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kilobytes / 1024.0)
}

/// Its peak memory so far, in MB.
pub(crate) fn peak(node: &Node) -> Res<f64> {
    megabytes(node, "VmHWM")
}

/// Its memory now, in MB.
pub(crate) fn resident(node: &Node) -> Res<f64> {
    megabytes(node, "VmRSS")
}

/// This process's own memory now, in MB.
pub(crate) fn own() -> Res<f64> {
    parse(&std::fs::read_to_string("/proc/self/status")?, "VmRSS")
}

/// The memory that a process has to itself now, in MB: shared pages, of which the program's own are most, count by their share.
pub(crate) fn unshared(process: u32) -> Res<f64> {
    parse(&std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?, "Pss:")
}

/// The processes that a process has started.
pub(crate) fn children(process: u32) -> Res<Vec<u32>> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let pids = std::fs::read_to_string(thread?.path().join("children"))?;
        children.extend(pids.split_whitespace().map(str::parse::<u32>).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(children)
}

/// The CPU time that it used so far, in seconds.
pub(crate) fn cpu(node: &Node) -> Res<f64> {
    let stat = read(node, "stat")?;
    // The name before it is in brackets, and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no name")?.1.split_whitespace().collect();
    let ticks = |at: usize| -> Res<f64> { Ok(fields.get(at).ok_or("too few fields")?.parse()?) };
    // utime and stime are the 14th and 15th fields of all, the 12th and 13th behind the name.
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

/// The size of its journal on disk, in MB.
pub(crate) fn disk(node: &Node) -> Res<f64> {
    size(&node.home().join("data"))
}

/// The size of a folder's files, in MB.
pub(crate) fn size(folder: &std::path::Path) -> Res<f64> {
    fn bytes(folder: &std::path::Path) -> std::io::Result<u64> {
        let mut sum = 0;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            // Files come and go while the node runs.
            let Ok(data) = entry.metadata() else { continue };
            sum += if data.is_dir() { bytes(&entry.path())? } else { data.len() };
        }
        Ok(sum)
    }
    Ok(bytes(folder)? as f64 / 1048576.0)
}
