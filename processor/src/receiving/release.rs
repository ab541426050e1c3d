//! Which messages the stream can release. Nothing is sent here.

use anyhow::{Context, Result};
use shared::broker::jetstream::{Stream, is_gone};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Committed messages are released this often, all at once: releasing one costs the stream as much.
const RELEASE_INTERVAL: Duration = Duration::from_secs(1);
/// A request without an answer for this long was not permitted, or lost; after that it is repeated this
/// often.
const UNANSWERED_MAX: Duration = Duration::from_secs(10);

/// The messages of one consumer that are not released yet. A sequence stands for all messages before it.
pub(super) struct Unreleased {
    /// The number of the consumer. An earlier one may have read from another stream, with sequences of its
    /// own.
    consumer: u64,
    /// Number and sequence of each message, in order.
    messages: VecDeque<(u64, u64)>,
    committed: u64,
    asked_at: Instant,
    released: u64,
    /// Since when a request is unanswered.
    unanswered_since: Option<Instant>,
    /// Why the last request was refused, if it was.
    refused: Option<String>,
}

impl Unreleased {
    pub(super) fn of_consumer(consumer: u64) -> Unreleased {
        Unreleased {
            consumer,
            messages: VecDeque::new(),
            committed: 0,
            asked_at: Instant::now(),
            released: 0,
            unanswered_since: None,
            refused: None,
        }
    }

    /// The same for the next consumer.
    pub(super) fn of_next_consumer(&self) -> Unreleased {
        Unreleased::of_consumer(self.consumer + 1)
    }

    pub(super) fn pulled(&mut self, number: u64, sequence: u64) {
        self.messages.push_back((number, sequence));
    }

    /// Up to where the stream can release, now that the messages before `number` are committed; none where it
    /// has done so.
    pub(super) fn committed(&mut self, number: u64) -> Option<u64> {
        while self.messages.front().is_some_and(|(first, _)| *first < number) {
            let (_, sequence) = self.messages.pop_front()?;
            self.committed = sequence + 1;
        }
        (self.committed > self.released).then_some(self.committed)
    }

    /// The same, where a request is due. A request that was refused or not answered is repeated.
    pub(super) fn due(&mut self, number: u64) -> Option<u64> {
        let interval = if self.is_unanswered() { UNANSWERED_MAX } else { RELEASE_INTERVAL };
        if self.asked_at.elapsed() < interval {
            return None;
        }
        self.asked_at = Instant::now();
        let before = self.committed(number)?;
        self.unanswered_since.get_or_insert(self.asked_at);
        Some(before)
    }

    /// The last token of the subject to which the stream answers: whose messages, and before which.
    pub(super) fn request(&self, before: u64) -> String {
        format!("before-{}-{before}", self.consumer)
    }

    /// Takes the answer to a [`Unreleased::request`]; false where the token is none. Answers for an earlier
    /// consumer are ignored.
    pub(super) fn answered(&mut self, token: &str, answer: impl FnOnce() -> Result<()>) -> Result<bool> {
        let Some(request) = token.strip_prefix("before-") else { return Ok(false) };
        let (consumer, before) = request.split_once('-').context("an answer to an unknown release")?;
        if consumer != self.consumer.to_string() {
            return Ok(true);
        }
        let before = before.parse().context("read an answer to a release")?;
        self.unanswered_since = None;
        match answer() {
            Ok(()) => {
                self.released = self.released.max(before);
                self.refused = None;
            }
            // The next session recreates the stream.
            Err(error) if is_gone(&error) => return Err(error).context("release committed messages"),
            Err(error) => self.refused = Some(format!("{error:#}")),
        }
        Ok(true)
    }

    fn is_unanswered(&self) -> bool {
        self.unanswered_since.is_some_and(|since| since.elapsed() > UNANSWERED_MAX)
    }

    /// Why the stream fills up, if it does.
    pub(super) fn trouble(&self, stream: &Stream) -> Option<String> {
        let subject = stream.release_subject();
        if let Some(refused) = &self.refused {
            return Some(format!(
                "the stream {} fills up: it refuses to release committed messages ({subject}): {refused}",
                stream.name
            ));
        }
        self.is_unanswered().then(|| {
            format!(
                "the stream {} fills up: it does not answer on {subject}, by which committed messages are released; the NATS user \
                 needs the right to publish there",
                stream.name
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    /// Three messages that are committed, and have these sequences.
    fn committed(mut unreleased: Unreleased, sequences: [u64; 3]) -> Unreleased {
        for (number, sequence) in (0..).zip(sequences) {
            unreleased.pulled(number, sequence);
        }
        unreleased.committed(3);
        unreleased
    }

    #[test]
    fn an_answer_to_a_release_of_an_earlier_consumer_releases_nothing() {
        let earlier = committed(Unreleased::of_consumer(1), [4711, 4712, 4713]);
        // The stream was recreated: its sequences begin again.
        let mut now = committed(earlier.of_next_consumer(), [1, 2, 3]);
        assert!(now.answered(&earlier.request(4714), || Ok(())).unwrap());
        assert_eq!(now.committed(3), Some(4));
        assert!(now.answered(&now.request(4), || Ok(())).unwrap());
        assert_eq!(now.committed(3), None);
        assert!(!now.answered("17", || Ok(())).unwrap());
    }

    #[test]
    fn what_was_refused_is_to_be_released_until_it_is() {
        let stream = Stream {
            name: "S".into(),
            subject: "s".into(),
            replicas: 1,
            max_bytes: 1,
            may_be_recreated: true,
        };
        let mut unreleased = committed(Unreleased::of_consumer(1), [1, 2, 3]);
        let request = unreleased.request(4);
        assert!(unreleased.answered(&request, || Err(anyhow!("not allowed"))).unwrap());
        assert_eq!(unreleased.committed(3), Some(4));
        let trouble = unreleased.trouble(&stream).unwrap();
        assert!(trouble.contains("$JS.API.STREAM.PURGE.S") && trouble.contains("not allowed"), "{trouble}");
        assert!(unreleased.answered(&request, || Ok(())).unwrap());
        assert_eq!((unreleased.committed(3), unreleased.trouble(&stream)), (None, None));
    }
}
