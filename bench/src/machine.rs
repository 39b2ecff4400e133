//! What the machine is: figures mean nothing without it.

use serde::{Deserialize, Serialize};
use std::path::Path;

/// The machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// Model of the processor.
    pub cpu: String,
    /// Kernel and its version.
    pub kernel: String,
    /// Memory, in bytes.
    pub memory: u64,
    /// File system of the data folder: on tmpfs an fsync costs nothing.
    pub data_filesystem: String,
}

impl Machine {
    /// This machine, the server's data being in `data`.
    #[must_use]
    pub fn here(data: Option<&Path>) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            kernel: format!("{} {}", read("/proc/sys/kernel/ostype").trim(), read("/proc/sys/kernel/osrelease").trim()),
            memory: memory(&read("/proc/meminfo"), "MemTotal").unwrap_or(0),
            data_filesystem: data
                .and_then(|path| path.canonicalize().ok())
                .and_then(|path| filesystem(&read("/proc/mounts"), &path))
                .unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let gib = self.memory as f64 / f64::from(1 << 30);
        write!(f, "{} x {}, {gib:.0} GiB, {}, data on {}", self.cores, self.cpu, self.kernel, self.data_filesystem)
    }
}

/// Memory that could be had now without taking it from others, in bytes; where the system says so.
#[must_use]
pub fn memory_available() -> Option<u64> {
    memory(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}

/// A size of `/proc/meminfo`, in bytes.
fn memory(text: &str, key: &str) -> Option<u64> {
    let kib: u64 = field(text, key).strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1_024)
}

/// The value of the first line `key : value`.
fn field(text: &str, key: &str) -> String {
    text.lines()
        .find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found.trim() == key).then(|| value.trim().to_owned())
        })
        .unwrap_or_default()
}

/// Type of the file system that holds `path`: of the mount with the longest matching path, the last one if there are several.
fn filesystem(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(mount, _)| path.starts_with(mount))
        .max_by_key(|(mount, _)| mount.len())
        .map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_holds_the_path() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\ntmpfs /tmp2 xfs rw 0 0\n";
        assert_eq!(filesystem(mounts, Path::new("/tmp/x")).as_deref(), Some("tmpfs"));
        assert_eq!(filesystem(mounts, Path::new("/tmp2/x")).as_deref(), Some("xfs"));
        assert_eq!(filesystem(mounts, Path::new("/home")).as_deref(), Some("ext4"));
        assert_eq!(filesystem("", Path::new("/home")), None);
    }

    #[test]
    fn this_machine_has_a_core_and_memory() {
        let machine = Machine::here(Some(Path::new("/")));
        assert!(machine.cores >= 1 && machine.memory > 0 && machine.kernel.starts_with("Linux"), "{machine}");
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:       2048 kB\nMemAvailable:   1024 kB\n";
        assert_eq!((memory(text, "MemAvailable"), memory(text, "MemFree")), (Some(1 << 20), None));
        assert!(memory_available().is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 1\nmodel name\t: A: B\n";
        assert_eq!(field(text, "model name"), "A: B");
        assert_eq!(field(text, "name"), "");
    }
}
