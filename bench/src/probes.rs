//! The time from the commit in A to visibility in B, as two clients see it.
//!
//! One session commits probe transactions in A (a user and four payments, like those of the load, with known
//! ids) on a fixed schedule, independent of earlier probes. The clock of a probe starts when its commit has
//! returned. Another session polls B for the user of the oldest pending probe: without a pause for the first
//! millisecond, then with a pause of a small part of the probe's age, so that the resolution suits the
//! latency and the polling takes little CPU from the system. The clock stops when the answer contains the
//! user: the result includes one round trip to B, and is too long by at most one poll or pause
//! ([`Latencies::poll_ms`]). B is not polled while no probe is pending, and both systems are polled alike.
//! Both apply in order, so polling for one probe at a time misses nothing.

use crate::place::{Place, Zone};
use anyhow::{Context, Result, anyhow, bail};
use crossbeam_channel::{Receiver, Sender, bounded};
use postgres::{Client, Statement};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// B is polled without a pause for so long after a commit…
const EAGER: Duration = Duration::from_millis(1);
/// …and then with a pause of its age divided by this (the kernel adds some 60 µs).
#[derive(Clone, Copy, Debug)]
pub(crate) struct AgePerPause(pub(crate) u32);

/// For measures that leave the CPUs idle time.
pub(crate) const FINE: AgePerPause = AgePerPause(20);
/// For measures that saturate the CPUs, where polling takes time from the system.
pub(crate) const COARSE: AgePerPause = AgePerPause(10);
/// A probe that is not visible by then means that the system is broken.
const DEADLINE: Duration = Duration::from_secs(300);

pub(crate) struct Probes {
    committing: Committing,
    looking: Looking,
}

/// The results of a series of probes.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    /// (Seconds from the beginning of the series to the commit, milliseconds until visible.)
    pub(crate) points: Vec<(f64, f64)>,
    /// Milliseconds until `replication.wait_for` returned, of the probes that were awaited.
    pub(crate) waited_ms: Vec<f64>,
    /// The mean time between two polls of B: the resolution.
    pub(crate) poll_ms: f64,
}

impl Latencies {
    pub(crate) fn ms(&self) -> Vec<f64> {
        self.points.iter().map(|(_, ms)| *ms).collect()
    }
}

struct Committed {
    id: Uuid,
    /// Where readers shall wait for it, and not poll.
    token: Option<String>,
    at: Instant,
}

/// How the looking session learns that a probe is visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It polls for the row.
    Poll,
    /// Every second probe is awaited by its token (`replication.wait_for`); the others are polled for.
    PollAndWaitInTurn,
}

impl Probes {
    pub(crate) fn connect(
        place: &Place,
        database: &str,
        resolution: AgePerPause,
        way: Way,
    ) -> Result<Probes> {
        Ok(Probes {
            committing: Committing::new(place.session(Zone::A, database)?, way)?,
            looking: Looking::new(place.session(Zone::B, database)?, resolution)?,
        })
    }

    /// Probes at about `rate_per_s`, for `duration` and until the last of them is visible.
    pub(crate) fn run(&mut self, rate_per_s: f64, duration: Duration) -> Result<Latencies> {
        let begun = Instant::now();
        let times = schedule(rate_per_s, duration);
        let (sender, receiver) = bounded(times.len());
        let (committing, looking) = (&mut self.committing, &mut self.looking);
        std::thread::scope(|scope| {
            let committing = scope.spawn(move || committing.run(begun, &times, &sender));
            let latencies = looking.run(begun, &receiver);
            drop(receiver);
            committing.join().map_err(|_| anyhow!("the committing thread panicked"))??;
            latencies
        })
    }

    /// Single probes of a system that is otherwise at rest, each after a pause of 0.7 to 1.5 seconds.
    pub(crate) fn run_at_rest(&mut self, number: usize) -> Result<Latencies> {
        let mut all = Latencies::default();
        let begun = Instant::now();
        for _ in 0..number {
            std::thread::sleep(Duration::from_millis(fastrand::u64(700..1500)));
            let (sender, receiver) = bounded(1);
            self.committing.run(Instant::now(), &[Duration::ZERO], &sender)?;
            drop(sender);
            let one = self.looking.run(begun, &receiver)?;
            all.points.extend(one.points);
            all.poll_ms = one.poll_ms;
        }
        Ok(all)
    }
}

