//! A TCP proxy whose connections can be cut, and through which nothing passes for a while, or all but one
//! kind of answer.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;

/// Forwards a port of its own to one upstream server at a time.
pub(crate) struct Proxy {
    address: SocketAddr,
    link: Arc<Link>,
}

/// What all connections of a proxy share.
#[derive(Default)]
struct Link {
    /// Where new connections lead (`host:port`).
    upstream: Mutex<String>,
    holed: AtomicBool,
    /// The black hole holds up something that a client has sent.
    holds_up_client: AtomicBool,
    withheld: Mutex<Option<&'static str>>,
    ended: AtomicBool,
    /// Both sides of every connection.
    sockets: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens on a free port and forwards to `upstream` (`host:port`).
    pub(crate) fn start(upstream: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let link = Arc::new(Link { upstream: Mutex::new(upstream.to_owned()), ..Link::default() });
        let accepting = link.clone();
        start_thread(move || accepting.accept(&listener));
        Proxy { address, link }
    }

    /// The port to connect to, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Forwards new connections to another server; those that are open stay where they are.
    pub(crate) fn switch_to(&self, upstream: &str) {
        upstream.clone_into(&mut self.link.upstream.lock().unwrap());
    }

    /// Ends every connection. New ones are forwarded.
    pub(crate) fn cut(&self) {
        self.link.cut();
    }

    /// How many connections it has accepted since the last [cut](Proxy::cut).
    pub(crate) fn accepted(&self) -> usize {
        self.link.sockets.lock().unwrap().len()
    }

    /// From now on nothing passes, as if all packets were dropped: connections stay open, and new ones
    /// are accepted and get no answer.
    pub(crate) fn black_hole(&self) {
        self.link.holed.store(true, Ordering::Release);
    }

    /// Whether the black hole holds up something that a client has sent.
    pub(crate) fn holds_up_client(&self) -> bool {
        self.link.holds_up_client.load(Ordering::Acquire)
    }

    /// From now on no message of a NATS server passes that contains this.
    pub(crate) fn withhold(&self, content: &'static str) {
        *self.link.withheld.lock().unwrap() = Some(content);
    }

    /// Everything passes again, also what a black hole held up.
    pub(crate) fn heal(&self) {
        *self.link.withheld.lock().unwrap() = None;
        self.link.holds_up_client.store(false, Ordering::Release);
        self.link.holed.store(false, Ordering::Release);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.ended.store(true, Ordering::Release);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
        self.link.cut();
    }
}

impl Link {
    fn accept(self: &Arc<Link>, listener: &TcpListener) {
        for downstream in listener.incoming() {
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            let Ok(downstream) = downstream else { continue };
            self.remember(&downstream);
            let link = self.clone();
            start_thread(move || link.forward(downstream));
        }
    }

    fn forward(self: &Arc<Link>, downstream: TcpStream) {
        self.wait_until_open();
        let upstream = self.upstream.lock().unwrap().clone();
        let Ok(upstream) = TcpStream::connect(upstream) else {
            let _ = downstream.shutdown(Shutdown::Both);
            return;
        };
        self.remember(&upstream);
        let back = (upstream.try_clone().unwrap(), downstream.try_clone().unwrap());
        let link = self.clone();
        start_thread(move || link.pump(back.0, back.1, &AtomicBool::default()));
        self.pump(downstream, upstream, &self.holds_up_client);
    }

    /// Copies until either side ends; notes in `holds_up` whether something has to wait.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, holds_up: &AtomicBool) {
        let _ = to.set_nodelay(true);
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(read) = from.read(&mut bytes) {
            if self.is_closed() {
                holds_up.store(true, Ordering::Release);
            }
            self.wait_until_open();
            let mut passing = Cow::Borrowed(&bytes[..read]);
            let withheld = *self.withheld.lock().unwrap();
            while let Some(message) = withheld.and_then(|content| find_message(&passing, content)) {
                passing.to_mut().drain(message);
            }
            if read == 0 || to.write_all(&passing).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    fn wait_until_open(&self) {
        while self.is_closed() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_closed(&self) -> bool {
        self.holed.load(Ordering::Acquire) && !self.ended.load(Ordering::Acquire)
    }

    fn remember(&self, socket: &TcpStream) {
        self.sockets.lock().unwrap().push(socket.try_clone().unwrap());
    }

    fn cut(&self) {
        for socket in self.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Where a message is that has this in its frame or its content, with its frame: `MSG <subject> <sid> <bytes>\r\n…\r\n`, or
/// `HMSG <subject> <sid> <header bytes> <all bytes>\r\n…\r\n`.
fn find_message(bytes: &[u8], content: &str) -> Option<Range<usize>> {
    let content = bytes.windows(content.len()).position(|window| window == content.as_bytes())?;
    let mut start = bytes[..content].windows(4).rposition(|window| window == b"MSG ")?;
    if start > 0 && bytes[start - 1] == b'H' {
        start -= 1;
    }
    let line = start + bytes[start..].windows(2).position(|window| window == b"\r\n")?;
    let head = std::str::from_utf8(&bytes[start..line]).ok()?;
    let length: usize = head.split_whitespace().last()?.parse().ok()?;
    Some(start..(line + 2 + length + 2).min(bytes.len()))
}

fn start_thread(body: impl FnOnce() + Send + 'static) {
    Builder::new().name("proxy".to_owned()).spawn(body).unwrap();
}
