//! Messages as they arrive.

/// A message as it arrives.
pub type Incoming = nats::Message;

/// The status that a server puts into a message of its own (404 no messages, 408 expired, 409, 503
/// no responders). Ask only of an answer to a request of ours: whoever publishes can set the same header.
pub fn status(message: &Incoming) -> Option<u16> {
    let status = message.headers.as_ref()?.get("Status")?;
    status.split_whitespace().next()?.parse().ok()
}

/// The [`status`] with the server's description.
pub fn status_reason(message: &Incoming) -> String {
    let headers = message.headers.as_ref();
    let word = |name| headers.and_then(|headers| headers.get(name)).map(String::as_str).unwrap_or_default();
    format!("{} {}", word("Status"), word("Description")).trim_end().to_owned()
}
