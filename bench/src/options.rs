//! What the command line chooses, and the sizes that follow from it. `bench-replication.sh --help`
//! describes the options.

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;
use std::ffi::OsString;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

/// One of the things that can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    CatchUp,
    Steady,
    Latency,
    Barrier,
    Cost,
    Idle,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) only: Option<Measure>,
    pub(crate) repetitions: usize,
    pub(crate) growth: bool,
    /// The largest backlog of `--growth`, in events.
    pub(crate) events_max: u64,
    pub(crate) sizes: Sizes,
}

/// How long and how much is measured in one repetition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) warm_up_transactions: u64,
    pub(crate) catch_up_transactions: u64,
    pub(crate) latency: Duration,
    pub(crate) steady: Duration,
    pub(crate) idle_probes: usize,
    pub(crate) idle: Duration,
    pub(crate) cost_pairs: usize,
    pub(crate) cost_round: Duration,
}

const FULL: Sizes = Sizes {
    warm_up_transactions: 2000,
    catch_up_transactions: 20_000,
    latency: Duration::from_secs(15),
    steady: Duration::from_secs(15),
    idle_probes: 15,
    idle: Duration::from_secs(20),
    cost_pairs: 12,
    cost_round: Duration::from_secs(2),
};
const QUICK: Sizes = Sizes {
    warm_up_transactions: 1000,
    catch_up_transactions: 20_000,
    latency: Duration::from_secs(6),
    steady: Duration::from_secs(5),
    idle_probes: 5,
    idle: Duration::from_secs(5),
    cost_pairs: 4,
    cost_round: Duration::from_secs(2),
};

impl Options {
    pub(crate) fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Options> {
        let mut options = Options {
            quick: false,
            only: None,
            repetitions: 0,
            growth: false,
            events_max: 1_000_000,
            sizes: FULL,
        };
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("quick") => options.quick = true,
                Long("growth") => options.growth = true,
                Long("only") => options.only = Some(parser.value()?.parse_with(Measure::from_name)?),
                Long("repetitions") => options.repetitions = number(&mut parser, "--repetitions")?,
                Long("events-max") => options.events_max = number(&mut parser, "--events-max")?,
                _ => return Err(argument.unexpected().into()),
            }
        }
        if options.quick {
            options.sizes = QUICK;
        }
        if options.repetitions == 0 {
            options.repetitions = if options.quick { 1 } else { 3 };
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, measure: Measure) -> bool {
        self.only.is_none_or(|only| only == measure)
    }

    /// Only a complete run may replace the results that the README shows.
    pub(crate) fn is_complete(&self) -> bool {
        !self.quick && self.only.is_none()
    }
}

impl Measure {
    fn from_name(name: &str) -> Result<Measure> {
        Ok(match name {
            "catchup" => Measure::CatchUp,
            "steady" => Measure::Steady,
            "latency" => Measure::Latency,
            "barrier" => Measure::Barrier,
            "cost" => Measure::Cost,
            "idle" => Measure::Idle,
            _ => bail!("--only takes catchup, steady, latency, barrier, cost or idle, not '{name}'"),
        })
    }
}

fn number<T: FromStr<Err = ParseIntError>>(parser: &mut lexopt::Parser, option: &str) -> Result<T> {
    parser.value()?.parse().with_context(|| format!("{option} takes a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options> {
        Options::from_arguments(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_quick_run_has_one_repetition_unless_told_otherwise() {
        assert_eq!(options("--quick").unwrap().repetitions, 1);
        assert_eq!(options("--quick --repetitions 5").unwrap().repetitions, 5);
        assert_eq!(options("").unwrap().repetitions, 3);
    }

    #[test]
    fn only_one_measure_is_wanted_when_one_is_named() {
        let options = options("--only catchup").unwrap();
        assert!(options.wants(Measure::CatchUp) && !options.wants(Measure::Steady));
        assert!(!options.is_complete());
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (line, message) in [
            ("--frobnicate", "invalid option '--frobnicate'"),
            ("--only", "missing argument for option '--only'"),
            ("--only speed", "not 'speed'"),
            ("--repetitions x", "--repetitions takes a number: cannot parse argument \"x\""),
        ] {
            let error = options(line).unwrap_err();
            assert!(format!("{error:#}").contains(message), "{line}: {error:#}");
        }
    }
}
