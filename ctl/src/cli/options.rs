//! What can be said with each command.

use clap::{Args, Subcommand};
use std::time::Duration;

#[derive(Args, Debug)]
pub(crate) struct StatusOptions {
    /// Again and again: in place on a terminal, a line each elsewhere
    #[arg(long)]
    pub(crate) watch: bool,
    /// Seconds between two looks
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) interval: u64,
    /// With --watch: end after so many looks
    #[arg(long, requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct AttachOptions {
    /// Tables: shop.order, order (of public), shop.*
    #[arg(required = true)]
    pub(crate) patterns: Vec<String>,
    /// Also capture what inbox-processor writes to them, in a chain of replications
    #[arg(long)]
    pub(crate) cascade: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DetachOptions {
    /// Tables: shop.order, order (of public), shop.*
    #[arg(required = true)]
    pub(crate) patterns: Vec<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct AcceptOptions {
    /// Tables: shop.order, order (of public), shop.*
    #[arg(required = true)]
    pub(crate) patterns: Vec<String>,
    /// The role that is to write to them; without it, they are only checked
    #[arg(long)]
    pub(crate) role: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// What is blocked, and what waits behind it
    #[command(after_help = "Example:\n  replicationctl hold show --json")]
    Show,
    /// Retry apply at once
    #[command(after_help = "Example:\n  replicationctl hold retry")]
    Retry,
    /// Skip a transaction that waits (in the target), or the event that holds up publishing (in the source), on record
    #[command(
        after_help = "Example:\n  replicationctl hold skip 74123 --why 'the table is gone in B' --dry-run"
    )]
    Skip(SkipOptions),
}

#[derive(Args, Debug)]
pub(crate) struct SkipOptions {
    /// The id of a transaction, or of an event, as `hold show` gives them
    pub(crate) id: String,
    /// The reason, which is recorded
    #[arg(long, required_unless_present = "dry_run")]
    pub(crate) why: Option<String>,
    /// Show what would be skipped and what would come next, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// The last messages
    #[command(after_help = "Example:\n  replicationctl quarantine list --limit 100")]
    List {
        /// So many at most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
    },
    /// One message
    #[command(after_help = "Example:\n  replicationctl quarantine show 7")]
    Show {
        /// Its number, as `quarantine list` gives it
        id: i64,
    },
    /// Acknowledge all messages: they are no longer reported
    #[command(after_help = "Example:\n  replicationctl quarantine ack")]
    Ack,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("until").required(true))]
pub(crate) struct WaitOptions {
    /// The id of a transaction of the source, or what `replication.token()` gave there
    #[arg(group = "until")]
    pub(crate) transaction: Option<String>,
    /// All that is committed in the source now
    #[arg(long, group = "until")]
    pub(crate) now: bool,
    /// Seconds to wait at most
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=86400))]
    timeout: u64,
}

impl WaitOptions {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Columns, types and keys, as inbox-processor judges them
    #[command(after_help = "Example:\n  replicationctl schema diff --json")]
    Diff,
}

#[derive(Args, Debug)]
pub(crate) struct PauseOptions {
    /// The reason, which is recorded
    #[arg(long)]
    pub(crate) why: String,
    /// Publishing in the source, instead of applying in the target
    #[arg(long)]
    pub(crate) publishing: bool,
    /// Seconds to wait until the service obeys
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) timeout: u64,
}

#[derive(Args, Debug)]
pub(crate) struct ResumeOptions {
    /// Publishing in the source, instead of applying in the target
    #[arg(long)]
    pub(crate) publishing: bool,
}
