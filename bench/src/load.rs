//! The load: pgbench with four clients and prepared statements, the same for every system.

use crate::place::{Place, Zone};
use crate::service::ending_with_us;
use anyhow::{Context, Result, bail};
use std::process::{Child, Stdio};
use std::time::Duration;

const SCRIPT: &str = include_str!("../load.sql");
const CLIENTS: u64 = 4;
/// The settled payment of a client's first transaction: none.
const NO_PAYMENT: &str = "payment_id=00000000-0000-0000-0000-000000000000";

/// The amount of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Amount {
    Transactions(u64),
    For(Duration),
}

/// What pgbench reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Done {
    pub(crate) transactions: u64,
    /// Per second, without the time to connect.
    pub(crate) rate: f64,
}

/// Where, how much, how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) database: &'a str,
    pub(crate) script: &'a str,
    pub(crate) amount: Amount,
    /// Transactions per second, each begun on schedule, independent of earlier ones (open loop); none: each
    /// client begins the next one when the last has ended.
    pub(crate) rate: Option<f64>,
    /// Two runs with the same number take the same decisions.
    pub(crate) seed: usize,
    /// Whether the clients wait for their commits to be flushed; a backlog may be created without.
    pub(crate) flushed: bool,
}

impl<'a> Load<'a> {
    pub(crate) fn new(database: &'a str, amount: Amount, seed: usize) -> Load<'a> {
        Load { database, script: SCRIPT, amount, rate: None, seed, flushed: true }
    }

    pub(crate) fn at_rate(mut self, transactions_per_s: f64) -> Load<'a> {
        self.rate = Some(transactions_per_s);
        self
    }

    pub(crate) fn unflushed(mut self) -> Load<'a> {
        self.flushed = false;
        self
    }

    pub(crate) fn with_script(mut self, script: &'a str) -> Load<'a> {
        self.script = script;
        self
    }

    pub(crate) fn run(&self, place: &Place) -> Result<Done> {
        self.start(place)?.wait()
    }

    pub(crate) fn start(&self, place: &Place) -> Result<Running> {
        let file = place.run_dir.join("load.sql");
        std::fs::write(&file, self.script).with_context(|| format!("write {}", file.display()))?;
        let mut command = ending_with_us(&place.pgbench);
        command.args(["--no-vacuum", "--protocol=prepared", "--jobs=2", "--define", NO_PAYMENT]);
        command.arg(format!("--client={CLIENTS}")).arg(format!("--random-seed={}", self.seed));
        match self.amount {
            Amount::Transactions(number) => command.arg(format!("--transactions={}", number / CLIENTS)),
            Amount::For(duration) => command.arg(format!("--time={}", duration.as_secs())),
        };
        if let Some(rate) = self.rate {
            command.arg(format!("--rate={rate:.3}"));
        }
        if !self.flushed {
            command.env("PGOPTIONS", "-c synchronous_commit=off");
        }
        command.arg("--file").arg(file).arg(place.database_url(Zone::A, self.database));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", place.pgbench.display()))?;
        Ok(Running(child))
    }
}

pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn wait(self) -> Result<Done> {
        let output = self.0.wait_with_output().context("wait for pgbench")?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("pgbench failed: {}{}", said, String::from_utf8_lossy(&output.stderr));
        }
        understand(&said).with_context(|| format!("pgbench printed something unknown: {said}"))
    }
}

fn understand(said: &str) -> Result<Done> {
    let after = |label: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(label));
        line.with_context(|| format!("there is no '{label}'"))
    };
    let number = |text: &str| -> Result<f64> {
        let digits = text.trim_start().split(|c: char| c != '.' && !c.is_ascii_digit()).next();
        digits.unwrap_or_default().parse().with_context(|| format!("'{text}' is not a number"))
    };
    if number(after("number of failed transactions:")?)? > 0.0 {
        bail!("transactions failed");
    }
    let transactions = after("number of transactions actually processed:")?;
    let transactions = transactions.trim().split('/').next().unwrap_or_default();
    Ok(Done { transactions: transactions.parse()?, rate: number(after("tps =")?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "pgbench (15.14)\nnumber of clients: 4\n\
        number of transactions actually processed: 20000/20000\nnumber of failed transactions: 0 (0.000%)\n\
        latency average = 1.45 ms\ntps = 2758.500000 (without initial connection time)\n";

    #[test]
    fn what_pgbench_did_is_read_from_its_summary() {
        let expected = Done { transactions: 20_000, rate: 2758.5 };
        assert_eq!(understand(SAID).unwrap(), expected);
        assert_eq!(understand(&SAID.replace("20000/20000", "20000")).unwrap(), expected);
    }

    #[test]
    fn failed_transactions_are_an_error() {
        let error = understand(&SAID.replace("transactions: 0 (", "transactions: 3 (")).unwrap_err();
        assert_eq!(error.to_string(), "transactions failed");
    }
}
