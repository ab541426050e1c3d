//! TLS to NATS, and every way of logging in, with certificates made as docs/security.md says.

use crate::harness::{Certificates, PrivateNats, nats_account};
use nkeys::KeyPair;
use shared::broker::Broker;
use shared::config::Environment;

/// Connects with these variables; the error as it is shown.
fn connect(variables: &[(&str, &str)]) -> Result<(), String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let environment = Environment::from_pairs(variables);
    let connected = environment.with_secrets().and_then(|environment| Broker::from_env(&environment, "test"));
    connected.and_then(|mut broker| broker.connect()).map(drop).map_err(|error| format!("{error:#}"))
}

/// `None`: let in; else a part of why not.
fn expect(variables: &[(&str, &str)], refused: Option<&str>) {
    match (connect(variables), refused) {
        (Ok(()), None) => {}
        (Err(error), Some(reason)) => {
            assert!(error.contains(reason) && !error.contains("S3cret"), "{variables:?}: {error}");
        }
        (outcome, _) => panic!("{variables:?}: {outcome:?}, and not {refused:?}"),
    }
}

#[test]
fn nats_is_reached_through_tls_and_by_every_way_of_logging_in() {
    let (own, other) = (Certificates::make("nats-own"), Certificates::make("nats-other"));
    let user = KeyPair::new_user();
    std::fs::write(own.path("nkey"), format!("# a comment\n{}\n", user.seed().unwrap())).unwrap();
    std::fs::write(own.path("other.nkey"), KeyPair::new_user().seed().unwrap()).unwrap();
    std::fs::write(own.path("token"), "S3cret@token\n").unwrap();
    let tls = |more: &str| {
        let [certificate, key, ca] = ["nats-a.crt", "nats-a.key", "ca.crt"].map(|name| own.path(name));
        format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\", ca_file: \"{ca}\"\n{more} }}")
    };
    let users = format!(
        "{}\nauthorization {{ users: [ {{ user: \"u@\", password: \"S3cret,%\" }}, {{ nkey: {} }} ] }}",
        tls(""),
        user.public_key()
    );
    let by_name = PrivateNats::start("by-name", &users);
    let by_certificate = PrivateNats::start(
        "by-certificate",
        &format!("{}\nauthorization {{ token: \"S3cret@token\" }}", tls("verify: true")),
    );
    let plain = PrivateNats::start("plain", "authorization { token: \"S3cret@token\" }");
    let (account, creds) = nats_account();
    std::fs::write(own.path("creds"), creds).unwrap();
    let by_creds = PrivateNats::start("by-creds", &account);

    let ca = own.path("ca.crt");
    let ca = ("NATS_CA_FILE", &*ca);
    let (creds, nkey, token) = (own.path("creds"), own.path("nkey"), own.path("token"));
    let (other_ca, other_nkey) = (other.path("ca.crt"), own.path("other.nkey"));
    let (certificate, key) = (own.path("outbox-publisher.crt"), own.path("outbox-publisher.key"));
    let client = [("NATS_CERT_FILE", &*certificate), ("NATS_KEY_FILE", &*key)];
    let url = |server: &PrivateNats, login: &str, host: &str| {
        server.url().replace("127.0.0.1", &format!("{login}{host}"))
    };
    let login = "u%40:S3cret%2C%25@";

    let at = url(&by_name, login, "localhost");
    expect(&[("NATS_URL", &at), ca], None);
    expect(&[("NATS_URL", &at.replace("nats:", "tls:")), ca], None);
    expect(&[("NATS_URL", &at)], Some("UnknownIssuer"));
    expect(&[("NATS_URL", &at), ("NATS_CA_FILE", &other_ca)], Some("invalid peer certificate"));
    expect(&[("NATS_URL", &url(&by_name, login, "127.0.0.1")), ca], Some("not valid for name"));
    expect(&[("NATS_URL", &at.replace("S3cret", "S3cret1")), ca], Some("Authorization Violation"));
    let at = url(&by_name, "", "localhost");
    expect(&[("NATS_URL", &at), ca, ("NATS_USER", "u@"), ("NATS_PASSWORD", "S3cret,%")], None);
    expect(&[("NATS_URL", &at), ca, ("NATS_NKEY_FILE", &nkey)], None);
    expect(&[("NATS_URL", &at), ca, ("NATS_NKEY_FILE", &other_nkey)], Some("Authorization Violation"));
    expect(&[("NATS_URL", &at), ca, ("NATS_NKEY_FILE", &token)], Some("no line with the seed of a user"));

    let at = url(&by_certificate, "", "localhost");
    let token_file = ("NATS_TOKEN_FILE", &*token);
    expect(&[("NATS_URL", &at), ca, client[0], client[1], token_file], None);
    expect(
        &[("NATS_URL", &at), ca, client[0], client[1], ("NATS_TOKEN", "S3cret")],
        Some("Authorization Violation"),
    );
    expect(&[("NATS_URL", &at), ca, token_file], Some("connect to nats://localhost"));

    let at = url(&plain, "", "localhost");
    expect(&[("NATS_URL", &at), token_file], None);
    // No downgrade.
    for protected in [ca, client[0]] {
        let key = [client[1]];
        let variables =
            [&[("NATS_URL", &*at), token_file, protected][..], if protected == ca { &[] } else { &key }];
        expect(&variables.concat(), Some("connect to nats://localhost"));
    }
    expect(&[("NATS_URL", &at.replace("nats:", "tls:")), token_file], Some("connect to tls://localhost"));

    expect(&[("NATS_URL", &url(&by_creds, "", "localhost")), ("NATS_CREDS_FILE", &creds)], None);
    expect(&[("NATS_URL", &url(&by_creds, "", "localhost"))], Some("Authorization Violation"));
    expect(
        &[("NATS_URL", &url(&by_creds, "", "localhost")), ("NATS_CREDS_FILE", &nkey)],
        Some("it is no creds file"),
    );
}

#[test]
fn a_certificate_of_nats_that_was_replaced_needs_no_restart() {
    let (own, other) = (Certificates::make("nats-renewed"), Certificates::make("nats-renewed-other"));
    let settings = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\" }}",
        own.path("nats-a.crt"),
        own.path("nats-a.key")
    );
    let server = PrivateNats::start("renewed", &settings);
    std::fs::copy(other.path("ca.crt"), own.path("now.crt")).unwrap();
    let url = server.url().replace("127.0.0.1", "localhost");
    let variables = [("NATS_URL".to_owned(), url), ("NATS_CA_FILE".to_owned(), own.path("now.crt"))];
    let mut broker = Broker::from_env(&Environment::from_pairs(variables), "test").unwrap();
    assert!(broker.connect().is_err());
    std::fs::copy(own.path("ca.crt"), own.path("now.crt")).unwrap();
    broker.connect().unwrap();
    std::fs::remove_file(own.path("now.crt")).unwrap();
    let error = format!("{:#}", broker.connect().err().unwrap());
    assert!(
        error.contains("NATS_CA_FILE=") && error.contains("now.crt cannot be used: No such file"),
        "{error}"
    );
}
