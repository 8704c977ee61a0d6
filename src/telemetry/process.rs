//! The operating system's figures of this process. On systems other than Linux there are none.

use std::fs;

/// Ticks of `/proc/self/stat` per second: a constant of the interface, whatever the kernel's own tick rate.
const TICKS: f64 = 100.0;

/// The figures at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Process {
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Virtual memory, in bytes.
    pub virtual_size: u64,
    /// Open files and sockets.
    pub open_files: u64,
    /// The limit of open files.
    pub max_files: Option<u64>,
    /// Seconds of CPU time since the start.
    pub cpu: f64,
}

impl Process {
    /// Reads the figures; `None` if `/proc` is missing.
    pub(crate) fn read() -> Option<Self> {
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

/// The name of the process may contain spaces and brackets, so fields are counted from the last bracket.
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
