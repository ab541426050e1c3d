//! Serves the page, and the document that a test gives it.

use parking_lot::Mutex;
use shared::status::{Document, PAGE, page_headers};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

/// What is answered to the page.
#[derive(Clone)]
pub(crate) enum Answer {
    Status(Box<Document>),
    /// The connection stays open, and nothing comes.
    Silence,
    /// An error.
    Refusal,
}

pub(crate) struct Server {
    pub(crate) url: String,
    answer: Arc<Mutex<Answer>>,
}

impl Server {
    pub(crate) fn start(document: Document) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(Answer::Status(Box::new(document))));
        let served = answer.clone();
        // It lives as long as the test's process.
        Builder::new()
            .spawn(move || {
                for stream in listener.incoming() {
                    let (stream, served) = (stream.unwrap(), served.clone());
                    Builder::new().spawn(move || serve(stream, &served)).unwrap();
                }
            })
            .unwrap();
        Server { url, answer }
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock() = answer;
    }

    pub(crate) fn show(&self, document: Document) {
        self.answer(Answer::Status(Box::new(document)));
    }
}

/// The browser may have gone away meanwhile.
fn serve(mut stream: TcpStream, served: &Mutex<Answer>) {
    let mut head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(request) = head.next() else { return };
    while head.next().is_some_and(|line| !line.is_empty()) {}
    let (status, kind, body) = if request.starts_with("GET / ") {
        ("200 OK", "text/html; charset=utf-8", PAGE.to_owned())
    } else {
        let answer = served.lock().clone();
        match answer {
            Answer::Status(document) => {
                ("200 OK", "application/json", serde_json::to_string(&document).unwrap())
            }
            Answer::Refusal => ("503 Service Unavailable", "text/plain", "no".to_owned()),
            Answer::Silence => {
                std::thread::sleep(Duration::from_secs(5));
                return;
            }
        }
    };
    let headers: Vec<String> =
        page_headers().iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let headers = headers.join("\r\n");
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{headers}\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}
