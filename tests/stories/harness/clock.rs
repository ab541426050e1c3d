//! A clock that a test sets, for processes that are started with it (libfaketime). The monotonic clock
//! is left alone, as when the clock of a machine is set.

use super::Service;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Clock {
    library: PathBuf,
    /// Says how far the clock is off.
    file: PathBuf,
}

impl Clock {
    /// Right, until it is set.
    pub(crate) fn new(name: &str) -> Clock {
        let library = fs::read_dir("/usr/lib")
            .unwrap()
            .map(|entry| entry.unwrap().path().join("faketime/libfaketimeMT.so.1"))
            .find(|path| Path::exists(path))
            .unwrap_or_else(|| panic!("libfaketime is missing: run these tests with ./test-replication.sh"));
        // Where every user of the machine can read it.
        let file = std::env::temp_dir().join(format!("replication-clock-{name}-{}", std::process::id()));
        let clock = Clock { library, file };
        clock.set("+0");
        clock
    }

    /// Sets it: `+2d` is two days ahead.
    pub(crate) fn set(&self, offset: &str) {
        let new = self.file.with_extension("new");
        fs::write(&new, offset).unwrap();
        fs::rename(&new, &self.file).unwrap();
    }

    /// Has a service go by it from its next start on.
    pub(crate) fn rule(&self, service: &mut Service) {
        for (name, value) in self.environment() {
            service.set(name, &value);
        }
    }

    /// What has a process go by it.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DISABLE_SHM", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}
