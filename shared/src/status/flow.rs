//! The way of an event from A to B, stage by stage, and which one is in trouble.

use super::document::Half;
use super::judging::Facts;
use super::words::{duration, time_of_day, wait, whole_seconds};
use serde::{Deserialize, Serialize};

/// What waits for longer is a backlog.
const BACKLOG_MS: u64 = 5000;

/// How a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It works.
    Good,
    /// It works, and somebody should look.
    Attention,
    /// An operator has paused it.
    Paused,
    /// It does not work.
    Broken,
    /// It cannot be known.
    Unknown,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// What it is.
    pub name: String,
    /// How it is.
    pub condition: Condition,
    /// The condition's shape.
    pub mark: String,
    /// In a few words.
    pub text: String,
}

impl Condition {
    /// A shape that is told from the others without colour.
    pub fn mark(self) -> &'static str {
        match self {
            Condition::Good => "●",
            Condition::Attention => "▲",
            Condition::Paused => "‖",
            Condition::Broken => "■",
            Condition::Unknown => "?",
        }
    }
}

use Condition::{Attention, Broken, Good, Paused, Unknown};

impl Facts<'_> {
    /// The eight stages, from A to B.
    pub fn flow(&self) -> Vec<Stage> {
        let stages = [
            ("PostgreSQL A", self.database(self.source, "A")),
            ("outbox", self.outbox()),
            (
                "outbox-publisher",
                self.service(self.source, self.is_held_in_source(), self.is_paused_in_source()),
            ),
            ("NATS A", self.nats(self.source, None)),
            ("NATS B", self.nats(self.target, self.stream_nodes())),
            ("inbox", self.inbox()),
            (
                "inbox-processor",
                self.service(self.target, self.is_held_in_target(), self.is_paused_in_target()),
            ),
            ("PostgreSQL B", self.database(self.target, "B")),
        ];
        stages
            .into_iter()
            .map(|(name, (condition, text))| Stage {
                name: name.to_owned(),
                condition,
                mark: condition.mark().to_owned(),
                text,
            })
            .collect()
    }

    fn database<F>(&self, half: &Half<F>, side: &str) -> (Condition, String) {
        if half.database_connected == Some(false) {
            return (Broken, "cannot be reached".to_owned());
        }
        self.unless_silent(half, || match &half.figures {
            Some(_) => (Good, "answers".to_owned()),
            None => (Unknown, format!("nothing is known of {side}")),
        })
    }

    fn service<F>(&self, half: &Half<F>, is_held: bool, is_paused: bool) -> (Condition, String) {
        if !half.is_own && !half.is_fresh() {
            return self.silent(half);
        }
        match (is_held, is_paused, &half.trouble, half.leads) {
            (true, ..) => (Broken, "held".to_owned()),
            (_, true, ..) => (Paused, "paused".to_owned()),
            (_, _, Some(_), _) => (Attention, "not healthy".to_owned()),
            (_, _, None, Some(true)) => (Good, "leader".to_owned()),
            (_, _, None, Some(false)) => (Good, "stands by".to_owned()),
            (_, _, None, None) => (Good, "healthy".to_owned()),
        }
    }

    fn nats<F>(&self, half: &Half<F>, nodes: Option<(u32, u32)>) -> (Condition, String) {
        match (half.nats_connected, nodes) {
            (Some(false), _) => (Broken, "cannot be reached".to_owned()),
            (_, Some((current, all))) if half.is_fresh() => {
                let condition = if current == all { Good } else { Attention };
                (condition, format!("{current}/{all} nodes"))
            }
            (Some(true), _) => (Good, "connected".to_owned()),
            _ => self.unless_silent(half, || (Good, "connected".to_owned())),
        }
    }

    fn stream_nodes(&self) -> Option<(u32, u32)> {
        let b = self.target.figures.as_ref()?;
        b.stream_nodes_current.zip(b.stream_nodes)
    }

    fn outbox(&self) -> (Condition, String) {
        self.unless_silent(self.source, || {
            let a = self.source.figures.as_ref();
            let waiting = a.and_then(|a| a.unconfirmed_events);
            queue(waiting, a.and_then(|a| a.capture_to_publish_ms))
        })
    }

    fn inbox(&self) -> (Condition, String) {
        self.unless_silent(self.target, || {
            let b = self.target.figures.as_ref();
            queue(b.and_then(|b| b.waiting_events), b.and_then(|b| b.receive_to_apply_ms))
        })
    }

    fn unless_silent<F>(
        &self,
        half: &Half<F>,
        otherwise: impl FnOnce() -> (Condition, String),
    ) -> (Condition, String) {
        if half.is_fresh() { otherwise() } else { self.silent(half) }
    }

    fn silent<F>(&self, half: &Half<F>) -> (Condition, String) {
        let text = match half.heard_at.zip(half.age_seconds) {
            None => "not heard yet".to_owned(),
            Some((at, age)) => {
                format!("last heard {}, {} ago", time_of_day(at, self.now, "%H:%M:%S"), whole_seconds(age))
            }
        };
        (Unknown, text)
    }

    fn is_held_in_source(&self) -> bool {
        self.source.figures.as_ref().is_some_and(|a| a.held.is_some())
    }

    fn is_held_in_target(&self) -> bool {
        self.target.figures.as_ref().is_some_and(|b| b.held.is_some())
    }

    fn is_paused_in_source(&self) -> bool {
        self.source.figures.as_ref().is_some_and(|a| a.paused.is_some())
    }

    fn is_paused_in_target(&self) -> bool {
        self.target.figures.as_ref().is_some_and(|b| b.paused.is_some())
    }
}

