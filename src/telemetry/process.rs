//! What the system knows of this process. Where it does not say (not on Linux), there is nothing to tell.

use std::fs;

/// Ticks of `/proc/self/stat` per second: fixed for programs, whatever the kernel itself ticks at.
const TICKS: f64 = 100.0;

/// The process at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Process {
    /// Bytes in memory.
    pub resident: u64,
    /// Bytes of addresses.
    pub virtual_size: u64,
    /// Files and sockets open.
    pub open_files: u64,
    /// The most there may be.
    pub max_files: Option<u64>,
    /// Seconds of processor time since the start.
    pub cpu: f64,
}

impl Process {
    /// This process now.
    pub fn read() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        Some(Self {
            resident: kibibytes(&status, "VmRSS:")?,
            virtual_size: kibibytes(&status, "VmSize:")?,
            open_files: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
            max_files: rlimit::getrlimit(rlimit::Resource::NOFILE).ok().map(|(soft, _)| soft),
            cpu: cpu(&stat)?,
        })
    }
}

fn kibibytes(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The name of the process may hold spaces and brackets; what is counted comes after the last one.
fn cpu(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<f64>().ok()?, fields.next()?.parse::<f64>().ok()?);
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_whatever_the_name_is() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4 100 0 0 0 250 50 0 0 20 0 1 0 5";
        assert_eq!(cpu(stat), Some(3.0));
        assert_eq!(cpu(""), None);
    }

    #[test]
    fn sizes_are_bytes() {
        assert_eq!(kibibytes("VmPeak:\t 9 kB\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(kibibytes("VmRSS:\t x kB\n", "VmRSS:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_there() {
        let process = Process::read().unwrap();
        assert!(process.resident > 0 && process.open_files > 2 && process.virtual_size >= process.resident);
    }
}
