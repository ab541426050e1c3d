//! The page of both services on a real system, as a person reads it in a real browser.

use crate::browser::Browser;
use crate::harness::{Proxy, Replication, Service, add_user, wait_for, wait_until_blocked};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Instant;

/// A port on which nobody listens.
const NOBODY: &str = "127.0.0.1:1";

/// Gives both services an address of their own; returns those of their pages.
fn show_pages(replication: &mut Replication) -> [String; 2] {
    // Free until a moment ago, and not the same one.
    let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = free.map(|listener| listener.local_addr().unwrap().to_string());
    replication.publisher.set("HTTP_ADDRESS", &addresses[0]);
    replication.processor.set("HTTP_ADDRESS", &addresses[1]);
    addresses.map(|address| format!("http://{address}/"))
}

/// Both services with their pages, and a browser in which both say that B follows.
fn pages(name: &str, replication: &mut Replication) -> (Browser, Browser) {
    let [of_a, of_b] = show_pages(replication);
    replication.start_services();
    let open = |side: &str, url: &str| {
        let mut browser = Browser::start(&format!("{name}-{side}"), 1280, 900);
        browser.open(url);
        browser
    };
    let (mut of_a, mut of_b) = (open("a", &of_a), open("b", &of_b));
    of_a.wait_for_text("#sentence", "nothing was captured in A yet");
    of_b.wait_for_text("#sentence", "nothing was heard of A yet");
    add_user(&mut replication.source(), "first@x");
    for page in [&mut of_a, &mut of_b] {
        follow(page);
    }
    (of_a, of_b)
}

/// Waits until the page says that B follows, or that nothing changes in A.
fn follow(page: &mut Browser) {
    page.wait_for_text("#headline.good p", "B shows A as of ");
}

