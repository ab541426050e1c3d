//! Tests: what is known while all is well.

use super::super::document::Half;
use super::super::samples::Pace;
use super::Facts;
use crate::wire::{Held, SourceFigures, TargetFigures};
use jiff::Timestamp;

pub(in super::super) struct Known {
    pub(in super::super) now: Timestamp,
    pub(in super::super) source: Half<SourceFigures>,
    pub(in super::super) target: Half<TargetFigures>,
    pub(in super::super) behind_seconds: Option<f64>,
    pub(in super::super) pace: Pace,
}

impl Known {
    pub(in super::super) fn facts(&self) -> Facts<'_> {
        let Known { now, source, target, behind_seconds, pace } = self;
        Facts { now: *now, source, target, behind_seconds: *behind_seconds, pace: *pace }
    }

    /// B refuses a row.
    pub(in super::super) fn hold_target(&mut self) {
        let held = Held::of(
            "2026-11-30T14:02:11Z".parse().ok(),
            "column \"nickname\" does not exist",
            Some(("public.users", "(42)")),
            Some("alter table public.users add column nickname text;"),
        );
        self.target.figures.as_mut().unwrap().held = Some(held);
    }
}

/// As outbox-publisher knows it.
pub(in super::super) fn known() -> Known {
    let now: Timestamp = "2026-11-30T14:03:08.2Z".parse().unwrap();
    let source = SourceFigures {
        taken_tick: Some(7),
        published_tick: Some(7),
        confirmed_tick: Some(7),
        unpublished_events: Some(0),
        unconfirmed_events: Some(0),
        capture_to_publish_ms: Some(0),
        publish_to_receive_ms: Some(0),
        total_ms: Some(0),
        last_change_at: Some("2026-11-30T14:03:07Z".parse().unwrap()),
        ..SourceFigures::default()
    };
    let target = TargetFigures {
        received_tick: Some(7),
        applied_tick: Some(7),
        as_of: Some("2026-11-30T14:03:07.812Z".parse().unwrap()),
        behind_ms: Some(200),
        waiting_events: Some(0),
        receive_to_apply_ms: Some(0),
        stream_nodes: Some(3),
        stream_nodes_current: Some(3),
        ..TargetFigures::default()
    };
    Known {
        now,
        source: Half {
            is_own: true,
            heard_at: Some(now),
            age_seconds: Some(0.1),
            leads: Some(true),
            database_connected: Some(true),
            nats_connected: Some(true),
            figures: Some(source),
            ..Half::default()
        },
        target: Half {
            heard_at: Some(now),
            age_seconds: Some(0.2),
            leads: Some(true),
            figures: Some(target),
            ..Half::default()
        },
        behind_seconds: Some(0.4),
        pace: Pace::default(),
    }
}
