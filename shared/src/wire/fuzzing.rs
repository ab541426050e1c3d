//! Tests: the readers of messages take whatever bytes come. Messages of the corpus are changed at random, over and over.
//! Nothing panics, what is taken is the same once it is sent again, and memory stays within bounds.
//!
//! `FUZZ_SECONDS=600 cargo test --release -p shared fuzz -- --nocapture` looks longer; `FUZZ_SEED` repeats a run.

use super::encoding::pack;
use super::*;
use crate::config::Environment;
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Messages as they were on the wire.
const CORPUS: [&str; 14] = [
    include_str!("corpus/insert.json"),
    include_str!("corpus/update.json"),
    include_str!("corpus/delete.json"),
    include_str!("corpus/truncate.json"),
    include_str!("corpus/moved_key.json"),
    include_str!("corpus/skipped.json"),
    include_str!("corpus/many_types.json"),
    include_str!("corpus/confirm.json"),
    include_str!("corpus/heartbeat.json"),
    include_str!("corpus/refusal.json"),
    include_str!("corpus/verify.json"),
    include_str!("corpus/finding.json"),
    include_str!("corpus/verified.json"),
    include_str!("corpus/verified_unknown.json"),
];

/// What is put in the place of a number, or anywhere.
const TOKENS: [&str; 24] = [
    "0",
    "1",
    "-1",
    "-0",
    "1.5",
    "1e400",
    "2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "\"(\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\u001b\"",
    "[[[[[[[[[[[[[[[[[[[[",
    "\"replication\"",
    "\"pg_temp_3\"",
];

/// Characters of a text that is shown to people are cut there, so what is longer is not the same when it is sent again.
const SHOWN: usize = 900;

fn setting(name: &str) -> Option<u64> {
    Environment::read().optional(name)?.parse().ok()
}

fn between(bytes: &[u8]) -> usize {
    fastrand::usize(..=bytes.len())
}

/// Where a piece of a message begins and ends.
fn piece(bytes: &[u8]) -> std::ops::Range<usize> {
    let (one, other) = (between(bytes), between(bytes));
    one.min(other)..one.max(other)
}

/// Where a number begins and ends, if there is one behind a place that is chosen at random.
fn number(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    let from = between(bytes);
    let begin = from + bytes[from..].iter().position(u8::is_ascii_digit)?;
    let end = bytes[begin..]
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .map_or(bytes.len(), |length| begin + length);
    Some(begin..end)
}

/// A field with its value, up to the next comma.
fn field(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    let from = between(bytes);
    let begin = from + bytes[from..].windows(2).position(|two| two == b",\"")?;
    let end = begin + 1 + bytes[begin + 1..].iter().position(|byte| *byte == b',')?;
    Some(begin..end)
}

fn changed(message: &mut Vec<u8>) {
    match fastrand::u8(..9) {
        0 if !message.is_empty() => {
            let at = fastrand::usize(..message.len());
            message[at] ^= 1 << fastrand::u8(..8);
        }
        1 => message.truncate(between(message)),
        2 => {
            let other = CORPUS[fastrand::usize(..CORPUS.len())].trim_end().as_bytes();
            let (from, to) = (between(message), between(other));
            message.truncate(from);
            message.extend_from_slice(&other[to..]);
        }
        3 => {
            let copy = message[piece(message)].to_vec();
            let at = between(message);
            message.splice(at..at, copy.iter().copied());
        }
        4 => drop(message.drain(piece(message))),
        5 => {
            if let Some(place) = number(message) {
                message.splice(place, TOKENS[fastrand::usize(..TOKENS.len())].bytes());
            }
        }
        6 => {
            if let Some(place) = field(message) {
                let copy = message[place.clone()].to_vec();
                message.splice(place.end..place.end, copy);
            }
        }
        7 => {
            let token = TOKENS[fastrand::usize(..TOKENS.len())].bytes();
            let place = piece(message);
            message.splice(place, token);
        }
        _ => {
            if let Some(place) = number(message) {
                message.splice(place, fastrand::i64(..).to_string().bytes());
            }
        }
    }
}

/// A message that was taken is the same once it is sent again.
fn assert_stays<T: PartialEq + Debug>(taken: &T, again: &anyhow::Result<T>) {
    assert_eq!(again.as_ref().ok(), Some(taken), "{again:?}");
}

