//! CPU time and memory of components, from /proc.

use crate::place::Place;
use crate::system::System;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// What /proc counts CPU time in; the same on every Linux that Rust runs on.
const TICKS_PER_S: f64 = 100.0;

/// CPU seconds by component.
pub(crate) type CpuSeconds = BTreeMap<&'static str, f64>;

/// Processes that belong together, with their descendants.
pub(crate) struct Component {
    name: &'static str,
    roots: Vec<u32>,
}

/// The servers, and the processes of the system's own.
pub(crate) fn components(place: &Place, system: &dyn System) -> Result<Vec<Component>> {
    let mut components = Vec::new();
    for (name, parts) in [
        ("postgres-a", &["postgres-a"][..]),
        ("postgres-b", &["postgres-b"]),
        ("nats a", &["nats-a-1", "nats-a-2", "nats-a-3"]),
        ("nats b", &["nats-b-1", "nats-b-2", "nats-b-3"]),
    ] {
        let roots = parts.iter().map(|part| place.component_pid(part)).collect::<Result<_>>()?;
        components.push(Component { name, roots });
    }
    components.extend(system.processes().into_iter().map(|(name, pid)| Component { name, roots: vec![pid] }));
    Ok(components)
}

/// CPU seconds of each component since its start. The descendants that have ended count as well, as
/// soon as their parent has seen their end.
pub(crate) fn cpu_seconds(components: &[Component]) -> Result<CpuSeconds> {
    let processes = Process::all()?;
    Ok(components
        .iter()
        .map(|component| (component.name, ticks_of_trees(&component.roots, &processes) as f64 / TICKS_PER_S))
        .collect())
}

/// What each component has used between two readings.
pub(crate) fn used(before: &CpuSeconds, after: &CpuSeconds) -> CpuSeconds {
    after.iter().map(|(name, seconds)| (*name, seconds - before.get(name).unwrap_or(&0.0))).collect()
}

/// Resident memory of a process in MiB: now, and the most it ever had.
pub(crate) fn memory_mib(pid: u32) -> Result<(f64, f64)> {
    let file = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    let kib = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.and_then(|text| text.parse().ok()).with_context(|| format!("{file} has no {name}"))
    };
    Ok((kib("VmRSS:")? / 1024.0, kib("VmHWM:")? / 1024.0))
}

fn ticks_of_trees(roots: &[u32], processes: &BTreeMap<u32, Process>) -> u64 {
    let belongs = |pid: u32| {
        let mut ancestor = Some(pid);
        while let Some(pid) = ancestor {
            if roots.contains(&pid) {
                return true;
            }
            ancestor = processes.get(&pid).map(|process| process.parent).filter(|parent| *parent > 0);
        }
        false
    };
    processes.iter().filter(|(pid, _)| belongs(**pid)).map(|(_, process)| process.ticks).sum()
}

#[derive(Debug, PartialEq)]
struct Process {
    parent: u32,
    /// Of its own and of the children that it has waited for.
    ticks: u64,
}

impl Process {
    fn all() -> Result<BTreeMap<u32, Process>> {
        let mut processes = BTreeMap::new();
        for entry in std::fs::read_dir("/proc").context("read /proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // One that ends meanwhile is counted by its parent the next time.
            let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            processes
                .insert(pid, Process::parse(&stat).with_context(|| format!("/proc/{pid}/stat: {stat}"))?);
        }
        Ok(processes)
    }

    fn parse(stat: &str) -> Option<Process> {
        // The name, in parentheses, may hold anything; after it comes field 3.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let ticks = number(14)? + number(15)? + number(16)? + number(17)?;
        Some(Process { parent: u32::try_from(number(4)?).ok()?, ticks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_understood_whatever_its_name() {
        let stat = "17 (a) b (c) S 5 17 17 0 -1 4194560 1 2 3 4 10 20 300 4000 20 0 1 0 99 1 1";
        assert_eq!(Process::parse(stat), Some(Process { parent: 5, ticks: 4330 }));
        assert_eq!(Process::parse("17 (cut"), None);
    }

    #[test]
    fn a_tree_counts_its_descendants_and_nothing_else() {
        let processes = [(1, 0, 1), (10, 1, 10), (11, 10, 100), (12, 11, 1000), (20, 1, 10_000)]
            .map(|(pid, parent, ticks)| (pid, Process { parent, ticks }))
            .into();
        assert_eq!(ticks_of_trees(&[10], &processes), 1110);
        assert_eq!(ticks_of_trees(&[11, 20], &processes), 11_100);
        assert_eq!(ticks_of_trees(&[99], &processes), 0);
    }

    #[test]
    fn the_memory_of_this_very_process_is_found() {
        let (now, most) = memory_mib(std::process::id()).unwrap();
        assert!(now > 0.1 && most >= now, "{now} {most}");
    }
}
