//! The words that can be typed.

mod options;

pub(crate) use options::{
    AcceptOptions, AttachOptions, DetachOptions, HoldCommand, PauseOptions, QuarantineCommand, ResumeOptions,
    SchemaCommand, SkipOptions, StatusOptions, WaitOptions,
};

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use std::time::Duration;

const CONNECTIONS: &str = "\
Connections: SOURCE_DATABASE_URL and TARGET_DATABASE_URL (postgres://user:password@host/database), or a file with one in
…_URL_FILE. What needs one side works with one. Where neither is set: DATABASE_URL, as a service has it, and otherwise the
demo of this directory (.env). Exit status: 0 good, 1 warning or different, 2 critical, 3 unknown or wrong usage.";

/// Shows how the replication stands, and does what an operator decides.
#[derive(Debug, Parser)]
#[command(name = "replicationctl", version, after_help = CONNECTIONS)]
#[command(after_long_help = concat!("Example:\n  replicationctl status\n\nThe same by SQL: select * from \
    replication.source_overview, in the target replication.target_overview."))]
pub(crate) struct Cli {
    /// Print one JSON object: times in UTC, never coloured
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Does it work? How far behind, gaining or losing, what is stuck, and what to type
    #[command(after_help = "Example:\n  replicationctl status --watch")]
    Status(StatusOptions),
    /// The attached tables: rows, size, what waits, what is wrong
    #[command(after_help = "Example:\n  replicationctl tables --all")]
    Tables {
        /// Also tables of the source that are not attached, with the reason
        #[arg(long)]
        all: bool,
    },
    /// Capture tables of the source
    #[command(after_help = "Example:\n  replicationctl attach 'shop.*' --dry-run")]
    Attach(AttachOptions),
    /// Stop capturing tables of the source
    #[command(after_help = "Example:\n  replicationctl detach shop.basket --yes")]
    Detach(DetachOptions),
    /// Check tables of the target, and let the role of inbox-processor write to them
    #[command(after_help = "Example:\n  replicationctl accept 'shop.*' --role inbox_processor")]
    Accept(AcceptOptions),
    /// What blocks apply or publishing: show it, retry it, skip it
    #[command(after_help = "Example:\n  replicationctl hold show")]
    Hold {
        #[command(subcommand)]
        command: HoldCommand,
    },
    /// Messages that inbox-processor could not use
    #[command(after_help = "Example:\n  replicationctl quarantine list")]
    Quarantine {
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// Wait until readers of the target see a transaction of the source
    #[command(after_help = "Example:\n  replicationctl wait --now --timeout 30\n\n\
        Exit status: 0 it is there; 1 it is not there in time.")]
    Wait(WaitOptions),
    /// Look at both sides, and say what would keep them from replicating; each finding with the statement that mends it
    #[command(after_help = "Example:\n  replicationctl doctor --json")]
    Doctor,
    /// How the tables of both sides differ
    #[command(after_help = "Example:\n  replicationctl schema diff")]
    Schema {
        #[command(subcommand)]
        command: SchemaCommand,
    },
    /// The way of a transaction: committed, ticked, published, received, applied, confirmed
    #[command(
        after_help = "Example, with the id that pg_current_xact_id() gave:\n  replicationctl trace 74123"
    )]
    Trace {
        /// Its id in the source
        txid: u64,
    },
    /// Pause applying in the target, on record; receiving goes on
    #[command(after_help = "Example:\n  replicationctl pause --why 'backup of B'")]
    Pause(PauseOptions),
    /// End a pause
    #[command(after_help = "Example:\n  replicationctl resume")]
    Resume(ResumeOptions),
    /// What a stranger needs to help: versions, settings, positions, findings; no secrets and no values of rows
    #[command(after_help = "Example:\n  replicationctl support-bundle >bundle.json")]
    SupportBundle,
    /// Completions for a shell
    #[command(
        after_help = "Example:\n  replicationctl completion bash >/etc/bash_completion.d/replicationctl"
    )]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// The manual page
    #[command(after_help = "Example:\n  replicationctl man >/usr/share/man/man1/replicationctl.1")]
    Man,
    /// The version
    #[command(after_help = "Example:\n  replicationctl version --json")]
    Version,
}

impl Command {
    /// How long a statement may take.
    pub(crate) fn longest_statement(&self) -> Duration {
        const USUAL: Duration = Duration::from_secs(20);
        match self {
            // The procedure has its own end.
            Command::Wait(options) => options.timeout() + USUAL,
            _ => USUAL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_ends_its_help_with_an_example() {
        fn look(command: &clap::Command) {
            if command.get_name() == "help" {
                return;
            }
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{}: {help}", command.get_name());
            command.get_subcommands().for_each(look);
        }
        let mut command = Cli::command();
        command.build();
        look(&command);
        command.debug_assert();
    }

    #[test]
    fn what_is_typed_wrong_is_refused() {
        for words in [
            &["replicationctl"][..],
            &["replicationctl", "attach"],
            &["replicationctl", "wait"],
            &["replicationctl", "wait", "--now", "12"],
            &["replicationctl", "hold", "skip", "12"],
            &["replicationctl", "trace", "abc"],
            &["replicationctl", "status", "--interval", "0"],
            &["replicationctl", "status", "--count", "3"],
            &["replicationctl", "pause"],
        ] {
            assert!(Cli::try_parse_from(words).is_err(), "{words:?}");
        }
        for words in [
            &["replicationctl", "--json", "status"][..],
            &["replicationctl", "status", "--json", "--watch", "--count", "3"],
            &["replicationctl", "hold", "skip", "12", "--dry-run"],
            &["replicationctl", "wait", "1|x5|7/a"],
        ] {
            assert!(Cli::try_parse_from(words).is_ok(), "{words:?}");
        }
    }
}
