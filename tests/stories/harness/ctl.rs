//! Running replicationctl.

use super::{Replication, wait_for};
use serde_json::Value;
use std::process::{Command, ExitStatus, Stdio};

/// What it left.
pub(crate) struct Said {
    pub(crate) status: Option<i32>,
    pub(crate) result: String,
    pub(crate) aside: String,
}

impl Said {
    /// The result of `--json`.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.result)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.result, self.aside))
    }

    /// Fails unless it ended with this status; returns the result.
    #[track_caller]
    pub(crate) fn ended(self, status: i32) -> String {
        assert_eq!(self.status, Some(status), "{}{}", self.result, self.aside);
        self.result
    }
}

/// Runs it with both sides.
pub(crate) fn ctl(replication: &Replication, arguments: &[&str]) -> Said {
    let (source, target) = (replication.source_url(), replication.target_url());
    ctl_with(replication, &[("SOURCE_DATABASE_URL", source), ("TARGET_DATABASE_URL", target)], arguments)
}

/// The same with these variables, and no others.
pub(crate) fn ctl_with(replication: &Replication, variables: &[(&str, &str)], arguments: &[&str]) -> Said {
    let output = Command::new(replication.servers.binaries.join("replicationctl"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { status: output.status.code(), result: text(output.stdout), aside: text(output.stderr) }
}

/// Runs it with both sides until `is_due`, and presses Ctrl-C; returns how it ended.
pub(crate) fn ctl_interrupted(
    replication: &Replication,
    arguments: &[&str],
    is_due: impl FnMut() -> Option<()>,
) -> ExitStatus {
    let mut child = Command::new(replication.servers.binaries.join("replicationctl"))
        .args(arguments)
        .env_clear()
        .env("SOURCE_DATABASE_URL", replication.source_url())
        .env("TARGET_DATABASE_URL", replication.target_url())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("it is time for Ctrl-C", is_due);
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    wait_for("it ends", || child.try_wait().unwrap())
}
