//! Signed messages: who may publish on our subjects, and has no key, is not believed.
//!
//! A signature covers the subject and the payload (HMAC-SHA256 over the subject, a zero byte and the payload's SHA-256), so
//! that a message cannot be moved to another subject. A message that is sent again later is as good as before: positions
//! make that harmless.

use super::message::Incoming;
use crate::config::{Environment, Given};
use crate::pem::cannot_be_used;
use crate::retry::Complaint;
use anyhow::{Context, Result, ensure};
use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use ring::{digest, hmac};
use std::fmt;
use std::fs::read_to_string;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The header with the signature, in hexadecimal digits.
const HEADER: &str = "Replication-Signature";
/// Bytes of a signed message that are no payload, rounded up.
const ENVELOPE_BYTES: usize = 128;
/// The file is read again so often: keys are changed while the services run.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// Characters of a key; 32 of a random text in hexadecimal digits are 128 bits.
const KEY_MIN: usize = 32;
const KEY_MAX: usize = 1024;
const KEYS_MAX: usize = 16;

/// Signs messages and checks those that come, with the keys of `NATS_SIGNING_KEY_FILE`. Where that is not set, no message
/// is signed, and every one is believed.
#[derive(Clone, Debug, Default)]
pub struct Signing(Option<Arc<KeyFile>>);

struct KeyFile {
    file: Given,
    keys: Mutex<Keys>,
}

/// As they were read last.
struct Keys {
    text: String,
    parsed: Arc<[hmac::Key]>,
    read_at: Instant,
    complaint: Complaint,
}

impl Signing {
    /// Reads the keys once.
    pub(super) fn from_env(environment: &Environment) -> Result<Signing> {
        let Some(file) = environment.given("NATS_SIGNING_KEY_FILE")? else {
            log::info!(
                "messages are not signed: whoever may publish on the subjects is believed (docs/security.md)"
            );
            return Ok(Signing(None));
        };
        let (text, keys) = read(&file)?;
        log::info!("messages are signed, and believed with a key of {file} only; keys: {}", keys.len());
        let keys = Keys { text, parsed: keys, read_at: Instant::now(), complaint: Complaint::default() };
        Ok(Signing(Some(Arc::new(KeyFile { file, keys: Mutex::new(keys) }))))
    }

    /// The header of a message, made with the first key.
    pub(super) fn header(&self, subject: &str, payload: &[u8]) -> Option<(&'static str, String)> {
        let keys = self.0.as_ref()?.keys();
        let signature = hmac::sign(keys.first()?, &what_is_signed(subject, payload));
        Some((HEADER, HEXLOWER.encode(signature.as_ref())))
    }

    /// The bytes that a signature takes from what a message may have.
    pub(super) fn envelope_bytes(&self) -> usize {
        if self.0.is_some() { ENVELOPE_BYTES } else { 0 }
    }

    /// The payload of a message of ours; fails where it is not signed with one of the keys.
    pub fn payload<'a>(&self, message: &'a Incoming) -> Result<&'a [u8]> {
        let Some(file) = &self.0 else { return Ok(&message.data) };
        let signatures = message.headers.as_ref().and_then(|headers| headers.get(HEADER));
        let signature = signatures.ok_or(Unsigned("it is not signed, as NATS_SIGNING_KEY_FILE demands"))?;
        let signature = HEXLOWER.decode(signature.as_bytes()).unwrap_or_default();
        let signed = what_is_signed(&message.subject, &message.data);
        let is_ours = file.keys().iter().any(|key| hmac::verify(key, &signed, &signature).is_ok());
        ensure!(is_ours, Unsigned("it is signed with none of the keys of NATS_SIGNING_KEY_FILE"));
        Ok(&message.data)
    }
}

/// A message is not signed as the keys demand.
#[derive(Debug)]
pub struct Unsigned(&'static str);

impl fmt::Display for Unsigned {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

impl std::error::Error for Unsigned {}

impl KeyFile {
    fn keys(&self) -> Arc<[hmac::Key]> {
        let mut known = self.keys.lock();
        if known.read_at.elapsed() >= READ_AGAIN {
            known.read_at = Instant::now();
            match read(&self.file) {
                Ok((text, keys)) if text != known.text => {
                    log::info!("{} has other keys now: {}", self.file, keys.len());
                    (known.text, known.parsed) = (text, keys);
                }
                Ok(_) => {}
                Err(error) => {
                    if let Some(line) =
                        known.complaint.due(&format!("going on with the keys that are known: {error:#}"))
                    {
                        log::warn!("{line}");
                    }
                }
            }
        }
        known.parsed.clone()
    }
}

/// Shows no key.
impl fmt::Debug for KeyFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.file)
    }
}

fn what_is_signed(subject: &str, payload: &[u8]) -> Vec<u8> {
    [subject.as_bytes(), &[0], digest::digest(&digest::SHA256, payload).as_ref()].concat()
}

