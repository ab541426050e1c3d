//! As much of a PostgreSQL server as the tests of connections need: it lets everybody in and answers every
//! query, until it is told to refuse or to fall silent.

use super::Database;
use crate::config::Environment;
use parking_lot::Mutex;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

/// The statement timeout of [`database`].
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

const LET_IN: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
const REFUSED: &[u8] = b"E\0\0\0\x17SFATAL\0C57P03\0Mno\0\0";
/// One row without columns.
const ANSWER: &[u8] = b"T\0\0\0\x06\0\0D\0\0\0\x06\0\0C\0\0\0\x0bSELECT\0Z\0\0\0\x05I";

pub(super) struct FakeServer {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    refusing: AtomicBool,
    silent: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

/// A database on these ports of this machine.
pub(super) fn database(ports: &[u16], connections: u32) -> Database {
    let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let url = format!("postgres://somebody@{}/some", hosts.join(","));
    let environment = Environment::from_pairs([("DATABASE_URL".to_owned(), url)]);
    Database::from_env(&environment, "test", STATEMENT_TIMEOUT, connections).unwrap()
}

/// A port on which connections are refused.
pub(super) fn nobody_listens() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl FakeServer {
    pub(super) fn start() -> FakeServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = FakeServer { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = server.state.clone();
        start_thread(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                state.sockets.lock().push(socket.try_clone().unwrap());
                let state = state.clone();
                // The client's end, or that of the test, ends it.
                start_thread(move || drop(state.serve(socket)));
            }
        });
        server
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// How many connections were accepted so far.
    pub(super) fn accepted(&self) -> usize {
        self.state.sockets.lock().len()
    }

    /// Ends the connection that was accepted as the one of this number, counted from 0.
    pub(super) fn close(&self, number: usize) {
        self.state.sockets.lock()[number].shutdown(Shutdown::Both).unwrap();
    }

    /// Whether those who connect are told that it is starting up.
    pub(super) fn refuse(&self, refusing: bool) {
        self.state.refusing.store(refusing, Ordering::Release);
    }

    /// From now on it answers nothing.
    pub(super) fn fall_silent(&self) {
        self.state.silent.store(true, Ordering::Release);
    }
}

impl State {
    fn serve(&self, mut socket: TcpStream) -> std::io::Result<()> {
        // The first messages have no type: a request for TLS, which it does not offer, and the startup.
        let mut length = [0; 4];
        socket.read_exact(&mut length)?;
        skip(&mut socket, length)?;
        self.answer(&mut socket, b"N")?;
        socket.read_exact(&mut length)?;
        skip(&mut socket, length)?;
        if self.refusing.load(Ordering::Acquire) {
            return socket.write_all(REFUSED);
        }
        self.answer(&mut socket, LET_IN)?;
        loop {
            let mut kind = [0];
            socket.read_exact(&mut kind)?;
            socket.read_exact(&mut length)?;
            skip(&mut socket, length)?;
            if kind == *b"Q" {
                self.answer(&mut socket, ANSWER)?;
            }
        }
    }

    fn answer(&self, socket: &mut TcpStream, answer: &[u8]) -> std::io::Result<()> {
        if self.silent.load(Ordering::Acquire) { Ok(()) } else { socket.write_all(answer) }
    }
}

/// Reads the rest of a message; its length counts its own four bytes.
fn skip(socket: &mut TcpStream, length: [u8; 4]) -> std::io::Result<()> {
    let left = u64::from(u32::from_be_bytes(length)).saturating_sub(4);
    std::io::copy(&mut socket.take(left), &mut std::io::sink()).map(drop)
}

fn start_thread(body: impl FnOnce() + Send + 'static) {
    Builder::new().spawn(body).unwrap();
}