/// Times from the beginning, at random distances of 0.5 to 1.5 times the mean one: never in step with a
/// period of the system's own.
fn schedule(rate_per_s: f64, duration: Duration) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut at_s = 0.0;
    loop {
        at_s += (0.5 + fastrand::f64()) / rate_per_s;
        if at_s >= duration.as_secs_f64() {
            return times;
        }
        times.push(Duration::from_secs_f64(at_s));
    }
}

struct Committing {
    session: Client,
    add_user: Statement,
    add_payment: Statement,
    way: Way,
}

impl Committing {
    fn new(mut session: Client, way: Way) -> Result<Committing> {
        Ok(Committing {
            way,
            add_user: session
                .prepare("insert into users (id, name, email) values ($1, 'Probe', $1::uuid::text)")?,
            add_payment: session.prepare(
                "insert into payments (user_id, amount, currency, description)
                 values ($1, 17.50, 'EUR', 'of a transaction that is watched')",
            )?,
            session,
        })
    }

    fn run(&mut self, begun: Instant, times: &[Duration], committed: &Sender<Committed>) -> Result<()> {
        for (number, time) in times.iter().enumerate() {
            std::thread::sleep((begun + *time).saturating_duration_since(Instant::now()));
            let id = Uuid::new_v4();
            let mut transaction = self.session.transaction().context("begin a probe in A")?;
            transaction.execute(&self.add_user, &[&id])?;
            for _ in 0..4 {
                transaction.execute(&self.add_payment, &[&id])?;
            }
            let is_awaited = self.way == Way::PollAndWaitInTurn && number % 2 == 1;
            let token = is_awaited.then(|| transaction.query_one("select replication.token()", &[]));
            let token = token.transpose().context("ask A for a token")?.map(|row| row.get(0));
            transaction.commit().context("commit a probe in A")?;
            let at = Instant::now();
            if committed.send(Committed { id, token, at }).is_err() {
                return Ok(()); // the looking side has failed, and says so
            }
        }
        Ok(())
    }
}

struct Looking {
    session: Client,
    visible: Statement,
    resolution: AgePerPause,
}

impl Looking {
    fn new(mut session: Client, resolution: AgePerPause) -> Result<Looking> {
        Ok(Looking { visible: session.prepare("select from users where id = $1")?, session, resolution })
    }

    fn run(&mut self, begun: Instant, committed: &Receiver<Committed>) -> Result<Latencies> {
        let mut latencies = Latencies::default();
        let (mut polls, mut polled) = (0_u32, Duration::ZERO);
        for probe in committed {
            if let Some(token) = &probe.token {
                self.session
                    .execute("call replication.wait_for($1, '5 minutes')", &[token])
                    .context("wait for a token in B")?;
                latencies.waited_ms.push(probe.at.elapsed().as_secs_f64() * 1000.0);
                continue;
            }
            let first_poll = Instant::now();
            while self.session.query(&self.visible, &[&probe.id])?.is_empty() {
                polls += 1;
                let age = probe.at.elapsed();
                if age > DEADLINE {
                    bail!("a transaction committed in A is not visible in B after {} s", DEADLINE.as_secs());
                }
                if age > EAGER {
                    std::thread::sleep(age / self.resolution.0);
                }
            }
            polls += 1;
            polled += first_poll.elapsed();
            let at_s = probe.at.duration_since(begun).as_secs_f64();
            latencies.points.push((at_s, probe.at.elapsed().as_secs_f64() * 1000.0));
        }
        latencies.poll_ms = polled.as_secs_f64() * 1000.0 / f64::from(polls.max(1));
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_come_at_the_mean_rate_and_at_no_fixed_period() {
        let times = schedule(50.0, Duration::from_secs(20));
        assert!((900..1100).contains(&times.len()), "{} times", times.len());
        let distances_ms: Vec<_> =
            times.windows(2).map(|pair| pair[1].as_millis() - pair[0].as_millis()).collect();
        let (least, most) = (distances_ms.iter().min().unwrap(), distances_ms.iter().max().unwrap());
        assert!(*least >= 9 && *most <= 31 && most - least > 10, "between {least} and {most} ms");
    }
}
