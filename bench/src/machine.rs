//! The machine and the versions that a result belongs to.

use crate::place::{Place, Zone};
use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write;
use std::time::Instant;

pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) flush_ms: f64,
    /// Of the last 15 minutes: other load shows in it, beside that of the measures.
    pub(crate) load: String,
    pub(crate) postgres: String,
    pub(crate) nats: String,
    pub(crate) revision: String,
    /// Settings of both servers that the results depend on.
    pub(crate) settings: String,
}

impl Machine {
    pub(crate) fn describe(place: &Place) -> Result<Machine> {
        let memory_kib = field("/proc/meminfo", "MemTotal:")?;
        let memory_kib: f64 = memory_kib.trim_end_matches("kB").trim().parse().context("read MemTotal")?;
        let kernel =
            std::fs::read_to_string("/proc/sys/kernel/osrelease").context("read the kernel's version")?;
        Ok(Machine {
            processor: field("/proc/cpuinfo", "model name").map_or_else(
                |_| std::env::consts::ARCH.to_owned(),
                |name| name.trim_start_matches(": ").to_owned(),
            ),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: memory_kib / f64::from(1 << 20),
            kernel: kernel.trim().to_owned(),
            flush_ms: flush_ms(place)?,
            load: load_average()?,
            postgres: show(place, "server_version")?,
            nats: place.nats_version.trim_start_matches("nats-server: v").to_owned(),
            revision: place.revision.clone(),
            settings: settings(place)?,
        })
    }
}

fn settings(place: &Place) -> Result<String> {
    let names = [
        "fsync",
        "synchronous_commit",
        "wal_level",
        "shared_buffers",
        "max_wal_size",
        "wal_retrieve_retry_interval",
    ];
    let settings: Result<Vec<_>> =
        names.iter().map(|name| Ok(format!("{name} {}", show(place, name)?))).collect();
    Ok(settings?.join(", "))
}

fn show(place: &Place, setting: &str) -> Result<String> {
    let row = place
        .session(Zone::B, "postgres")?
        .query_one(&format!("show {setting}"), &[])
        .with_context(|| format!("show {setting}"))?;
    Ok(row.get(0))
}

/// The first line of a file of /proc that begins with `name`, without it.
fn field(file: &str, name: &str) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.map(|value| value.trim().to_owned()).with_context(|| format!("{file} has no {name}"))
}

fn load_average() -> Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    Ok(text.split_whitespace().nth(2).context("/proc/loadavg has no third field")?.to_owned())
}

/// The median time to write 8 KiB and have it flushed, where the servers' data is.
fn flush_ms(place: &Place) -> Result<f64> {
    let path = place.run_dir.join("flush");
    let mut file = File::create(&path).context("create a file to flush")?;
    let mut times = Vec::new();
    for _ in 0..51 {
        let begun = Instant::now();
        file.write_all(&[17; 8192])?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    std::fs::remove_file(&path)?;
    crate::statistics::median(&times).context("no flush was timed")
}
