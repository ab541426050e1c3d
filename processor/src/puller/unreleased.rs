//! What came through one consumer, and is to be released once it is settled. Nothing is asked here.

use anyhow::{Context, Result};
use shared::broker::jetstream::{Stream, is_gone};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Messages are released this often, all that are settled by then at once: to remove one costs the stream as much.
const RELEASE_INTERVAL: Duration = Duration::from_secs(1);
/// Whoever may answer takes no longer; after that it is asked this often.
const UNANSWERED_MAX: Duration = Duration::from_secs(10);

/// Sequences are the stream's: all messages before one.
pub(super) struct Unreleased {
    /// The number of the consumer. The stream of an earlier one may have been another, with sequences of its own.
    consumer: u64,
    /// Number and sequence of each message, in order.
    messages: VecDeque<(u64, u64)>,
    settled: u64,
    asked_at: Instant,
    released: u64,
    /// Since when the stream was asked and has not answered.
    unanswered_since: Option<Instant>,
    /// What it said last, where it refused.
    refused: Option<String>,
}

impl Unreleased {
    pub(super) fn of_consumer(consumer: u64) -> Unreleased {
        Unreleased {
            consumer,
            messages: VecDeque::new(),
            settled: 0,
            asked_at: Instant::now(),
            released: 0,
            unanswered_since: None,
            refused: None,
        }
    }

    /// What comes through the next consumer.
    pub(super) fn of_next_consumer(&self) -> Unreleased {
        Unreleased::of_consumer(self.consumer + 1)
    }

    pub(super) fn pulled(&mut self, number: u64, sequence: u64) {
        self.messages.push_back((number, sequence));
    }

    /// Up to where the stream can release, now that the messages before `number` are settled; none where it has.
    pub(super) fn settled(&mut self, number: u64) -> Option<u64> {
        while self.messages.front().is_some_and(|(first, _)| *first < number) {
            let (_, sequence) = self.messages.pop_front()?;
            self.settled = sequence + 1;
        }
        (self.settled > self.released).then_some(self.settled)
    }

    /// The same, where it is time to ask the stream. What was refused or not answered is asked again.
    pub(super) fn due(&mut self, number: u64) -> Option<u64> {
        let interval = if self.is_unanswered() { UNANSWERED_MAX } else { RELEASE_INTERVAL };
        if self.asked_at.elapsed() < interval {
            return None;
        }
        self.asked_at = Instant::now();
        let before = self.settled(number)?;
        self.unanswered_since.get_or_insert(self.asked_at);
        Some(before)
    }

    /// The last word of the subject to which the stream answers: whose messages, and before which.
    pub(super) fn question(&self, before: u64) -> String {
        format!("before-{}-{before}", self.consumer)
    }

    /// Takes the answer to a [`Unreleased::question`]; false where the word is none. One that was asked for an earlier
    /// consumer means nothing any more.
    pub(super) fn answered(&mut self, word: &str, answer: impl FnOnce() -> Result<()>) -> Result<bool> {
        let Some(question) = word.strip_prefix("before-") else { return Ok(false) };
        let (consumer, before) = question.split_once('-').context("an answer to no release of ours")?;
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
            // It is for the next session to make it anew.
            Err(error) if is_gone(&error) => return Err(error).context("release what is settled"),
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
                "the stream {} fills up: it refuses to release what is settled ({subject}): {refused}",
                stream.name
            ));
        }
        self.is_unanswered().then(|| {
            format!(
                "the stream {} fills up: it does not answer on {subject}, on which what is settled is released; the NATS user \
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

    /// Three messages that are settled, and have these sequences.
    fn settled(mut unreleased: Unreleased, sequences: [u64; 3]) -> Unreleased {
        for (number, sequence) in (0..).zip(sequences) {
            unreleased.pulled(number, sequence);
        }
        unreleased.settled(3);
        unreleased
    }

    #[test]
    fn an_answer_to_a_release_of_an_earlier_consumer_releases_nothing() {
        let earlier = settled(Unreleased::of_consumer(1), [4711, 4712, 4713]);
        // The stream was made anew: its sequences begin again.
        let mut now = settled(earlier.of_next_consumer(), [1, 2, 3]);
        assert!(now.answered(&earlier.question(4714), || Ok(())).unwrap());
        assert_eq!(now.settled(3), Some(4));
        assert!(now.answered(&now.question(4), || Ok(())).unwrap());
        assert_eq!(now.settled(3), None);
        assert!(!now.answered("17", || Ok(())).unwrap());
    }

    #[test]
    fn what_was_refused_is_to_be_released_until_it_is() {
        let stream = Stream { name: "S".into(), subject: "s".into(), replicas: 1, max_bytes: 1 };
        let mut unreleased = settled(Unreleased::of_consumer(1), [1, 2, 3]);
        let question = unreleased.question(4);
        assert!(unreleased.answered(&question, || Err(anyhow!("not allowed"))).unwrap());
        assert_eq!(unreleased.settled(3), Some(4));
        let trouble = unreleased.trouble(&stream).unwrap();
        assert!(trouble.contains("$JS.API.STREAM.PURGE.S") && trouble.contains("not allowed"), "{trouble}");
        assert!(unreleased.answered(&question, || Ok(())).unwrap());
        assert_eq!((unreleased.settled(3), unreleased.trouble(&stream)), (None, None));
    }
}
