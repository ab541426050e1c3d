//! JetStream by its JSON API: creating the stream and consumers, pulling, purging, and reading
//! acknowledgements. By hand, because the crate's own calls lack fields, block without a deadline,
//! or report rejections as success.

mod api;
mod consumer;
mod stored;
mod stream;

pub use api::{is_gone, stored_sequence};
pub use consumer::{Consumer, sequence};
pub use stored::Stored;
pub use stream::{Nodes, Stream, released};

/// The payload that acknowledges a message, to be published to its reply subject.
pub const ACK: &[u8] = b"+ACK";
