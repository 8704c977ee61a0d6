//! What a running process and its children have used so far, from `/proc`.
//!
//! CPU time comes from `schedstat`, which counts nanoseconds on a CPU and not ticks. What a child had used that is gone
//! is lost; no gateway here ends one while it is measured.

use std::fs;

/// The process and everything below it.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        for task in tasks(pid) {
            let children = fs::read_to_string(format!("{task}/children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

/// CPU time of all its threads, nanoseconds.
pub fn cpu_ns(pid: u32) -> u64 {
    let threads = tree(pid).into_iter().flat_map(tasks);
    threads.filter_map(|task| first_number(&fs::read_to_string(format!("{task}/schedstat")).ok()?)).sum()
}

/// Its memory in bytes; pages shared by several processes count in parts.
pub fn pss(pid: u32) -> u64 {
    let of = |pid: u32| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        Some(first_number(line)? * 1024)
    };
    tree(pid).into_iter().filter_map(of).sum()
}

/// The folders of its threads.
fn tasks(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory_and_counts_its_children() {
        let me = std::process::id();
        let before = cpu_ns(me);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let busy: u64 = (0..20_000_000_u64).map(std::hint::black_box).sum();
        assert!(busy > 0 && cpu_ns(me) > before);
        assert!(pss(me) > 100_000);
        assert!(tree(me).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn nobody_uses_nothing() {
        assert_eq!((cpu_ns(u32::MAX), pss(u32::MAX)), (0, 0));
    }
}
