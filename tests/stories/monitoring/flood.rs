//! Clients that send nothing, or half of something, or too much, or under another name.

use crate::harness::{Demo, Replication, Service, Shown, answer_of, assert_equal, meanwhile, wait_for};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Connections that a service keeps; those beyond are refused.
const KEPT: usize = 8;
/// So many more come.
const BEYOND: usize = 4;
/// Twice the time that a head may take: those that are read first, and those that wait for them.
const SERVED_WITHIN: Duration = Duration::from_secs(10);
const TOO_MANY: &str = "Too many connections at once.\n";

/// A connection that sends this and no more.
fn slow_client(shown: Shown, part: &str) -> TcpStream {
    let mut stream = shown.connect().unwrap();
    stream.write_all(part.as_bytes()).unwrap();
    stream
}

/// Asks until it is served; how long that took, and how often it was refused.
fn served(shown: Shown) -> (Duration, usize) {
    let (begun, mut refused) = (Instant::now(), 0);
    let request = shown.request("/livez");
    wait_for("a well-behaved client is served", || match shown.ask(&request) {
        Ok((200, _)) => Some(()),
        Ok((status, text)) => {
            assert_eq!((status, text.as_str()), (503, TOO_MANY));
            refused += 1;
            None
        }
        Err(error) => panic!("neither served nor refused: {error}"),
    });
    (begun.elapsed(), refused)
}

#[test]
fn slow_clients_are_put_off_and_others_are_served_within_a_bounded_time() {
    let mut replication = Replication::prepare("slow_clients", &[]);
    let shown = replication.publisher.show();
    replication.start_services();
    for part in ["", "G", "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "] {
        let slow: Vec<_> = (0..KEPT + BEYOND).map(|_| slow_client(shown, part)).collect();
        let (took, times) = served(shown);
        println!(
            "beside slow clients that sent {part:?}, another one was served after {took:?} and {times} refusals"
        );
        assert!(took < SERVED_WITHIN, "it was served after {took:?}");
        let answers: Vec<_> = slow.into_iter().map(|mut stream| answer_of(&mut stream).unwrap()).collect();
        let refused = answers.iter().filter(|answer| **answer == (503, TOO_MANY.to_owned())).count();
        assert!((BEYOND..KEPT + BEYOND).contains(&refused), "{answers:?}");
        assert!(answers.iter().all(|(status, _)| matches!(status, 400 | 503)), "{answers:?}");
    }
}

#[test]
fn a_flood_of_connections_takes_neither_threads_nor_files_nor_replication() {
    const FLOODING: Duration = Duration::from_secs(5);
    let mut replication = Replication::prepare("http_flood", &[]);
    let shown = [replication.publisher.show(), replication.processor.show()];
    replication.start_services();
    let mut source = replication.source();
    let demo = Demo::add_users(&mut source, 5);
    replication.wait_until_caught_up();
    let threads = [&replication.publisher, &replication.processor].map(Service::threads);
    let until = Instant::now() + FLOODING;
    let floods =
        ["", "GET /metrics HTTP/1.1\r\n", "GET /met", "\u{16}\u{3}\u{1}\u{0}", "POST / HTTP/1.1\r\n\r\n"]
            .map(|part| {
                move || {
                    for shown in shown {
                        // A service may have closed it before all was sent.
                        let _ = shown.connect().map(|mut stream| stream.write_all(part.as_bytes()));
                    }
                    // Other stories need ports, too.
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
    meanwhile(floods, || {
        while Instant::now() < until {
            demo.move_money(&mut source);
            replication.wait_until_caught_up();
        }
    });
    for (shown, (service, before)) in
        shown.into_iter().zip([&replication.publisher, &replication.processor].into_iter().zip(threads))
    {
        let (took, _) = served(shown);
        assert!(took < SERVED_WITHIN, "it was served after {took:?}");
        assert_eq!(service.threads(), before, "threads");
        assert!(service.health().starts_with("ok"), "{}", service.health());
        assert!(!service.log().contains(" ERROR "), "{}", service.log());
        wait_for("the files of its connections are closed", || {
            let (_, text) = shown.get("/metrics");
            let files = text.lines().find_map(|line| line.strip_prefix("process_open_fds ")).unwrap();
            (files.parse::<f64>().unwrap() < 100.0).then_some(())
        });
    }
    assert_equal(&replication);
}

#[test]
fn a_page_of_another_name_reads_nothing_through_a_visitors_browser() {
    let mut replication =
        Replication::prepare("http_names", &[("HTTP_HOSTS", "publisher.internal, processor.internal")]);
    let shown = replication.publisher.show();
    replication.start_services();
    for (host, path, expected) in [
        ("127.0.0.1", "/metrics", 200),
        ("localhost:9101", "/livez", 200),
        ("Publisher.Internal:80", "/readyz", 200),
        ("evil.example", "/metrics", 421),
        ("127.0.0.1.evil.example", "/metrics", 421),
        ("evil.example:9101", "/livez", 421),
        ("127.0.0.1", "/metrics/", 404),
        ("127.0.0.1", "/../etc/passwd", 404),
        ("127.0.0.1", "/metrics?from=anywhere", 200),
    ] {
        let (status, text) = shown.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).unwrap();
        assert_eq!(status, expected, "{host}{path}: {text}");
        assert!(!text.contains("evil") && !text.contains("passwd"), "{text}");
        assert_eq!(
            status == 200 && path.starts_with("/metrics"),
            text.contains("replication_"),
            "{host}{path}"
        );
    }
}
