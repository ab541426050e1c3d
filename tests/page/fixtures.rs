//! Made-up states of a system. What the page shows of them is judged as in the services.

use jiff::{Timestamp, ToSpan};
use shared::status::{Document, Facts, Half, Line, Pace, Sample, Samples};
use shared::wire::{Held, Paused, SourceFigures, TargetFigures};

/// As outbox-publisher knows it.
pub(crate) struct Known {
    pub(crate) now: Timestamp,
    pub(crate) source: Half<SourceFigures>,
    pub(crate) target: Half<TargetFigures>,
    pub(crate) behind_seconds: Option<f64>,
    pub(crate) pace: Pace,
    pub(crate) samples: Samples,
    pub(crate) lately: Vec<Line>,
}

impl Known {
    pub(crate) fn document(&self) -> Document {
        let Known { now, source, target, behind_seconds, pace, samples, lately } = self;
        let facts = Facts { now: *now, source, target, behind_seconds: *behind_seconds, pace: *pace };
        Document::of("outbox-publisher", &facts, samples, lately.clone())
    }

    pub(crate) fn a(&mut self) -> &mut SourceFigures {
        self.source.figures.as_mut().unwrap()
    }

    pub(crate) fn b(&mut self) -> &mut TargetFigures {
        self.target.figures.as_mut().unwrap()
    }
}

pub(crate) fn healthy() -> Known {
    let now: Timestamp = "2026-11-30T14:03:08.2Z".parse().unwrap();
    let source = SourceFigures {
        taken_tick: Some(48_213),
        published_tick: Some(48_213),
        confirmed_tick: Some(48_212),
        captured_events: Some(5_120_443),
        unpublished_events: Some(0),
        unconfirmed_events: Some(12),
        capture_to_publish_ms: Some(0),
        publish_to_receive_ms: Some(1),
        total_ms: Some(4),
        outbox_bytes: Some(412_000_000),
        outbox_growth_bytes_per_second: Some(240_000),
        disk_free_seconds: Some(41 * 86_400),
        last_change_at: Some("2026-11-30T14:03:08Z".parse().unwrap()),
        ..SourceFigures::default()
    };
    let target = TargetFigures {
        received_tick: Some(48_213),
        applied_tick: Some(48_213),
        as_of: Some("2026-11-30T14:03:08.191Z".parse().unwrap()),
        behind_ms: Some(4),
        waiting_events: Some(0),
        receive_to_apply_ms: Some(0),
        quarantine_unseen: Some(0),
        stream_nodes: Some(3),
        stream_nodes_current: Some(3),
        ..TargetFigures::default()
    };
    let line = |at: &str, text: &str| Line { at: at.parse().unwrap(), text: text.to_owned() };
    Known {
        now,
        source: Half {
            is_own: true,
            heard_at: Some(now),
            age_seconds: Some(0.1),
            version: Some("0.1.0".to_owned()),
            leads: Some(true),
            database_connected: Some(true),
            nats_connected: Some(true),
            figures: Some(source),
            ..Half::default()
        },
        target: Half {
            heard_at: Some(now),
            age_seconds: Some(0.3),
            version: Some("0.1.0".to_owned()),
            leads: Some(true),
            figures: Some(target),
            ..Half::default()
        },
        behind_seconds: Some(0.009),
        pace: Pace {
            captured_per_second: Some(1204.0),
            applied_per_second: Some(1204.0),
            still_seconds: 0.0,
        },
        samples: samples(now, |_| 0),
        lately: vec![
            line("2026-11-30T14:00:11Z", "● FOLLOWING: B shows A as of 14:00:10.904 UTC (0.2 s ago)"),
            line("2026-11-30T13:59:58Z", "? UNKNOWN: no word from B for 3 s, last heard 13:59:55 UTC"),
        ],
    }
}

