use super::fixtures::{Known, known};
use super::*;

/// A change of what is known, and what is thought then.
type Case = (&'static str, fn(&mut Known), State, &'static str, &'static str);

fn a(known: &mut Known) -> &mut SourceFigures {
    known.source.figures.as_mut().unwrap()
}

fn b(known: &mut Known) -> &mut TargetFigures {
    known.target.figures.as_mut().unwrap()
}

/// 12,000 events wait, and the oldest is `age_s` old.
fn wait(known: &mut Known, age_s: u64) {
    a(known).unconfirmed_events = Some(12_000);
    a(known).total_ms = Some(age_s * 1000);
    known.behind_seconds = Some(std::time::Duration::from_secs(age_s).as_secs_f64());
}

fn pace(known: &mut Known, captured: f64, applied: f64) {
    known.pace.captured_per_second = Some(captured);
    known.pace.applied_per_second = Some(applied);
}

const CASES: &[Case] = &[
    ("all is well", |_| {}, State::Following, "● 0.40 s", "B shows A as of 14:03:07.812 UTC (0.40 s ago)"),
    (
        "little waits",
        |known| wait(known, 1),
        State::Following,
        "● 1.0 s",
        "B shows A as of 14:03:07.812 UTC (1.0 s ago)",
    ),
    (
        "nothing changes in A",
        |known| a(known).last_change_at = Some("2026-11-30T13:58:02Z".parse().unwrap()),
        State::Quiet,
        "● 0.40 s",
        "no changes in A since 13:58:02 UTC; B shows A as of 14:03:07.812 UTC (0.40 s ago)",
    ),
    (
        "nothing changed since yesterday",
        |known| a(known).last_change_at = Some("2026-11-29T13:58:02Z".parse().unwrap()),
        State::Quiet,
        "● 0.40 s",
        "no changes in A since 2026-11-29 13:58:02 UTC; B shows A as of 14:03:07.812 UTC (0.40 s ago)",
    ),
    (
        "an old event waits: A is not quiet",
        |known| {
            a(known).last_change_at = Some("2026-11-30T13:58:02Z".parse().unwrap());
            wait(known, 2);
        },
        State::Following,
        "● 2.0 s",
        "B shows A as of 14:03:07.812 UTC (2.0 s ago)",
    ),
    (
        "it works, and A loses changes",
        |known| known.source.trouble = Some("audit: public.users: its trigger is missing".to_owned()),
        State::Following,
        "● 0.40 s, 1 needs you",
        "B shows A as of 14:03:07.812 UTC (0.40 s ago); 1 needs you",
    ),
    (
        "nothing was ever captured",
        |known| {
            a(known).taken_tick = Some(0);
            known.behind_seconds = None;
        },
        State::Quiet,
        "● QUIET",
        "nothing was captured in A yet",
    ),
    (
        "B gains",
        |known| {
            wait(known, 34);
            pace(known, 50.0, 155.0);
        },
        State::CatchingUp,
        "▲ 34 s",
        "B shows A as of 34 s ago; gains 3.1×, about 114 s left",
    ),
    (
        "B gains, and A writes nothing more",
        |known| {
            wait(known, 34);
            pace(known, 0.0, 2000.0);
        },
        State::CatchingUp,
        "▲ 34 s",
        "B shows A as of 34 s ago; applies 2,000 events/s, about 6.0 s left",
    ),
    (
        "how fast is not known yet",
        |known| wait(known, 34),
        State::CatchingUp,
        "▲ 34 s",
        "B shows A as of 34 s ago",
    ),
    (
        "B loses",
        |known| {
            wait(known, 34);
            pace(known, 1204.0, 800.0);
        },
        State::FallingBehind,
        "▼ 34 s",
        "B shows A as of 34 s ago; A writes 1,204 events/s, B applies 800",
    ),
    (
        "nothing moves",
        |known| {
            wait(known, 34);
            known.pace.still_seconds = 15.0;
        },
        State::Stalled,
        "■ STALLED",
        "12,000 events wait, and B has not moved for 15 s",
    ),
    (
        "nothing moves, since nothing waits",
        |known| known.pace.still_seconds = 1000.0,
        State::Following,
        "● 0.40 s",
        "B shows A as of 14:03:07.812 UTC (0.40 s ago)",
    ),
    (
        "B refuses a row",
        |known| {
            wait(known, 34);
            known.hold_target();
        },
        State::Held,
        "■ HELD",
        "B refuses the row (42) of public.users since 14:02:11 UTC; later transactions wait",
    ),
    (
        "A cannot send a row",
        |known| a(known).held = Some(Held::of(None, "too large", None, None)),
        State::Held,
        "■ HELD",
        "A cannot send a change; later transactions wait",
    ),
    (
        "applying is paused",
        |known| {
            let since = "2026-11-30T14:00:00Z".parse().ok();
            b(known).paused = Some(Paused { since, why: Some("maintenance".to_owned()) });
        },
        State::Paused,
        "‖ PAUSED",
        "an operator has paused applying since 14:00:00 UTC: maintenance",
    ),
    (
        "publishing is paused",
        |known| a(known).paused = Some(Paused::default()),
        State::Paused,
        "‖ PAUSED",
        "an operator has paused publishing",
    ),
    (
        "a pause is no excuse for what is held",
        |known| {
            b(known).paused = Some(Paused::default());
            known.hold_target();
        },
        State::Held,
        "■ HELD",
        "B refuses the row (42) of public.users since 14:02:11 UTC; later transactions wait",
    ),
    (
        "the other side is silent",
        |known| known.target.age_seconds = Some(7.4),
        State::Unknown,
        "? UNKNOWN",
        "no word from B for 7 s, last heard 14:03:08 UTC",
    ),
    (
        "what was held when it was last heard may be mended",
        |known| {
            known.hold_target();
            known.target.age_seconds = Some(7.4);
        },
        State::Unknown,
        "? UNKNOWN",
        "no word from B for 7 s, last heard 14:03:08 UTC",
    ),
    (
        "the other side's message is late",
        |known| known.target.age_seconds = Some(1.9),
        State::Following,
        "● 0.40 s",
        "B shows A as of 14:03:07.812 UTC (0.40 s ago)",
    ),
    (
        "the other side was never heard",
        |known| known.target = Half::default(),
        State::Unknown,
        "? UNKNOWN",
        "nothing was heard of B yet",
    ),
    (
        "the other side is too old to say it",
        |known| known.target.figures = None,
        State::Unknown,
        "? UNKNOWN",
        "B does not say how far it is: its service is of an older version",
    ),
    (
        "the own database hangs",
        |known| known.source.age_seconds = Some(16.2),
        State::Unknown,
        "? UNKNOWN",
        "PostgreSQL A has not answered for 16 s, the last time at 14:03:08 UTC",
    ),
    (
        "the own side is not looked at",
        |known| {
            known.source =
                Half { is_own: true, unknown_because: Some("it stands by".to_owned()), ..Half::default() };
        },
        State::Unknown,
        "? UNKNOWN",
        "nothing is known of A: it stands by",
    ),
    (
        "as of when is not known",
        |known| known.behind_seconds = None,
        State::Unknown,
        "? UNKNOWN",
        "B does not say as of when it shows A",
    ),
    (
        "the own database cannot be reached",
        |known| {
            known.source.database_connected = Some(false);
            known.source.age_seconds = Some(19.0);
        },
        State::Stalled,
        "■ STALLED",
        "outbox-publisher cannot reach PostgreSQL A",
    ),
    (
        "the own cluster cannot be reached",
        |known| known.source.nats_connected = Some(false),
        State::Stalled,
        "■ STALLED",
        "outbox-publisher cannot reach NATS A",
    ),
];

#[test]
fn every_verdict() {
    for (name, change, state, title, sentence) in CASES {
        let mut known = known();
        change(&mut known);
        let verdict = known.facts().judge();
        assert_eq!((verdict.state, verdict.title.as_str()), (*state, *title), "{name}");
        assert_eq!(verdict.sentence, *sentence, "{name}");
        assert_eq!((verdict.mark.as_str(), verdict.word.as_str()), (state.mark(), state.word()));
    }
    for state in
        [State::Following, State::Quiet, State::CatchingUp, State::FallingBehind, State::Paused, State::Held]
    {
        assert!(CASES.iter().any(|case| case.2 == state), "{state:?} has no case");
    }
}

#[test]
fn states_that_differ_in_what_to_do_differ_in_their_shape() {
    let marks = [
        State::Following,
        State::CatchingUp,
        State::FallingBehind,
        State::Paused,
        State::Held,
        State::Unknown,
    ]
    .map(State::mark);
    let distinct: std::collections::HashSet<&str> = marks.into_iter().collect();
    assert_eq!(distinct.len(), marks.len());
}
