//! What the services say about secrets and about plain text: nothing of the former, and once of the latter.

use crate::harness::{Replication, Service, wait_for};
use std::fs::write;

/// In every secret of these stories.
const MARK: &str = "S3cr7t";

/// Starts a publisher with these settings, waits until it has said this, and looks for the mark in all that it says.
fn expect(publisher: &Service, settings: &[(&str, &str)], said: &str) {
    let mut service = publisher.twin();
    // All that any library says as well.
    service.set("RUST_LOG", "trace");
    for (name, value) in settings {
        service.set(name, value);
    }
    service.start();
    wait_for(&format!("{settings:?}: {said}"), || service.log().contains(said).then_some(()));
    if said.contains("cannot start") {
        assert_eq!(service.wait_for_end().code(), Some(2), "{settings:?}");
    } else {
        wait_for("it reports its health", || (!service.health().is_empty()).then_some(()));
    }
    for text in [service.log(), service.health()] {
        let line = text.lines().find(|line| line.contains(MARK));
        assert!(line.is_none(), "{settings:?}: {}", line.unwrap_or_default());
    }
}

#[test]
fn no_secret_is_shown_wherever_it_comes_from_and_whatever_fails() {
    let replication = Replication::prepare("secrets_hidden", &[]);
    let publisher = &replication.publisher;
    let directory = std::env::temp_dir().join(format!("secrets-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let (_, server) = publisher.setting("DATABASE_URL").rsplit_once('@').unwrap();
    let with_password = format!("postgres://postgres:{MARK}@{server}");
    let without = format!("postgres://postgres@{server}");
    let nats = publisher.setting("NATS_URL").to_owned();
    let with_login = nats.replace("nats://", &format!("nats://replication:{MARK}@"));

    let url_file = file("url", &with_password);
    let secret_file = file("secret", MARK);
    let pass_file = file("passfile", &format!("*:*:*:*:{MARK}"));
    let nats_file = file("nats", &with_login);
    let no_url = file("no_url", &format!("postgres://postgres:{MARK}@{MARK}@{server}"));
    let wrong = "password authentication failed";
    let violation = "Authorization Violation";
    let no_login = [("NATS_USER", ""), ("NATS_PASSWORD", "")];
    for (settings, said) in [
        (vec![("DATABASE_URL", &*with_password)], wrong),
        (vec![("DATABASE_URL", ""), ("DATABASE_URL_FILE", &url_file)], wrong),
        (vec![("DATABASE_URL", &without), ("PGPASSWORD", MARK)], wrong),
        (vec![("DATABASE_URL", &without), ("PGPASSWORD_FILE", &secret_file)], wrong),
        (vec![("DATABASE_URL", &without), ("PGPASSFILE", &pass_file)], wrong),
        (
            vec![("DATABASE_URL", ""), ("DATABASE_URL_FILE", &no_url)],
            "cannot start: DATABASE_URL has more than one @",
        ),
        (vec![("DATABASE_URL", MARK)], "cannot start: DATABASE_URL is not valid"),
        (
            vec![("DATABASE_URL", ""), ("DATABASE_URL_FILE", "/nowhere/url"), ("PGPASSWORD", MARK)],
            "cannot start: DATABASE_URL_FILE=",
        ),
        (vec![("NATS_PASSWORD", MARK)], violation),
        (vec![("NATS_PASSWORD", ""), ("NATS_PASSWORD_FILE", &secret_file)], violation),
        ([&no_login[..], &[("NATS_URL", &with_login)]].concat(), violation),
        ([&no_login[..], &[("NATS_URL", ""), ("NATS_URL_FILE", &nats_file)]].concat(), violation),
        ([&no_login[..], &[("NATS_TOKEN", MARK)]].concat(), violation),
        ([&no_login[..], &[("NATS_TOKEN_FILE", &secret_file)]].concat(), violation),
        ([&no_login[..], &[("NATS_CREDS_FILE", &secret_file)]].concat(), "cannot start: NATS_CREDS_FILE="),
        ([&no_login[..], &[("NATS_NKEY_FILE", &secret_file)]].concat(), "cannot start: NATS_NKEY_FILE="),
        (vec![("NATS_TOKEN", MARK)], "cannot start: two logins are set"),
        (vec![("NATS_CA_FILE", &secret_file)], "cannot start: NATS_CA_FILE="),
        (vec![("NATS_SIGNING_KEY_FILE", &secret_file)], "cannot start: NATS_SIGNING_KEY_FILE="),
    ] {
        expect(publisher, &settings, said);
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn plain_text_to_another_machine_is_warned_of_once() {
    let replication = Replication::prepare("plain_text", &[]);
    let warnings = ["DATABASE_URL leads to another machine", "NATS_URL leads to another machine"];
    let count = |service: &Service| warnings.map(|warning| service.log().matches(warning).count());
    let mut publisher = replication.publisher.twin();
    publisher.start();
    publisher.wait_until_healthy();
    assert_eq!(count(&publisher), [0, 0], "this machine: {}", publisher.log());
    publisher.kill();

    // Nobody has this address; each attempt fails.
    let mut publisher = replication.publisher.twin();
    publisher.set("DATABASE_URL", "postgres://u@192.0.2.1/d");
    publisher.set("NATS_URL", "nats://192.0.2.1:4222");
    publisher.start();
    wait_for("both are warned of", || (count(&publisher) == [1, 1]).then_some(()));
    publisher.kill();
    for (accepted, settings) in [
        (
            "false",
            [
                ("DATABASE_URL", "postgres://u@192.0.2.1/d?sslmode=require"),
                ("NATS_URL", "tls://192.0.2.1:4222"),
            ],
        ),
        ("false", [("DATABASE_URL", "postgres://u@localhost/d"), ("NATS_URL", "nats://[::1]:4222")]),
        ("true", [("DATABASE_URL", "postgres://u@192.0.2.1/d"), ("NATS_URL", "nats://192.0.2.1:4222")]),
    ] {
        let mut publisher = replication.publisher.twin();
        for (name, value) in settings {
            publisher.set(name, value);
        }
        publisher.set("PLAIN_TEXT_ACCEPTED", accepted);
        publisher.start();
        wait_for("it has tried", || publisher.health().contains("degraded").then_some(()));
        assert_eq!(count(&publisher), [0, 0], "{}", publisher.log());
    }
    replication.without_stream();
}
