//! TLS to PostgreSQL, with certificates made as docs/security.md says.

use crate::harness::{
    Certificates, PrivateServer, Proxy, Replication, assert_equal, beside, compare_by_script_at,
    server_version,
};
use postgres::Client;
use shared::config::Environment;
use shared::database::Database;
use std::time::{Duration, Instant};

/// What the server asks of each role.
const PG_HBA: &str = "hostssl all encrypted 127.0.0.1/32 scram-sha-256
hostnossl all encrypted 127.0.0.1/32 reject
hostnossl all unencrypted 127.0.0.1/32 scram-sha-256
hostssl all unencrypted 127.0.0.1/32 reject
hostssl all by_certificate 127.0.0.1/32 cert
host all all 127.0.0.1/32 scram-sha-256
local all all scram-sha-256
";
const ROLES: &str =
    "create role anybody login password 'password'; create role encrypted login password 'password';
    create role unencrypted login password 'password'; create role by_certificate login";
/// A list of revoked certificates that has the server's, and one without it.
const MAKE_REVOKED: &str = r#"
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\ndefault_crl_days=1\n' >crl.cnf
    touch index.txt
    echo 01 >crlnumber
    of_authority() { openssl ca -config crl.cnf -keyfile ca.key -cert ca.crt "$@"; }
    of_authority -gencrl -out empty.crl
    of_authority -revoke postgres-a.crt
    of_authority -gencrl -out revoked.crl"#;
