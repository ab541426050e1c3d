//! A service as a process that ends with the driver.

use crate::system::wait_for;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(crate) struct Service {
    binary: PathBuf,
    log: PathBuf,
    settings: BTreeMap<String, String>,
    child: Option<Child>,
}

impl Service {
    pub(crate) fn new(binary: PathBuf, log: PathBuf, settings: BTreeMap<String, String>) -> Service {
        Service { binary, log, settings, child: None }
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        let log =
            File::options().create(true).append(true).open(&self.log).context("open a service's log")?;
        let child = ending_with_us(&self.binary)
            .env_clear()
            .envs(&self.settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", self.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the service is healthy.
    pub(crate) fn wait_until_healthy(&mut self) -> Result<()> {
        wait_for(&format!("{} healthy; see {}", self.binary.display(), self.log.display()), || {
            if let Some(status) = self.child.as_mut().context("it was not started")?.try_wait()? {
                bail!("{} ended: {status}; see {}", self.binary.display(), self.log.display());
            }
            let mut ask = Command::new(&self.binary);
            Ok(ask.arg("health").env_clear().envs(&self.settings).output()?.status.success().then_some(()))
        })
    }

    /// Stops it and waits for its end; does nothing if it does not run.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        Command::new("kill").arg(child.id().to_string()).status().context("run kill")?;
        let ends = format!("the end of {}", self.binary.display());
        let status = wait_for(&ends, || Ok(child.try_wait()?))?;
        if !status.success() {
            bail!("{} ended with {status}; see {}", self.binary.display(), self.log.display());
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

/// A command for a program that the kernel stops when the driver ends, however it ends.
pub(crate) fn ending_with_us(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