fn fetch(url: &str, path: &str) -> (String, Value) {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn both_pages_say_that_b_follows_and_know_the_other_side() {
    let mut replication = Replication::prepare("page_follows", &[]);
    let (mut of_a, mut of_b) = pages("follows", &mut replication);
    let mut source = replication.source();
    for number in 0..20 {
        add_user(&mut source, &format!("{number}@x"));
    }
    replication.wait_until_caught_up();
    for (page, service, name) in [
        (&mut of_a, &replication.publisher, "outbox-publisher"),
        (&mut of_b, &replication.processor, "inbox-processor"),
    ] {
        page.wait_for_text("#word", "FOLLOWING");
        assert!(page.title().starts_with("● "), "{}", page.title());
        for stage in [
            "PostgreSQL A\nanswers",
            "outbox\n0 wait",
            "outbox-publisher\nleader",
            "NATS A\nconnected",
            "NATS B\n3/3 nodes",
            "inbox\n0 wait",
            "inbox-processor\nleader",
            "PostgreSQL B\nanswers",
        ] {
            page.wait_for_text("#flow", stage);
        }
        page.wait_for_text("#needs", "Needs you (0)");
        page.keep_picture(&format!("real-{name}"));
        let url = format!("http://{}/", service.setting("HTTP_ADDRESS"));
        let (head, _) = fetch(&url, "/");
        for header in [
            "Content-Security-Policy: default-src 'none'; script-src 'sha256-",
            "X-Content-Type-Options: nosniff",
            "Referrer-Policy: no-referrer",
        ] {
            assert!(head.contains(header), "{header}: {head}");
        }
        assert!(!head.to_lowercase().contains("cookie"), "{head}");
        let status = wait_for("the document has both sides up to the last tick", || {
            let (_, status) = fetch(&url, "/status.json");
            let (a, b) = (&status["source"]["figures"], &status["target"]["figures"]);
            (a["captured_events"].as_u64() >= Some(21) && a["taken_tick"] == b["applied_tick"])
                .then_some(status)
        });
        assert_eq!(status["schema_version"], 1);
        assert_eq!(status["service"], name);
        assert!(status["source"]["figures"]["outbox_bytes"].as_u64() > Some(0), "{status}");
        assert!(!status["samples"]["behind_seconds"].as_array().unwrap().is_empty());
        assert_eq!(status["source"]["is_own"], name == "outbox-publisher");
    }
}

#[test]
fn what_is_held_and_what_is_paused_is_on_both_pages() {
    let mut replication = Replication::prepare("page_held", &[]);
    let (mut of_a, mut of_b) = pages("held", &mut replication);
    let (mut source, mut target) = (replication.source(), replication.target());
    source.batch_execute("alter table users add column nickname text").unwrap();
    source.execute("insert into users (name, email, nickname) values ('N', '1@x', 'n')", &[]).unwrap();
    wait_until_blocked(&mut target);
    for (page, side) in [(&mut of_a, "a"), (&mut of_b, "b")] {
        page.wait_for_text("#word", "HELD");
        assert_eq!(page.title(), "■ HELD");
        let needs = page.wait_for_text("#needs", "Needs you (1)");
        assert!(needs.contains("ADD COLUMN \"nickname\" text;") && needs.contains("Run in B:"), "{needs}");
        assert!(page.wait_for_text("#flow", "held").contains("inbox-processor\nheld"));
        page.keep_picture(&format!("real-held-{side}"));
    }
    let run = of_b.text("#needs code");
    target.batch_execute(&run).unwrap();
    for page in [&mut of_a, &mut of_b] {
        follow(page);
        page.wait_for_text("#needs", "Needs you (0)");
    }
    target.execute("select replication.pause('a backup')", &[]).unwrap();
    for page in [&mut of_a, &mut of_b] {
        page.wait_for_text("#sentence", "an operator has paused applying since ");
        assert!(page.text("#sentence").ends_with(": a backup"), "{}", page.text("#sentence"));
        assert_eq!(page.title(), "‖ PAUSED");
    }
    target.execute("select replication.resume()", &[]).unwrap();
    for page in [&mut of_a, &mut of_b] {
        follow(page);
    }
    // A row by itself: its table and key are named.
    target.batch_execute("alter table users add constraint no_bad check (name <> 'bad')").unwrap();
    add_user(&mut source, "good@x");
    let id: uuid::Uuid = source
        .query_one("insert into users (name, email) values ('bad', 'bad@x') returning id", &[])
        .unwrap()
        .get(0);
    for page in [&mut of_a, &mut of_b] {
        let needs = page.wait_for_text("#needs", "violates check constraint");
        assert!(needs.contains("public.users") && needs.contains(&id.to_string()), "{needs}");
        assert!(page.wait_for_text("#sentence", "B refuses the row").contains(&id.to_string()));
    }
}

/// What a service reaches by one setting: it can die, and come back.
struct Reached(Vec<(Proxy, String)>);

impl Reached {
    fn by(service: &mut Service, setting: &str) -> Reached {
        let urls = service.setting(setting).to_owned();
        let servers = urls.split(',').map(|url| {
            let server = url.split_once("://").unwrap().1.rsplit('@').next().unwrap();
            server.split('/').next().unwrap().to_owned()
        });
        Reached(service.proxy(setting).into_iter().zip(servers).collect())
    }

    fn die(&self) {
        for (proxy, _) in &self.0 {
            proxy.switch_to(NOBODY);
            proxy.cut();
        }
    }

    fn come_back(&self) {
        for (proxy, server) in &self.0 {
            proxy.switch_to(server);
        }
    }
}

/// Waits until the page says what is wrong, which began now. Prints how long that took: up to 3 s where the machine is
/// otherwise at rest, which is no claim on one that is not.
fn told(page: &mut Browser, what: &str, selector: &str, text: &str) {
    let begun = Instant::now();
    page.wait_for_text(selector, text);
    println!("{what}: told after {:.1} s: {}", begun.elapsed().as_secs_f64(), page.text("#sentence"));
    page.keep_picture(&format!("real-{what}"));
}

#[test]
fn the_page_says_within_seconds_which_service_died() {
    let mut replication = Replication::prepare("page_services", &[]);
    let (mut of_a, mut of_b) = pages("services", &mut replication);
    replication.processor.kill();
    told(&mut of_a, "processor-killed", "#sentence", "no word from B for ");
    assert!(of_a.text("#flow").contains("inbox-processor\nlast heard "), "{}", of_a.text("#flow"));
    told(&mut of_b, "processor-killed-its-own-page", "#banner", "inbox-processor does not answer");
    replication.processor.start();
    follow(&mut of_a);
    follow(&mut of_b);
    of_a.wait_for_text("#lately", "UNKNOWN: no word from B");
    replication.publisher.kill();
    told(&mut of_b, "publisher-killed", "#sentence", "no word from A for ");
    assert!(of_b.text("#flow").contains("outbox-publisher\nlast heard "), "{}", of_b.text("#flow"));
    told(&mut of_a, "publisher-killed-its-own-page", "#banner", "outbox-publisher does not answer");
    replication.publisher.start();
    follow(&mut of_a);
    follow(&mut of_b);
    // It lives, and says nothing.
    replication.publisher.freeze();
    told(&mut of_b, "publisher-frozen", "#sentence", "no word from A for ");
    told(&mut of_a, "publisher-frozen-its-own-page", "#banner", "outbox-publisher does not answer");
    replication.publisher.thaw();
    follow(&mut of_a);
    follow(&mut of_b);
    of_b.wait_for_text("#lately", "UNKNOWN: no word from A");
}

#[test]
fn the_page_says_within_seconds_which_server_died() {
    let mut replication = Replication::prepare("page_servers", &[]);
    let publishers =
        ["DATABASE_URL", "NATS_URL"].map(|setting| Reached::by(&mut replication.publisher, setting));
    let processors =
        ["DATABASE_URL", "NATS_URL"].map(|setting| Reached::by(&mut replication.processor, setting));
    let (mut of_a, mut of_b) = pages("servers", &mut replication);
    for (server, stage, what) in
        [(&publishers[0], "PostgreSQL A", "postgres-a-killed"), (&publishers[1], "NATS A", "nats-a-killed")]
    {
        server.die();
        told(&mut of_a, what, "#sentence", &format!("outbox-publisher cannot reach {stage}"));
        assert!(
            of_a.text("#flow").contains(&format!("{stage}\ncannot be reached")),
            "{}",
            of_a.text("#flow")
        );
        assert_eq!(of_a.title(), "■ STALLED");
        of_b.wait_for_text("#sentence", "no word from A for ");
        server.come_back();
        follow(&mut of_a);
        follow(&mut of_b);
    }
    for (server, stage, what) in
        [(&processors[0], "PostgreSQL B", "postgres-b-killed"), (&processors[1], "NATS B", "nats-b-killed")]
    {
        server.die();
        told(&mut of_b, what, "#sentence", &format!("inbox-processor cannot reach {stage}"));
        assert!(
            of_b.text("#flow").contains(&format!("{stage}\ncannot be reached")),
            "{}",
            of_b.text("#flow")
        );
        of_a.wait_for_text("#sentence", "no word from B for ");
        server.come_back();
        follow(&mut of_b);
        follow(&mut of_a);
    }
}
