//! Messages as bytes on the wire of NATS, whatever a client library would make of them.

use super::Replication;
use super::stream::OPERATOR;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

impl Replication {
    /// Publishes messages in cluster B: the bytes of their headers, and their payloads.
    pub(crate) fn publish_with_headers(&self, subject: &str, messages: &[(&[u8], &[u8])]) {
        let servers = &self.servers;
        let address = servers.nats_b.split(',').next().unwrap().trim_start_matches("nats://");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let options =
            json!({"user": OPERATOR, "pass": servers.operator_password, "headers": true, "verbose": false});
        write!(stream, "CONNECT {options}\r\n").unwrap();
        for (headers, payload) in messages {
            write!(stream, "HPUB {subject} {} {}\r\n", headers.len(), headers.len() + payload.len()).unwrap();
            stream.write_all(headers).unwrap();
            stream.write_all(payload).unwrap();
            stream.write_all(b"\r\n").unwrap();
        }
        write!(stream, "PING\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        let answer = lines.find(|line| !line.starts_with("INFO ")).unwrap();
        assert_eq!(answer, "PONG");
    }
}
