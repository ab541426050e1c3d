//! A service as a process of its own.

use super::{Proxy, wait_for};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// So many lines of its log are shown where a story failed.
const LINES_SHOWN: usize = 15;

pub(crate) struct Service {
    binary: PathBuf,
    log: PathBuf,
    settings: BTreeMap<String, String>,
    child: Option<Child>,
}

impl Service {
    /// `logs` is the beginning of the log's path.
    pub(crate) fn new(binaries: &Path, binary: &str, logs: &Path) -> Service {
        let log = PathBuf::from(format!("{}.{binary}.log", logs.display()));
        File::create(&log).unwrap();
        let health = log.with_extension("health").display().to_string();
        Service {
            binary: binaries.join(binary),
            log,
            settings: BTreeMap::from([
                ("HEALTH_FILE".to_owned(), health),
                ("HTTP_ADDRESS".to_owned(), "off".to_owned()),
            ]),
            child: None,
        }
    }

    /// A second instance with the same settings, and a log of its own.
    pub(crate) fn twin(&self) -> Service {
        let log = self.log.with_extension("twin.log");
        File::create(&log).unwrap();
        let health = log.with_extension("health").display().to_string();
        let mut settings = self.settings.clone();
        settings.insert("HEALTH_FILE".to_owned(), health);
        Service { binary: self.binary.clone(), log, settings, child: None }
    }

    pub(crate) fn with<'a>(mut self, settings: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Service {
        self.settings.extend(settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    /// Puts a proxy before each server that this setting names (`DATABASE_URL`, `NATS_URL`), from the next
    /// start on.
    pub(crate) fn proxy(&mut self, setting: &str) -> Vec<Proxy> {
        let (mut urls, mut proxies) = (Vec::new(), Vec::new());
        for url in self.settings[setting].split(',') {
            let (_, after_scheme) = url.split_once("://").unwrap();
            let after_login = after_scheme.rsplit('@').next().unwrap();
            let server = after_login.split('/').next().unwrap();
            let proxy = Proxy::start(server);
            urls.push(url.replace(server, &format!("127.0.0.1:{}", proxy.port())));
            proxies.push(proxy);
        }
        self.set(setting, &urls.join(","));
        proxies
    }

    /// Freezes it (SIGSTOP).
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Resumes it (SIGCONT).
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    /// Sends it this signal.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        let pid = self.child.as_ref().unwrap().id();
        std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
    }

    /// The most memory that it has had since this was called last, in KiB.
    pub(crate) fn memory_peak_kib(&self) -> u64 {
        let pid = self.child.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        // Sets the peak back to what there is now.
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Runs the program of its name in this directory, from the next start on.
    pub(crate) fn use_programs_in(&mut self, binaries: &Path) {
        self.binary = binaries.join(self.binary.file_name().unwrap());
    }

    /// Runs the build that has kill points, from the next start on.
    pub(crate) fn with_kill_points(&mut self, binaries: &Path) {
        self.use_programs_in(binaries);
        let token = self.log.with_extension("kill-point").display().to_string();
        self.set("KILL_POINT", &token);
    }

    /// Aborts it when it next reaches this point.
    pub(crate) fn kill_at(&self, point: &str) {
        std::fs::write(&self.settings["KILL_POINT"], point).unwrap();
    }

    /// Changes a setting for the next start.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// What a setting is.
    pub(crate) fn setting(&self, name: &str) -> &str {
        &self.settings[name]
    }

    /// Puts a secret into a file for the next start, and takes it out of the environment. Returns the file.
    pub(crate) fn set_in_file(&mut self, name: &str) -> PathBuf {
        let path = self.log.with_extension(name);
        std::fs::write(&path, format!("{}\n", self.settings.remove(name).unwrap())).unwrap();
        self.set(&format!("{name}_FILE"), &path.display().to_string());
        path
    }

    /// Runs the service's `migrate` with another database.
    pub(crate) fn migrate(&self, database: &str) {
        let mut command = Command::new(&self.binary);
        let output = command.arg("migrate").env_clear().env("DATABASE_URL", database).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.binary.display());
        let log = File::options().append(true).open(&self.log).unwrap();
        let child = Command::new(&self.binary)
            .env_clear()
            .envs(&self.settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", self.binary.display()));
        self.child = Some(child);
    }

    /// Waits until the service reports that all of its threads work.
    pub(crate) fn wait_until_healthy(&self) {
        wait_for(&format!("{} is healthy; see {}", self.binary.display(), self.log.display()), || {
            let mut ask = Command::new(&self.binary);
            let answer = ask.arg("health").env_clear().envs(&self.settings).output().unwrap();
            answer.status.success().then_some(())
        });
    }

    /// kill -9, at whatever it is doing.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// Asks it to stop, as an operator does; returns how it ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_for_end()
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let ends = format!("{} ends", self.binary.display());
        let child = self.child.as_mut().unwrap();
        let status = wait_for(&ends, || child.try_wait().unwrap());
        self.child = None;
        status
    }

    /// The health that it reports; empty while it reports none.
    pub(crate) fn health(&self) -> String {
        std::fs::read_to_string(&self.settings["HEALTH_FILE"]).unwrap_or_default()
    }

    /// For those who read why a story failed.
    pub(super) fn show_end_of_log(&self) {
        let log = self.log();
        let first = log.lines().count().saturating_sub(LINES_SHOWN);
        println!("The end of {}:", self.log.display());
        log.lines().skip(first).for_each(|line| println!("  | {line}"));
    }

    /// All that it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}
