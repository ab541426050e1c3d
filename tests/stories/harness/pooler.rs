//! A connection pooler in transaction mode, as its clients see it: any server process runs any client's
//! query. (The real `PgBouncer` takes the one that was freed last, or each in turn, depending on
//! `server_round_robin`.)

use std::io::{Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::Builder;

/// Listens on a free port, which it returns, and answers every query with the number of the process
/// that carries it out: always the same one, or each in turn.
pub(crate) fn start_pooler(round_robin: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let process = Arc::new(AtomicU32::new(4711));
    start_thread(move || {
        for client in listener.incoming() {
            let process = process.clone();
            start_thread(move || {
                // Ends with the client.
                let _ = serve(client.unwrap(), &process, u32::from(round_robin));
            });
        }
    });
    port
}

fn serve(mut client: TcpStream, process: &AtomicU32, step: u32) -> Result<()> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    read_content(&mut client, length)?;
    // It offers no TLS; the startup is next.
    client.write_all(b"N")?;
    client.read_exact(&mut length)?;
    read_content(&mut client, length)?;
    // Authenticated, without a password; ready for a query.
    client.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")?;
    loop {
        let mut header = [0; 5];
        client.read_exact(&mut header)?;
        let [kind, length @ ..] = header;
        read_content(&mut client, length)?;
        if kind == b'Q' {
            let process = process.fetch_add(step, Ordering::Relaxed).to_string();
            client.write_all(&one_row(&process))?;
        }
    }
}

fn read_content(client: &mut TcpStream, length: [u8; 4]) -> Result<()> {
    let mut content = vec![0; u32::from_be_bytes(length) as usize - length.len()];
    client.read_exact(&mut content)
}

/// A result with one column and one row.
fn one_row(value: &str) -> Vec<u8> {
    let value_length = u32::try_from(value.len()).unwrap().to_be_bytes();
    let column = [&b"\0\x01pid\0"[..], &[0; 18]].concat();
    let row = [&b"\0\x01"[..], &value_length, value.as_bytes()].concat();
    [(b'T', &column[..]), (b'D', &row), (b'C', b"SELECT 1\0"), (b'Z', b"I")]
        .into_iter()
        .flat_map(|(kind, content)| {
            let length = u32::try_from(content.len() + 4).unwrap().to_be_bytes();
            [&[kind][..], &length, content].concat()
        })
        .collect()
}

fn start_thread(body: impl FnOnce() + Send + 'static) {
    Builder::new().name("pooler".to_owned()).spawn(body).unwrap();
}