/// How many of the readers take it.
fn read_by_all(payload: &[u8]) -> usize {
    let mut taken = 0;
    assert!(unpacked_bytes(payload) <= UNPACKED_MAX.max(payload.len()));
    match Batch::decode(payload) {
        Ok(batch) => {
            taken += 1;
            assert!(batch.last() >= batch.first && batch.end().ordinal <= batch.total);
            assert!(batch.events.iter().all(|event| batch.shape_of(event).is_ok()));
            assert_stays(&batch, &batch.encode().and_then(|sent| Batch::decode(&sent)));
        }
        Err(error) => assert!(format!("{error:#}").len() < 2000, "{error:#}"),
    }
    if let Ok(confirm) = Confirm::decode(payload) {
        taken += 1;
        let is_whole = is_whole(confirm.status.as_ref().map(texts).into_iter().flatten())
            && is_whole(confirm.figures.as_ref().map(texts_of_target).into_iter().flatten());
        let again = confirm.encode().and_then(|sent| Confirm::decode(&sent));
        if is_whole { assert_stays(&confirm, &again) } else { assert!(again.is_ok()) }
    }
    if let Ok(heartbeat) = Heartbeat::decode(payload) {
        taken += 1;
        let again = heartbeat.encode().and_then(|sent| Heartbeat::decode(&sent));
        let is_whole = is_whole(texts(&heartbeat.status))
            && is_whole(heartbeat.figures.as_ref().map(texts_of_source).into_iter().flatten());
        if is_whole { assert_stays(&heartbeat, &again) } else { assert!(again.is_ok()) }
    }
    if let Ok(refusal) = Refusal::decode(payload) {
        taken += 1;
        assert!(Refusal::decode(&refusal.encode().unwrap()).is_ok());
    }
    if let Ok(verify) = Verify::decode(payload) {
        taken += 1;
        assert!(Verify::decode(&verify.encode().unwrap()).is_ok());
    }
    if let Ok(verified) = Verified::decode(payload) {
        taken += 1;
        assert!(Verified::decode(&verified.encode().unwrap()).is_ok());
    }
    taken
}

/// Whether none of these is cut.
fn is_whole<'a>(texts: impl IntoIterator<Item = &'a String>) -> bool {
    texts.into_iter().all(|text| text.chars().count() < SHOWN)
}

fn texts(status: &Status) -> Vec<&String> {
    std::iter::once(&status.version).chain(&status.trouble).collect()
}

fn texts_of_source(figures: &SourceFigures) -> Vec<&String> {
    of_both(figures.held.as_ref(), figures.paused.as_ref(), figures.unknown_because.as_ref())
}

fn texts_of_target(figures: &TargetFigures) -> Vec<&String> {
    of_both(figures.held.as_ref(), figures.paused.as_ref(), figures.unknown_because.as_ref())
}

fn of_both<'a>(
    held: Option<&'a Held>,
    paused: Option<&'a Paused>,
    unknown: Option<&'a String>,
) -> Vec<&'a String> {
    let held = held.into_iter().flat_map(|held| {
        std::iter::once(&held.error).chain(&held.table).chain(&held.key).chain(&held.statement)
    });
    held.chain(paused.and_then(|paused| paused.why.as_ref())).chain(unknown).collect()
}

/// The most memory that this process had.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[test]
fn every_message_of_the_corpus_is_read_by_one_reader() {
    for message in CORPUS {
        assert_eq!(read_by_all(message.trim_end().as_bytes()), 1, "{message}");
    }
}

#[test]
fn fuzz() {
    let seed = setting("FUZZ_SEED").unwrap_or(0x5eed);
    fastrand::seed(seed);
    let (before, begun) = (peak_kib(), Instant::now());
    let time = Duration::from_secs(setting("FUZZ_SECONDS").unwrap_or(2));
    let (mut executions, mut taken) = (0_u64, 0);
    while begun.elapsed() < time {
        let mut message = CORPUS[fastrand::usize(..CORPUS.len())].trim_end().as_bytes().to_vec();
        for _ in 0..fastrand::u32(1..5) {
            changed(&mut message);
        }
        message.truncate(64 * 1024);
        if fastrand::u8(..8) == 0 {
            message = pack(message).unwrap();
            if fastrand::bool() {
                changed(&mut message);
            }
        }
        executions += 1;
        taken += read_by_all(&message);
    }
    let grown_kib = peak_kib().saturating_sub(before);
    println!(
        "{executions} messages read by six readers, {taken} taken; memory grew by {grown_kib} KiB; FUZZ_SEED={seed}"
    );
    assert!(executions > 1000 && taken > 10, "{executions} {taken}");
    // Other tests of this process take some at the same time.
    assert!(grown_kib < 1024 * 1024, "{grown_kib} KiB");
}
