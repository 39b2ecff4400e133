//! What the kernel says about a process: CPU time, by thread too, and memory.

use crate::error::BenchError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A tick of the times in `/proc/<pid>/stat`. `USER_HZ` is 100 on every architecture that Rust's standard library supports on Linux.
const TICK: Duration = Duration::from_millis(10);

/// A process at one time.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// CPU time since its start, all threads, user and system.
    pub cpu: Duration,
    /// The same by thread name; threads of one name together, ended ones left out.
    pub threads: BTreeMap<String, Duration>,
    /// Resident memory, in bytes.
    pub rss: u64,
    /// The largest that it was, in bytes.
    pub rss_peak: u64,
}

impl Sample {
    /// Samples the process `pid`.
    ///
    /// # Errors
    ///
    /// [`BenchError::Io`] where there is no such process, [`BenchError::Server`] where the kernel writes something else than expected.
    pub fn of(pid: u32) -> Result<Self, BenchError> {
        let at = Instant::now();
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(BenchError::io(path.display().to_string()))
        };
        let unexpected = |name: &str| BenchError::Server(format!("/proc/{pid}/{name} is not as expected"));
        let (_, cpu) = parse_stat(&read("stat")?).ok_or_else(|| unexpected("stat"))?;
        let status = read("status")?;
        let rss = parse_status(&status, "VmRSS").ok_or_else(|| unexpected("status"))?;
        let rss_peak = parse_status(&status, "VmHWM").unwrap_or(rss);
        let mut threads = BTreeMap::new();
        let tasks = std::fs::read_dir(folder.join("task")).map_err(BenchError::io(format!("/proc/{pid}/task")))?;
        for task in tasks.flatten() {
            // A thread may end between the listing and the reading.
            if let Some((name, cpu)) = std::fs::read_to_string(task.path().join("stat")).ok().as_deref().and_then(parse_stat)
            {
                *threads.entry(name).or_default() += cpu;
            }
        }
        Ok(Self { at, cpu, threads, rss, rss_peak })
    }

    /// What was used from here to `later`.
    #[must_use]
    pub fn until(&self, later: &Self) -> Usage {
        let mut threads: Vec<(String, f64)> = later
            .threads
            .iter()
            .map(|(name, cpu)| {
                let before = self.threads.get(name).copied().unwrap_or_default();
                (name.clone(), cpu.saturating_sub(before).as_secs_f64())
            })
            .filter(|(_, cpu_s)| *cpu_s > 0.0)
            .collect();
        threads.sort_by(|a, b| b.1.total_cmp(&a.1));
        Usage {
            wall_s: later.at.duration_since(self.at).as_secs_f64(),
            cpu_s: later.cpu.saturating_sub(self.cpu).as_secs_f64(),
            threads,
            rss: later.rss,
            rss_peak: later.rss_peak,
        }
    }
}

/// What a process used between two samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Time between them, in seconds.
    pub wall_s: f64,
    /// CPU time, in seconds.
    pub cpu_s: f64,
    /// CPU time by thread name, in seconds, the busiest first.
    pub threads: Vec<(String, f64)>,
    /// Resident memory at the end, in bytes.
    pub rss: u64,
    /// The largest that it ever was, in bytes.
    pub rss_peak: u64,
}

impl Usage {
    /// Cores used, 1.0 being one whole core.
    #[must_use]
    pub fn cores(&self) -> f64 {
        if self.wall_s > 0.0 { self.cpu_s / self.wall_s } else { 0.0 }
    }
}

/// CPU time that the whole machine has been busy since its start, all cores together, stolen time included.
///
/// # Errors
///
/// [`BenchError::Io`] where it cannot be read.
pub fn machine_busy() -> Result<Duration, BenchError> {
    let text = std::fs::read_to_string("/proc/stat").map_err(BenchError::io("/proc/stat"))?;
    parse_busy(&text).ok_or_else(|| BenchError::Server("/proc/stat is not as expected".to_owned()))
}

/// The busy time of `/proc/stat`: all of the first line but idle and waiting for I/O.
fn parse_busy(text: &str) -> Option<Duration> {
    let mut fields = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let mut ticks = 0;
    // user, nice, system, idle, iowait, irq, softirq, steal; guest times are in user and nice (proc_stat(5)).
    for n in 0..8 {
        let field: u64 = fields.next()?.parse().ok()?;
        ticks += if n == 3 || n == 4 { 0 } else { field };
    }
    Some(Duration::from_millis(ticks * TICK.as_millis() as u64))
}

/// Name and CPU time (user and system) of a line of `/proc/<pid>/stat`.
fn parse_stat(line: &str) -> Option<(String, Duration)> {
    // The name stands in parentheses and may itself hold parentheses and spaces.
    let (open, close) = (line.find('(')?, line.rfind(')')?);
    let name = line.get(open + 1..close)?.to_owned();
    // What follows starts with field 3; utime is field 14, stime field 15 (proc_pid_stat(5)).
    let mut fields = line.get(close + 1..)?.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((name, TICK * user + TICK * system))
}

/// A size of `/proc/<pid>/status`, in bytes.
fn parse_status(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stat_is_read_past_any_name() {
        let line = "4711 (odd) name (x) S 1 4711 4711 0 -1 4194560 9131 0 12 0 345 67 0 0 20 0 9 0 81234 123456 789 \
                    18446744073709551615 1 1 0 0 0 0 0 4096 17642 0 0 0 17 1 0 0 0 0 0";
        assert_eq!(parse_stat(line), Some(("odd) name (x".to_owned(), Duration::from_millis(4_120))));
        assert_eq!(parse_stat("4711 (short) S 1 2"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn status_is_read_in_bytes() {
        let text = "Name:\tstarling\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(parse_status(text, "VmRSS"), Some(10_240 * 1_024));
        assert_eq!(parse_status(text, "VmHWM"), Some(20_480 * 1_024));
        assert_eq!(parse_status(text, "VmSwap"), None);
        assert_eq!(parse_status("VmRSS:\t many kB", "VmRSS"), None);
    }

    #[test]
    fn busy_is_neither_idle_nor_waiting() {
        let text = "cpu  10 20 30 4000 500 6 7 8 9 9\ncpu0 1 2 3 4 5 6 7 8 9 9\n";
        assert_eq!(parse_busy(text), Some(Duration::from_millis(810)));
        assert_eq!(parse_busy("cpu0 1 2 3"), None);
        assert!(machine_busy().unwrap() > Duration::ZERO);
    }

    #[test]
    fn this_process_can_be_sampled() {
        let before = Sample::of(std::process::id()).unwrap();
        let until = Instant::now() + Duration::from_millis(60);
        let mut sum = 0_u64;
        while Instant::now() < until {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let usage = before.until(&Sample::of(std::process::id()).unwrap());
        assert!(usage.cpu_s > 0.0 && usage.wall_s >= 0.06 && usage.rss > 100_000, "{usage:?}");
        assert!(!usage.threads.is_empty());
    }
}