/// The text of the file and its keys: one a line; what follows a # is none.
fn read(file: &Given) -> Result<(String, Arc<[hmac::Key]>)> {
    let text = read_to_string(&file.value).with_context(|| cannot_be_used(file))?;
    let keys = keys_in(&text).with_context(|| cannot_be_used(file))?;
    Ok((text, keys))
}

fn keys_in(text: &str) -> Result<Arc<[hmac::Key]>> {
    let mut keys = Vec::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        ensure!(
            (KEY_MIN..=KEY_MAX).contains(&line.len()),
            "line {number} has {} characters, and a key {KEY_MIN} to {KEY_MAX}: openssl rand -hex 32 makes one",
            line.len()
        );
        keys.push(hmac::Key::new(hmac::HMAC_SHA256, line.as_bytes()));
    }
    ensure!(!keys.is_empty(), "it has no key: openssl rand -hex 32 makes one");
    ensure!(keys.len() <= KEYS_MAX, "it has {} keys, and may have {KEYS_MAX}", keys.len());
    Ok(keys.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "0123456789abcdef0123456789abcdef";
    const SECOND: &str = "fedcba9876543210fedcba9876543210";

    fn signing(keys: &str) -> Signing {
        let file = Given::new("NATS_SIGNING_KEY_FILE", "/nowhere");
        let keys = Keys {
            text: keys.to_owned(),
            parsed: keys_in(keys).unwrap(),
            read_at: Instant::now() + Duration::from_secs(3600),
            complaint: Complaint::default(),
        };
        Signing(Some(Arc::new(KeyFile { file, keys: Mutex::new(keys) })))
    }

    fn message(subject: &str, payload: &str, signature: Option<String>) -> Incoming {
        let headers = signature.map(|signature| nats::HeaderMap::from_iter([(HEADER, signature.as_str())]));
        Incoming::new(subject, None, payload, headers)
    }

    #[test]
    fn a_message_is_believed_with_a_key_and_as_it_was_signed() {
        let both = signing(&format!("# new\n{FIRST}\n\n  {SECOND}\n"));
        let (name, signature) = both.header("r.events", b"{}").unwrap();
        let is_believed = |signing: &Signing, subject, payload, signature: &str| {
            signing.payload(&message(subject, payload, Some(signature.to_owned()))).is_ok()
        };
        assert_eq!((name, signature.len()), (HEADER, 64));
        assert!(is_believed(&both, "r.events", "{}", &signature));
        assert!(is_believed(&signing(FIRST), "r.events", "{}", &signature), "the first key signs");
        assert!(!is_believed(&signing(SECOND), "r.events", "{}", &signature));
        let (_, of_the_second) = signing(SECOND).header("r.events", b"{}").unwrap();
        assert!(is_believed(&both, "r.events", "{}", &of_the_second), "each key is believed");
        for (subject, payload) in [("r.confirm", "{}"), ("r.events", "{ }"), ("r.events", "")] {
            assert!(!is_believed(&both, subject, payload, &signature));
        }
        for wrong in ["", "00", &signature.to_uppercase(), &signature[..62], &format!("{signature}00")] {
            assert!(!is_believed(&both, "r.events", "{}", wrong), "{wrong}");
        }
    }

    #[test]
    fn without_keys_every_message_is_believed_and_with_keys_none_that_is_not_signed() {
        let none = Signing::default();
        assert!(none.header("r.events", b"{}").is_none() && none.envelope_bytes() == 0);
        assert_eq!(none.payload(&message("r.events", "{}", None)).unwrap(), b"{}");
        let error = signing(FIRST).payload(&message("r.events", "{}", None)).unwrap_err();
        assert!(error.to_string().contains("not signed"), "{error}");
        let line = format!("NATS/1.0\r\n{HEADER}: {}\r\n\r\n", "0".repeat(64));
        assert!(line.len() <= signing(FIRST).envelope_bytes());
    }

    #[test]
    fn what_is_no_file_of_keys_is_refused_without_showing_it() {
        let many = vec![FIRST; KEYS_MAX + 1].join("\n");
        let long = "k".repeat(KEY_MAX + 1);
        for (text, reason) in [
            ("", "it has no key"),
            ("# a comment\n\n", "it has no key"),
            (&format!("{FIRST}\nS3cret\n"), "line 2 has 6 characters"),
            (&long, "line 1 has 1025 characters"),
            (&many, "it has 17 keys"),
        ] {
            let error = format!("{:#}", keys_in(text).unwrap_err());
            assert!(error.contains(reason) && !error.contains("S3cret") && !error.contains(FIRST), "{error}");
        }
        let file = Given::new("NATS_SIGNING_KEY_FILE", "/nowhere");
        let error = format!("{:#}", read(&file).unwrap_err());
        assert!(error.contains("NATS_SIGNING_KEY_FILE=/nowhere cannot be used: No such file"), "{error}");
    }
}
