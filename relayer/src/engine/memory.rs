//! Memory that loaded models hold, of the machine and of each GPU. Where it is short, the session goes that was used least
//! recently, unless its model is pinned; the next run opens it anew.

use std::{
    collections::HashMap,
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::time::Instant;

use super::device::Device;

/// What sessions hold, and what they may.
pub(super) struct Memory {
    /// Bytes of the machine's memory; 0 for no limit.
    host: u64,
    /// Bytes of each GPU's; 0 for no limit.
    gpu: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: HashMap<Place, u64>,
    residents: Vec<Weak<dyn Resident>>,
}

/// Memory of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Host,
    Gpu(u32),
}

/// Something that holds memory and can do without.
pub(super) trait Resident: Send + Sync {
    /// When it was last used; `None` if it must stay.
    fn idle_since(&self) -> Option<Instant>;

    /// Bytes that idle sessions on these devices hold.
    fn idle(&self, on: &dyn Fn(Device) -> bool) -> u64;

    /// Gives up an idle session on one of the devices; whether there was one.
    fn evict(&self, on: &dyn Fn(Device) -> bool) -> bool;
}

/// Memory is short, and nothing can be given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shortage {
    /// Bytes that are needed.
    pub needed: u64,
    /// Bytes that models may hold.
    pub limit: u64,
}

/// Memory that is held until this is dropped.
pub(super) struct Hold {
    memory: Arc<Memory>,
    place: Place,
    bytes: u64,
}

impl From<Device> for Place {
    fn from(device: Device) -> Self {
        match device {
            Device::Judge | Device::Cpu => Self::Host,
            Device::Cuda(number) | Device::Tensorrt(number) | Device::Plugin(number) => Self::Gpu(number),
        }
    }
}

impl Memory {
    /// Memory of which so many bytes may be held: of the machine's, where 0 stands for three quarters, and of each GPU's,
    /// where it stands for all.
    pub(super) fn new(host: u64, gpu: u64) -> Self {
        Self { host: if host == 0 { budget() } else { host }, gpu, state: Mutex::default() }
    }

    /// Bytes that a process of a model may have; 0 for no limit.
    pub(super) fn of_a_process(&self) -> u64 {
        self.host
    }

    /// Takes note of somebody who can give memory up.
    pub(super) fn register(&self, resident: Weak<dyn Resident>) {
        let mut state = self.state();
        state.residents.retain(|resident| resident.strong_count() > 0);
        state.residents.push(resident);
    }

    /// Holds so many bytes, for which others give up theirs.
    ///
    /// # Errors
    /// `Shortage` where they hold too much that must stay.
    pub(super) fn hold(self: &Arc<Self>, device: Device, bytes: u64) -> Result<Hold, Shortage> {
        let place = Place::from(device);
        let limit = if place == Place::Host { self.host } else { self.gpu };
        let here = |device: Device| Place::from(device) == place;
        loop {
            // Whoever is the last to let go of a resident gives up its memory, which takes this lock.
            let (residents, over) = {
                let mut state = self.state();
                let held = state.held.entry(place).or_default();
                let wanted = held.saturating_add(bytes);
                if limit == 0 || wanted <= limit {
                    *held = wanted;
                    return Ok(Hold { memory: self.clone(), place, bytes });
                }
                let over = wanted - limit;
                (state.residents.iter().filter_map(Weak::upgrade).collect::<Vec<_>>(), over)
            };
            let mut idle: Vec<_> =
                residents.iter().filter_map(|resident| Some((resident.idle_since()?, resident))).collect();
            idle.sort_by_key(|(since, _)| *since);
            // What would not suffice is not given up.
            let available = idle.iter().map(|(_, resident)| resident.idle(&here)).fold(0, u64::saturating_add);
            if available < over || !idle.iter().any(|(_, resident)| resident.evict(&here)) {
                return Err(Shortage { needed: bytes, limit });
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Bytes that are held.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Holds another number of bytes.
    ///
    /// # Errors
    /// `Shortage`, as for new memory; then it holds what it held.
    pub(super) fn resize(&mut self, device: Device, bytes: u64) -> Result<(), Shortage> {
        if let Some(more) = bytes.checked_sub(self.bytes) {
            let mut more = self.memory.hold(device, more)?;
            self.bytes += std::mem::take(&mut more.bytes);
        } else {
            let mut state = self.memory.state();
            let held = state.held.entry(self.place).or_default();
            *held = held.saturating_sub(self.bytes - bytes);
            self.bytes = bytes;
        }
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.memory.state();
        let held = state.held.entry(self.place).or_default();
        *held = held.saturating_sub(self.bytes);
    }
}

/// Bytes of memory for models where nobody says otherwise: three quarters of what this machine or its container has; 0 where
/// that is not known.
fn budget() -> u64 {
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
