//! The message boundaries of PostgreSQL's protocol, as much of it as is needed to know whether an
//! answer is awaited.

/// Follows one direction of a connection. Every message is a type (one byte, which only the client's
/// first message lacks), a length (four bytes, itself included) and its content.
pub(super) struct Frames {
    header: [u8; 5],
    /// Bytes of the header that are there.
    filled: usize,
    /// Bytes of the content that are still to come.
    left: usize,
}

impl Frames {
    /// What the client sends, from its first message on, which is counted as of type 0.
    pub(super) fn of_client() -> Frames {
        Frames { header: [0; 5], filled: 1, left: 0 }
    }

    /// What the server sends.
    pub(super) fn of_server() -> Frames {
        Frames { header: [0; 5], filled: 0, left: 0 }
    }

    /// Takes the next bytes of the direction; tells `ended` the type of each message that is complete
    /// with them.
    pub(super) fn pass(&mut self, mut bytes: &[u8], mut ended: impl FnMut(u8)) {
        while !bytes.is_empty() {
            if self.filled < self.header.len() {
                let taken = bytes.len().min(self.header.len() - self.filled);
                self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
                self.filled += taken;
                bytes = &bytes[taken..];
                if self.filled < self.header.len() {
                    return;
                }
                let [_, length @ ..] = self.header;
                // A length counts its own four bytes.
                self.left = (u32::from_be_bytes(length) as usize).saturating_sub(length.len());
            }
            let taken = bytes.len().min(self.left);
            self.left -= taken;
            bytes = &bytes[taken..];
            if self.left == 0 {
                self.filled = 0;
                ended(self.header[0]);
            }
        }
    }

    /// Whether a message has begun and is not complete.
    pub(super) fn is_inside(&self) -> bool {
        self.filled > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes()[..], content].concat()
    }

    #[test]
    fn messages_are_told_apart_however_their_bytes_come() {
        let bytes = [frame(b'T', b"columns"), frame(b'D', &[b'Z'; 300]), frame(b'Z', b"I"), frame(b'n', b"")];
        let bytes = bytes.concat();
        for size in [1, 2, 3, 5, 7, 64, bytes.len()] {
            let mut frames = Frames::of_server();
            let mut kinds = Vec::new();
            bytes.chunks(size).for_each(|chunk| frames.pass(chunk, |kind| kinds.push(kind)));
            assert_eq!(kinds, b"TDZn", "in pieces of {size}");
            assert!(!frames.is_inside());
        }
    }

    #[test]
    fn the_first_message_of_a_client_has_no_type() {
        let startup = &frame(b'?', b"user\0postgres\0\0")[1..];
        let mut frames = Frames::of_client();
        let mut kinds = Vec::new();
        frames.pass(startup, |kind| kinds.push(kind));
        frames.pass(&frame(b'Q', b"select 1\0")[..8], |kind| kinds.push(kind));
        assert_eq!(kinds, [0]);
        assert!(frames.is_inside());
    }
}
