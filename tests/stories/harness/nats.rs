//! A NATS server of a test's own, with JetStream.

use super::{Service, wait_for};
use shared::broker::{Broker, Connection};
use shared::config::Environment;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub(crate) struct PrivateNats {
    server: Child,
    directory: PathBuf,
    url: String,
}

impl PrivateNats {
    /// `settings` are lines of its configuration, which has the rest.
    pub(crate) fn start(name: &str, settings: &str) -> PrivateNats {
        let environment = Environment::read();
        let directory =
            PathBuf::from(environment.optional("TEST_RUN_DIR").unwrap()).join(format!("nats-{name}"));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        // Free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\n{settings}\n",
            directory.join("store").display()
        );
        std::fs::write(directory.join("nats.conf"), config).unwrap();
        let log = std::fs::File::create(directory.join("nats.log")).unwrap();
        let server = Command::new(environment.optional("NATS_SERVER").unwrap_or("nats-server"))
            .arg("--config")
            .arg(directory.join("nats.conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        wait_for("the NATS server takes connections", || TcpStream::connect(("127.0.0.1", port)).ok());
        PrivateNats { server, directory, url: format!("nats://127.0.0.1:{port}") }
    }

    /// Its address, without a login.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Has the service log in as this user, whose password is `password`.
    pub(crate) fn use_user(&self, service: &mut Service, user: &str) {
        for (name, value) in [("NATS_URL", &*self.url), ("NATS_USER", user), ("NATS_PASSWORD", "password")] {
            service.set(name, value);
        }
    }

    /// A connection of the test's own.
    pub(crate) fn connect(&self, user: &str) -> Connection {
        let url = self.url.replace("nats://", &format!("nats://{user}:password@"));
        let environment = Environment::from_pairs([("NATS_URL".to_owned(), url)]);
        Broker::from_env(&environment, "test").unwrap().connect().unwrap()
    }
}

impl Drop for PrivateNats {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