/// A server that does not answer is noticed within this time.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// How a session came about, or a part of why not.
enum Expected {
    Encrypted,
    Plain,
    Refused(&'static str),
}
use Expected::{Encrypted, Plain, Refused};

fn database(url: &str, variables: &[(&str, &str)]) -> anyhow::Result<Database> {
    let variables = variables.iter().copied().chain([("DATABASE_URL", url)]);
    let environment =
        Environment::from_pairs(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Database::from_env(&environment, "test", Duration::from_secs(60), 1)
}

fn is_encrypted(client: &mut Client) -> bool {
    client.query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[]).unwrap().get(0)
}

/// Connects as this role to the server by this name for it, with these parameters.
fn expect(server: &PrivateServer, host: &str, role: &str, parameters: &str, expected: &Expected) {
    let url = format!("postgres://{role}@{host}:{}/postgres?{parameters}", server.port());
    let session = database(&url, &[("PGPASSWORD", "password")]).and_then(|database| database.session());
    let said = format!("{role} at {host}, {parameters}");
    match (session, expected) {
        (Ok(mut client), Encrypted) => assert!(is_encrypted(&mut client), "{said}: in plain text"),
        (Ok(mut client), Plain) => assert!(!is_encrypted(&mut client), "{said}: encrypted"),
        (Ok(_), Refused(reason)) => panic!("{said}: let in, and not '{reason}'"),
        (Err(error), Refused(reason)) => {
            let error = format!("{error:#}");
            assert!(error.contains(reason) && !error.contains("password@"), "{said}: {error}");
        }
        (Err(error), _) => panic!("{said}: {error:#}"),
    }
}

/// A server with TLS off, which has a certificate for `localhost`, and the certificates of its authority and of another.
fn server_with_certificates(name: &str, number: u16) -> (PrivateServer, Certificates, Certificates) {
    let server = PrivateServer::create(name, number, &["max_connections=60"]);
    let (own, other) =
        (Certificates::make(&format!("{name}-own")), Certificates::make(&format!("{name}-other")));
    for (file, text) in [
        ("server.crt", own.text("postgres-a.crt")),
        ("server.key", own.text("postgres-a.key")),
        ("ca.crt", own.text("ca.crt")),
        ("pg_hba.conf", PG_HBA.to_owned()),
    ] {
        server.write_file(file, &text);
    }
    let mut client = Client::connect(server.url(), postgres::NoTls).unwrap();
    client.batch_execute(ROLES).unwrap();
    server.reload(&[("ssl_ca_file", "ca.crt")]);
    (server, own, other)
}

#[test]
fn every_sslmode_means_what_it_means_to_libpq() {
    let (server, own, other) = server_with_certificates("encryption", 20);
    own.run(MAKE_REVOKED);
    own.run(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=by_certificate -keyout role.key -out role.csr
         openssl x509 -req -in role.csr -CA ca.crt -CAkey ca.key -days 1 -out role.crt -extfile <(echo basicConstraints=CA:FALSE)
         (umask 077; openssl ec -in role.key -out role.sec1.key; cp role.key open.key; chmod 0644 open.key)",
    );
    let ca = |certificates: &Certificates, mode: &str| {
        format!("sslmode={mode}&sslrootcert={}", certificates.path("ca.crt"))
    };
    let without_revoked = |list: &str| format!("{}&sslcrl={}", ca(&own, "verify-full"), own.path(list));
    let client = |key: &str| {
        format!("{}&sslcert={}&sslkey={}", ca(&own, "verify-ca"), own.path("role.crt"), own.path(key))
    };

    for (parameters, expected) in [
        (String::new(), Plain),
        ("sslmode=disable".to_owned(), Plain),
        ("sslmode=prefer".to_owned(), Plain),
        ("sslmode=require".to_owned(), Refused("the server offers no TLS")),
        (ca(&own, "verify-full"), Refused("the server offers no TLS")),
    ] {
        expect(&server, "localhost", "anybody", &parameters, &expected);
    }

    server.reload(&[("ssl", "on")]);
    let not_signed = || Refused("not signed by an authority in sslrootcert");
    let rejects = || Refused("pg_hba.conf rejects connection");
    let direct = if server_version(&mut Client::connect(server.url(), postgres::NoTls).unwrap()) >= 170_000 {
        Encrypted
    } else {
        Refused("the connection ended during the TLS handshake")
    };
    for (host, role, parameters, expected) in [
        ("127.0.0.1", "anybody", String::new(), Encrypted),
        ("127.0.0.1", "anybody", "sslmode=disable".to_owned(), Plain),
        ("127.0.0.1", "anybody", "sslmode=prefer".to_owned(), Encrypted),
        ("127.0.0.1", "anybody", "sslmode=require".to_owned(), Encrypted),
        ("127.0.0.1", "anybody", ca(&own, "require"), Encrypted),
        ("127.0.0.1", "anybody", ca(&other, "require"), not_signed()),
        ("127.0.0.1", "anybody", ca(&own, "verify-ca"), Encrypted),
        ("127.0.0.1", "anybody", ca(&other, "verify-ca"), not_signed()),
        ("localhost", "anybody", ca(&own, "verify-full"), Encrypted),
        ("localhost", "anybody", ca(&other, "verify-full"), not_signed()),
        ("127.0.0.1", "anybody", ca(&own, "verify-full"), Refused("not valid for name")),
        ("localhost", "anybody", without_revoked("empty.crl"), Encrypted),
        ("localhost", "anybody", without_revoked("revoked.crl"), Refused("Revoked")),
        ("localhost", "anybody", "sslrootcert=system".to_owned(), not_signed()),
        ("127.0.0.1", "encrypted", String::new(), Encrypted),
        ("127.0.0.1", "encrypted", "sslmode=disable".to_owned(), rejects()),
        ("127.0.0.1", "unencrypted", String::new(), Plain),
        ("127.0.0.1", "unencrypted", "sslmode=require".to_owned(), rejects()),
        ("127.0.0.1", "by_certificate", client("role.key"), Encrypted),
        ("127.0.0.1", "by_certificate", client("role.sec1.key"), Encrypted),
        ("127.0.0.1", "by_certificate", client("open.key"), Refused("chmod")),
        ("127.0.0.1", "by_certificate", client("ca.key"), Refused("do not go together")),
        ("127.0.0.1", "by_certificate", client("ca.crt"), Refused("it has no private key")),
        ("127.0.0.1", "by_certificate", client("none.key"), Refused("No such file")),
        ("127.0.0.1", "by_certificate", ca(&own, "verify-ca"), Refused("valid client certificate")),
        ("127.0.0.1", "encrypted", "sslmode=require&channel_binding=require".to_owned(), Encrypted),
        ("127.0.0.1", "encrypted", "sslmode=require&channel_binding=disable".to_owned(), Encrypted),
        (
            "127.0.0.1",
            "anybody",
            "sslmode=disable&channel_binding=require".to_owned(),
            Refused("channel binding"),
        ),
        ("127.0.0.1", "anybody", "sslmode=require&sslnegotiation=direct".to_owned(), direct),
    ] {
        expect(&server, host, role, &parameters, &expected);
    }
}

#[test]
fn certificates_and_passwords_that_were_replaced_need_no_restart() {
    let (server, own, other) = server_with_certificates("renewed", 21);
    server.reload(&[("ssl", "on")]);
    own.run("cp ca.crt now.crt; (umask 077; echo '*:*:postgres:encrypted:password' > passfile)");
    let parameters =
        format!("sslmode=verify-full&sslrootcert={}&passfile={}", own.path("now.crt"), own.path("passfile"));
    let url = format!("postgres://encrypted@localhost:{}/postgres?{parameters}", server.port());
    let database = database(&url, &[]).unwrap();
    let refused = |reason: &str| {
        let error = format!("{:#}", database.session().err().unwrap());
        assert!(error.contains(reason), "{error}");
    };
    assert!(is_encrypted(&mut database.session().unwrap()));

    std::fs::copy(other.path("ca.crt"), own.path("now.crt")).unwrap();
    refused("not signed by an authority");
    server.write_file("server.crt", &other.text("postgres-a.crt"));
    server.write_file("server.key", &other.text("postgres-a.key"));
    server.reload(&[]);
    database.session().unwrap();

    let mut client = Client::connect(server.url(), postgres::NoTls).unwrap();
    client.batch_execute("alter role encrypted password 'S3cret'").unwrap();
    refused("password authentication failed");
    own.run("echo '*:*:postgres:encrypted:S3cret' > passfile");
    database.session().unwrap();
    own.run("chmod 0644 passfile");
    refused("chmod 0600");
}

#[test]
fn a_server_that_hangs_behind_tls_is_noticed_and_one_that_merely_takes_long_is_waited_for() {
    let (server, own, _) = server_with_certificates("hangs", 22);
    server.reload(&[("ssl", "on")]);
    let proxy = Proxy::start(&server.address());
    let url = format!(
        "postgres://encrypted:password@localhost:{}/postgres?sslmode=verify-full&sslrootcert={}",
        proxy.port(),
        own.path("ca.crt")
    );
    let mut client = database(&url, &[]).unwrap().session().unwrap();
    // Longer than a silence is trusted; the role is let in by TLS only, and so is the probe.
    let connections = proxy.accepted();
    client.batch_execute("select pg_sleep(5)").unwrap();
    assert!(proxy.accepted() > connections, "the server was not probed");

    proxy.black_hole();
    let begun = Instant::now();
    let error = anyhow::Error::from(client.batch_execute("select 1").unwrap_err());
    assert!(format!("{error:#}").contains("has not answered for"), "{error:#}");
    let error = format!("{:#}", database(&url, &[]).unwrap().session().err().unwrap());
    assert!(error.contains("has not answered for 5 s"), "{error}");
    assert!(begun.elapsed() < NOTICED_WITHIN * 2, "{:?}", begun.elapsed());
}

#[test]
fn everything_is_replicated_through_tls() {
    let (server, own, other) = server_with_certificates("all_encrypted", 23);
    server.reload(&[("ssl", "on")]);
    let mut replication = Replication::prepare_from("all_encrypted", server.url(), &[]);
    let url = beside(server.url(), "all_encrypted_source").replace("127.0.0.1", "localhost");
    replication.publisher.set("DATABASE_URL", &url);
    replication.publisher.set("PGSSLMODE", "verify-full");
    replication.publisher.set("PGSSLROOTCERT", &own.path("ca.crt"));
    replication.start_services();
    let mut source = replication.source();
    source.execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    let sessions =
        "select count(*) filter (where ssl), count(*) from pg_stat_ssl join pg_stat_activity using (pid)
        where application_name = 'outbox-publisher'";
    let row = source.query_one(sessions, &[]).unwrap();
    let (encrypted, all): (i64, i64) = (row.get(0), row.get(1));
    assert!(encrypted == all && all > 0, "{encrypted} of {all} sessions are encrypted");
    // The scripts hand on what libpq reads.
    let ca = |mode: &str, file: &str| format!("{url}?sslmode={mode}&sslrootcert={file}");
    let (status, text) =
        compare_by_script_at(&ca("verify-full", &own.path("ca.crt")), &replication, "public.users");
    assert_eq!(status, Some(0), "{text}");
    let (status, text) =
        compare_by_script_at(&ca("verify-full", &other.path("ca.crt")), &replication, "public.users");
    assert!(status == Some(2) && text.contains("certificate verify failed"), "{status:?}: {text}");
}
