//! The head of a request, within bounds of size and time.

use anyhow::{Context, Result, bail, ensure};
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, TcpStream};
use std::time::{Duration, Instant};

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The head must be here within this time.
const HEAD_DEADLINE: Duration = Duration::from_secs(2);
const HEADERS_MAX: usize = 64;

/// What of a request counts here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    /// The name or address that the client dialled, without its port.
    pub(super) host: String,
}

/// Reads until the head has ended. A body is not read: nothing here takes one.
pub(super) fn read_head(stream: &mut TcpStream) -> Result<Request> {
    let deadline = Instant::now() + HEAD_DEADLINE;
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "the request did not arrive within {} s", HEAD_DEADLINE.as_secs());
        stream.set_read_timeout(Some(left)).context("set a deadline")?;
        let read = stream.read(&mut chunk).context("read a request")?;
        ensure!(read > 0, "the client has closed the connection");
        bytes.extend_from_slice(&chunk[..read]);
        if let Some(request) = parse(&bytes)? {
            return Ok(request);
        }
        ensure!(bytes.len() < HEAD_BYTES_MAX, "the request's head has more than {HEAD_BYTES_MAX} bytes");
    }
}

/// None while the head has not ended.
fn parse(bytes: &[u8]) -> Result<Option<Request>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    if head.parse(bytes).context("read a request's head")?.is_partial() {
        return Ok(None);
    }
    let (Some(method), Some(target)) = (head.method, head.path) else { bail!("the request has no target") };
    let mut hosts = head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    let (Some(host), None) = (hosts.next(), hosts.next()) else { bail!("the request must name one Host") };
    let host = std::str::from_utf8(host.value).context("read the Host of a request")?;
    Ok(Some(Request {
        method: method.to_owned(),
        path: target.split('?').next().unwrap_or(target).to_owned(),
        host: without_port(host).to_ascii_lowercase(),
    }))
}

/// The name or address in a `host:port`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.contains(':') => name,
        Some((name, _)) if name.ends_with(']') => name,
        _ => host,
    }
}

/// Whether the browser of a person who visits another site could not have sent this: what a name leads to is decided by
/// whoever owns the name (DNS rebinding), what an address leads to is not.
pub(super) fn is_expected(host: &str, names: &[String]) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.parse::<IpAddr>().is_ok()
        || address.parse::<Ipv6Addr>().is_ok()
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_has_ended() {
        let text = b"GET /metrics?x=1 HTTP/1.1\r\nHost: LocalHost:9101\r\nAccept: */*\r\n\r\n";
        assert_eq!(parse(&text[..text.len() - 2]).unwrap(), None);
        let request = parse(text).unwrap().unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str(), request.host.as_str()),
            ("GET", "/metrics", "localhost")
        );
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in [
            "\u{16}\u{3}\u{1}hello\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET /\r\n\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn only_addresses_and_names_that_were_set_are_expected() {
        let names = ["outbox-publisher".to_owned()];
        for host in ["localhost", "127.0.0.1", "10.1.2.3", "[::1]", "outbox-publisher"] {
            assert!(is_expected(host, &names), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", ""] {
            assert!(!is_expected(host, &names), "{host}");
        }
        for (host, name) in
            [("a:1", "a"), ("a", "a"), ("[::1]:9101", "[::1]"), ("[::1]", "[::1]"), ("1.2.3.4:5", "1.2.3.4")]
        {
            assert_eq!(without_port(host), name);
        }
    }
}
