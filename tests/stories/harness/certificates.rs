//! Certificates, made by the very commands of docs/security.md.

use shared::config::Environment;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const PAGE: &str = include_str!("../../../docs/security.md");

/// A directory of certificates of one authority.
pub(crate) struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// `name` tells the directories of a run apart.
    pub(crate) fn make(name: &str) -> Certificates {
        let run = Environment::read().optional("TEST_RUN_DIR").unwrap().to_owned();
        let directory = PathBuf::from(run).join(format!("certificates-{name}"));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let (_, commands) = PAGE.split_once("```bash\n").unwrap();
        let (commands, _) = commands.split_once("```").unwrap();
        let certificates = Certificates { directory };
        certificates.run(commands);
        certificates
    }

    /// Runs commands of bash in the directory.
    pub(crate) fn run(&self, commands: &str) {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", commands])
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The path of one of the files.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// What is in it.
    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.join(name)).unwrap()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
