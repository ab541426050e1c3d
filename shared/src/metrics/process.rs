//! What the kernel knows of this process.

use super::readings::{Reading, Readings, since_1970, single};
use std::fs::{read_dir, read_to_string};
use std::sync::LazyLock;
use std::time::SystemTime;

/// Ticks per second in /proc: 100 wherever Linux runs (`man 5 proc`, `USER_HZ`).
const CLOCK_TICKS: f64 = 100.0;

/// When this process first looked, which it does at its start.
static STARTED: LazyLock<f64> = LazyLock::new(|| since_1970(SystemTime::now()));

pub(super) fn readings() -> Readings {
    let _ = *STARTED;
    Readings::new(vec![
        Reading::counter("process_cpu_seconds", "Processor time, user and system", &[], || {
            single(cpu_seconds())
        }),
        Reading::gauge("process_resident_memory_bytes", "Memory in use", &[], || {
            single(status("VmRSS:").map(|kilobytes| kilobytes * 1024.0))
        }),
        Reading::gauge("process_open_fds", "Open file descriptors", &[], || single(open_files())),
        Reading::gauge("process_threads", "Threads", &[], || single(status("Threads:"))),
        Reading::gauge(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970",
            &[],
            || single(Some(*STARTED)),
        ),
    ])
}

fn cpu_seconds() -> Option<f64> {
    let stat = read_to_string("/proc/self/stat").ok()?;
    // The name of the program comes before, and may have spaces.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / CLOCK_TICKS)
}

fn status(field: &str) -> Option<f64> {
    let status = read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<f64> {
    let files = u32::try_from(read_dir("/proc/self/fd").ok()?.count()).ok()?;
    Some(f64::from(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        assert!(cpu_seconds().is_some());
        assert!(status("VmRSS:").unwrap() > 100.0);
        assert!(status("Threads:").unwrap() >= 1.0);
        assert!(open_files().unwrap() > 2.0);
    }
}
