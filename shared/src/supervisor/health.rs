//! What the threads report about themselves, and the file in which scripts and containers read it.

use crate::config::Environment;
use crate::printable::printable;
use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often the health file is written.
pub(super) const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// An older health file belongs to a process that hangs or has exited.
const HEALTH_FRESH: Duration = Duration::from_secs(5);

/// What a thread reports is cut behind so many characters.
const TROUBLE_MAX: usize = 4000;

/// What the threads have reported. A thread that has not yet reported is starting.
#[derive(Clone, Default)]
pub(super) struct Health(Arc<Mutex<Reports>>);

/// By thread.
#[derive(Default)]
struct Reports {
    /// The trouble of each; none where it does its work.
    troubles: BTreeMap<String, Option<String>>,
    /// What is as it should be, and worth to be said: what an operator has paused.
    notes: BTreeMap<String, String>,
}

impl Health {
    pub(super) fn set(&self, thread: &str, trouble: Option<&str>) {
        self.0.lock().troubles.insert(thread.to_owned(), trouble.map(str::to_owned));
    }

    pub(super) fn note(&self, thread: &str, note: Option<&str>) {
        let notes = &mut self.0.lock().notes;
        match note {
            None => notes.remove(thread),
            Some(note) => notes.insert(thread.to_owned(), note.to_owned()),
        };
    }

    pub(super) fn is_ok(&self, thread: &str) -> bool {
        self.0.lock().troubles.get(thread).is_none_or(Option::is_none)
    }

    /// The threads, with the trouble of each that has one, printable.
    pub(super) fn threads(&self) -> Vec<(String, Option<String>)> {
        let printable = |trouble: &String| printable(trouble, TROUBLE_MAX);
        self.0
            .lock()
            .troubles
            .iter()
            .map(|(thread, trouble)| (thread.clone(), trouble.as_ref().map(printable)))
            .collect()
    }

    /// The troubles of all threads; none if there are none.
    pub(super) fn trouble(&self) -> Option<String> {
        let threads = self.threads().into_iter();
        let list: Vec<String> =
            threads.filter_map(|(thread, trouble)| Some(format!("{thread}: {}", trouble?))).collect();
        (!list.is_empty()).then(|| list.join("; "))
    }

    fn well(&self) -> String {
        let notes: Vec<String> =
            self.0.lock().notes.values().map(|note| printable(note, TROUBLE_MAX)).collect();
        if notes.is_empty() { "ok\n".to_owned() } else { format!("ok ({})\n", notes.join("; ")) }
    }

    fn summary(&self) -> String {
        match self.trouble() {
            None => self.well(),
            Some(trouble) => format!("degraded: {trouble}\n"),
        }
    }
}

/// The file named by `HEALTH_FILE`: one line, replaced as a whole.
pub(super) struct HealthFile(PathBuf);

impl HealthFile {
    pub(super) fn from_env(environment: &Environment) -> Option<HealthFile> {
        environment.optional("HEALTH_FILE").map(|path| HealthFile(path.into()))
    }

    pub(super) fn write(&self, health: &Health) {
        let path = &self.0;
        // Appended, not with_extension: files of other services may differ in their extension only.
        let mut fresh = path.clone().into_os_string();
        fresh.push(".new");
        let written = std::fs::write(&fresh, health.summary()).and_then(|()| std::fs::rename(&fresh, path));
        if let Err(error) = written {
            log::warn!(error:%; "cannot write the health file {}", path.display());
        }
    }

    /// A service that has exited is not healthy: what reads the file must not find it.
    pub(super) fn remove(&self) {
        // Where it was never written, there is nothing to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Prints the first line of the health file; succeeds when it is fresh and says `ok`.
pub(super) fn report_health(environment: &Environment) -> ExitCode {
    let health = environment.required("HEALTH_FILE", "/run/replication/health").and_then(read_health);
    match health {
        Ok(line) => {
            println!("{line}");
            if is_ok(&line) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `ok`, or `ok (applying is paused …)`.
fn is_ok(line: &str) -> bool {
    line == "ok" || line.starts_with("ok (")
}

fn read_health(path: &str) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("no health file {path}; is the service running?"))?;
    let written = std::fs::metadata(path)?.modified()?;
    match SystemTime::now().duration_since(written) {
        Ok(age) if age > HEALTH_FRESH => {
            bail!("{path} was last written {} s ago; the service hangs or has exited", age.as_secs())
        }
        // A running service has written it again since the clock was set back.
        Err(ahead) if ahead.duration() > HEALTH_FRESH => bail!(
            "{path} was last written {} s in the future: the clock was set back, and the service has hung or exited since",
            ahead.duration().as_secs()
        ),
        _ => {}
    }
    Ok(text.lines().next().unwrap_or("empty").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn health_names_the_thread_and_its_trouble() {
        let health = Health::default();
        health.set("ticker", Some("no\nserver"));
        assert_eq!(health.summary(), "degraded: ticker: no server\n");
        health.note("reader", Some("publishing is paused\nby me"));
        assert_eq!(health.summary(), "degraded: ticker: no server\n");
        health.set("ticker", None);
        assert_eq!(health.summary(), "ok (publishing is paused by me)\n");
        assert!(is_ok(health.summary().trim_end()) && !is_ok("okay"));
        health.note("reader", None);
        assert_eq!(health.summary(), "ok\n");
    }

    #[test]
    fn health_that_was_written_long_ago_or_in_the_future_counts_for_nothing() {
        let path = std::env::temp_dir().join(format!("health-{}", std::process::id()));
        std::fs::write(&path, "ok\n").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let (now, long) = (SystemTime::now(), Duration::from_secs(60));
        let read = |written| {
            file.set_modified(written).unwrap();
            read_health(path.to_str().unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(read(now).as_deref(), Ok("ok"));
        assert_eq!(read(now + Duration::from_secs(2)).as_deref(), Ok("ok"));
        assert!(read(now - long).unwrap_err().contains("s ago"));
        assert!(read(now + long).unwrap_err().contains("in the future"));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn writing_a_health_file_touches_no_other_file_of_its_stem() {
        let directory = std::env::temp_dir().join(format!("health-files-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let other = directory.join("service.new");
        std::fs::write(&other, "degraded: somebody else's\n").unwrap();
        let file = HealthFile(directory.join("service.publisher"));
        file.write(&Health::default());
        assert_eq!(std::fs::read_to_string(&file.0).unwrap(), "ok\n");
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "degraded: somebody else's\n");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