fn queue(waiting: Option<u64>, age_ms: Option<u64>) -> (Condition, String) {
    let Some(events) = waiting else { return (Unknown, "size not known".to_owned()) };
    match age_ms {
        Some(age) if age >= BACKLOG_MS => {
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let age = duration(age as f64 / 1000.0);
            (Attention, format!("{}, {age}", wait(events)))
        }
        _ => (Good, wait(events)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::judging::fixtures::{Known, known};

    fn flow(known: &Known) -> Vec<String> {
        known
            .facts()
            .flow()
            .iter()
            .map(|stage| format!("{} {}: {}", stage.mark, stage.name, stage.text))
            .collect()
    }

    #[test]
    fn while_all_is_well_each_stage_says_so() {
        assert_eq!(
            flow(&known()),
            [
                "● PostgreSQL A: answers",
                "● outbox: 0 wait",
                "● outbox-publisher: leader",
                "● NATS A: connected",
                "● NATS B: 3/3 nodes",
                "● inbox: 0 wait",
                "● inbox-processor: leader",
                "● PostgreSQL B: answers",
            ]
        );
    }

    #[test]
    fn the_stages_of_a_silent_side_are_unknown_and_say_since_when() {
        let mut known = known();
        known.target.age_seconds = Some(7.4);
        let flow = flow(&known);
        assert!(flow[..4].iter().all(|stage| stage.starts_with('●')), "{flow:?}");
        assert!(flow[4..].iter().all(|stage| stage.ends_with("last heard 14:03:08, 7 s ago")), "{flow:?}");
        assert!(flow[4..].iter().all(|stage| stage.starts_with('?')), "{flow:?}");
    }

    #[test]
    fn what_cannot_be_reached_and_what_is_held_is_broken() {
        let mut known = known();
        known.source.database_connected = Some(false);
        known.source.age_seconds = Some(19.0);
        known.source.trouble = Some("ticker: connection refused".to_owned());
        known.hold_target();
        let flow = flow(&known);
        assert_eq!(flow[0], "■ PostgreSQL A: cannot be reached");
        assert_eq!(flow[1], "? outbox: last heard 14:03:08, 19 s ago");
        assert_eq!(flow[2], "▲ outbox-publisher: not healthy");
        assert_eq!(flow[6], "■ inbox-processor: held");
    }

    #[test]
    fn a_backlog_asks_for_attention_and_a_size_that_is_not_known_is_not_zero() {
        let mut known = known();
        let a = known.source.figures.as_mut().unwrap();
        (a.unconfirmed_events, a.capture_to_publish_ms) = (Some(12_000), Some(34_000));
        known.target.figures.as_mut().unwrap().waiting_events = None;
        known.target.figures.as_mut().unwrap().stream_nodes_current = Some(2);
        let flow = flow(&known);
        assert_eq!(flow[1], "▲ outbox: 12,000 wait, 34 s");
        assert_eq!(flow[4], "▲ NATS B: 2/3 nodes");
        assert_eq!(flow[5], "? inbox: size not known");
    }
}