/// 15 minutes with some life in them; `wait_ms` is added to what waits, by the second.
fn samples(now: Timestamp, wait_ms: impl Fn(u64) -> u64) -> Samples {
    let mut samples = Samples::default();
    let (mut captured, mut applied) = (0, 0);
    for second in 0..900_u64 {
        let wave = (second * 37 % 7) + (second * 13 % 11) + if second % 310 < 24 { 70 } else { 0 };
        let (published, received, extra) = (2 + wave, 5 + wave * 2, wait_ms(second));
        captured += 1100 + (second / 7 * 29 % 13) * 16 + if second % 310 < 40 { 640 } else { 0 };
        applied = if extra > 0 { applied + 400 } else { captured - wave };
        let sample = Sample {
            ages_ms: [
                Some(published),
                Some(received),
                Some(received + wave * 3 + extra),
                Some(received + wave * 4 + extra),
            ],
            captured: Some(captured),
            applied: Some(applied),
            position: (None, None),
            behind_ms: Some(8 + received + wave * 3 + extra),
        };
        samples.add(now.checked_sub((900 - i64::try_from(second).unwrap()).seconds()).unwrap(), sample);
    }
    samples
}

pub(crate) fn catching_up() -> Known {
    let mut known = healthy();
    known.samples = samples(known.now, |second| second.saturating_sub(700) * 170);
    let a = known.a();
    (a.unconfirmed_events, a.total_ms) = (Some(48_000), Some(34_100));
    a.capture_to_publish_ms = Some(6_000);
    known.behind_seconds = Some(34.0);
    known.pace =
        Pace { captured_per_second: Some(190.0), applied_per_second: Some(589.0), still_seconds: 0.0 };
    known
}

pub(crate) fn falling_behind() -> Known {
    let mut known = catching_up();
    known.pace =
        Pace { captured_per_second: Some(1204.0), applied_per_second: Some(800.0), still_seconds: 0.0 };
    known
}

pub(crate) fn held() -> Known {
    let mut known = catching_up();
    known.pace.still_seconds = 40.0;
    known.target.trouble = Some("applying: apply is blocked: tick 48214".to_owned());
    known.b().held = Some(Held::of(
        "2026-11-30T14:02:31Z".parse().ok(),
        "tick 48214, transaction 900123: insert into public.orders: ERROR: column \"coupon\" of relation \"orders\" does not exist",
        Some(("public.orders", "(1f0c2b3e-77aa-4c09-9d3b-0b6f0c1d2e3f)")),
        Some("alter table public.orders add column coupon text;"),
    ));
    known
}

pub(crate) fn quiet() -> Known {
    let mut known = healthy();
    known.a().last_change_at = Some("2026-11-30T13:12:44Z".parse().unwrap());
    known.a().unconfirmed_events = Some(0);
    let a = known.a();
    (a.publish_to_receive_ms, a.total_ms) = (Some(0), Some(0));
    known.pace =
        Pace { captured_per_second: Some(0.0), applied_per_second: Some(0.0), still_seconds: 3000.0 };
    known
}

pub(crate) fn stalled() -> Known {
    let mut known = catching_up();
    known.pace =
        Pace { captured_per_second: Some(190.0), applied_per_second: Some(0.0), still_seconds: 27.0 };
    known
}

pub(crate) fn paused() -> Known {
    let mut known = catching_up();
    let since = "2026-11-30T14:00:00Z".parse().ok();
    known.b().paused = Some(Paused { since, why: Some("index build on public.orders".to_owned()) });
    known
}

/// B was heard, and is not heard any more.
pub(crate) fn silent() -> Known {
    let mut known = healthy();
    known.target.heard_at = Some("2026-11-30T14:03:01Z".parse().unwrap());
    known.target.age_seconds = Some(7.3);
    known.behind_seconds = Some(7.3);
    known
}

/// Nothing is known of B, and of A only that its server does not answer.
pub(crate) fn unknown() -> Known {
    let mut known = healthy();
    known.target = Half::default();
    known.source.age_seconds = Some(34.0);
    known.behind_seconds = None;
    known.pace = Pace::default();
    known.samples = Samples::default();
    known.lately.clear();
    known
}

pub(crate) fn cut_off() -> Known {
    let mut known = healthy();
    known.source.database_connected = Some(false);
    known.source.trouble =
        Some("ticker: connect to localhost:5432: connection refused (os error 111)".to_owned());
    known.source.age_seconds = Some(19.0);
    known
}
