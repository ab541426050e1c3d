//! A stored message, asked for by itself.

use super::api::{api, is_without_message};
use super::stream::Stream;
use crate::broker::{Connection, Incoming};
use anyhow::{Context, Result};
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

/// A message as the stream keeps it.
#[derive(Debug)]
pub struct Stored {
    /// Its place in the stream.
    pub sequence: u64,
    /// Without headers where these cannot be read.
    pub message: Incoming,
    /// Its headers cannot be read: the `nats` crate fails on them, and with it the connection over which the message
    /// comes.
    pub malformed: bool,
}

impl Stream {
    /// The first message that the stream keeps at `sequence` or behind it; none where there is none. Waits like every
    /// call of the API.
    pub fn stored_from(&self, connection: &Connection, sequence: u64) -> Result<Option<Stored>> {
        let request = json!({ "seq": sequence, "next_by_subj": self.subject });
        match api(connection, &format!("STREAM.MSG.GET.{}", self.name), &request) {
            Ok(mut answer) => stored(answer["message"].take()).map(Some),
            Err(error) if is_without_message(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn stored(json: Value) -> Result<Stored> {
    #[derive(Deserialize)]
    struct Kept {
        subject: String,
        seq: u64,
        #[serde(default)]
        hdrs: String,
        #[serde(default)]
        data: String,
    }
    let kept: Kept = serde_json::from_value(json).context("read a stored message")?;
    let bytes = |text: &str| BASE64.decode(text.as_bytes()).context("decode a stored message");
    let (headers, malformed) = match bytes(&kept.hdrs)?.as_slice() {
        [] => (None, false),
        headers => {
            let headers = nats::HeaderMap::try_from(headers).ok();
            let malformed = headers.is_none();
            (headers, malformed)
        }
    };
    let message = Incoming::new(&kept.subject, None, bytes(&kept.data)?, headers);
    Ok(Stored { sequence: kept.seq, message, malformed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_headers(headers: &[u8]) -> Stored {
        let (headers, data) = (BASE64.encode(headers), BASE64.encode(b"{}"));
        let json = json!({"subject": "events", "seq": 7, "hdrs": headers, "data": data, "time": "2026-01-01T00:00:00Z"});
        stored(json).unwrap()
    }

    #[test]
    fn a_message_is_read_whatever_its_headers_are() {
        let whole = with_headers(b"NATS/1.0\r\nA: b\r\n\r\n");
        assert_eq!(
            (whole.sequence, whole.message.data.as_slice(), whole.malformed),
            (7, b"{}".as_slice(), false)
        );
        assert!(whole.message.headers.unwrap().contains_key("A"));
        assert!(with_headers(b"").message.headers.is_none());
        for headers in
            [b"NATS/1.0\r\nno colon\r\n\r\n".as_slice(), b"HTTP/1.1\r\n\r\n", b"\xff\xfe\r\n\r\n", b"\r\n"]
        {
            let broken = with_headers(headers);
            assert!(broken.malformed && broken.message.headers.is_none(), "{headers:?}");
            assert_eq!(broken.message.data, b"{}");
        }
    }

    #[test]
    fn what_is_no_stored_message_is_an_error() {
        for json in ["null", "{}", r#"{"subject":"events","seq":7,"data":"no base64"}"#] {
            assert!(stored(serde_json::from_str(json).unwrap()).is_err(), "{json}");
        }
    }
}
