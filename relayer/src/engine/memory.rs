//! Memory that models may hold.

use std::fs;

/// Bytes of memory for models where nobody says otherwise: three quarters of what this machine or its container has; 0 where
/// that is not known.
pub(super) fn budget() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(total);
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let container = container.iter().find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    let least = machine.into_iter().chain(container).min();
    least.unwrap_or_default() / 4 * 3
}

/// Bytes of the machine's memory, by the text of `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read() {
        assert_eq!(total("MemTotal:       24689684 kB\nMemFree: 1 kB\n"), Some(24_689_684 << 10));
        assert_eq!(total("nonsense"), None);
    }
}
