//! How long it took to recover, by kind of fault.

use super::judge::Carried;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Default)]
pub(super) struct Report {
    recoveries: BTreeMap<&'static str, Vec<Duration>>,
    pub(super) states: usize,
    pub(super) carried: Option<Carried>,
}

impl Report {
    pub(super) fn add(&mut self, kind: &'static str, recovery: Duration) {
        self.recoveries.entry(kind).or_default().push(recovery);
    }

    pub(super) fn print(&self) {
        let all = self.recoveries.values().map(Vec::len).sum::<usize>();
        if let Some(Carried { transactions, events }) = &self.carried {
            println!(
                "{all} faults, {transactions} transactions, {events} events; lost 0, doubled 0; \
                 a reader saw {} distinct states, all whole",
                self.states
            );
        }
        println!("{:<36} {:>5} {:>9} {:>9}", "fault", "count", "median s", "worst s");
        for (kind, recoveries) in &self.recoveries {
            let mut sorted = recoveries.clone();
            sorted.sort_unstable();
            let (middle, last) = (sorted.len() / 2, sorted.len() - 1);
            let (median, worst) = ((sorted[middle] + sorted[last - middle]) / 2, sorted[last]);
            println!(
                "{kind:<36} {:>5} {:>9.1} {:>9.1}",
                sorted.len(),
                median.as_secs_f64(),
                worst.as_secs_f64()
            );
        }
    }

    pub(super) fn assert_recovered_within(&self, limit: Duration) {
        for (kind, recoveries) in &self.recoveries {
            let worst = recoveries.iter().max().unwrap();
            assert!(*worst <= limit, "after {kind} it took {:.1} s to recover", worst.as_secs_f64());
        }
    }
}
