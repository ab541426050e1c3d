//! What the services show over HTTP: metrics as docs/monitoring.md lists them, probes, and no harm by whoever asks.

mod documented;
mod flood;

use crate::harness::{
    Demo, Proxy, Replication, Shown, add_user, wait_for, wait_until_blocked, wait_until_published,
};
use documented::{documented, printed};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::RangeBounds;

/// Names that dashboards and alerts rely on, here and elsewhere: none of them goes or is renamed.
const PROMISED: [(&str, &str); 3] = [
    (
        "all",
        "build_info ready thread_healthy database_connected database_reconnects_total process_cpu_seconds_total
         process_resident_memory_bytes process_open_fds process_threads process_start_time_seconds",
    ),
    (
        "publisher",
        "leader queue_depth queue_capacity nats_connected nats_reconnects_total tick lag_seconds lag_events lag_ticks
         published_events_total published_batches_total published_bytes_total published_transactions_total
         resent_events_total publish_failures_total publish_ack_seconds outbox_events outbox_bytes
         outbox_growth_bytes_per_second outbox_oldest_unconfirmed_timestamp_seconds disk_free_seconds
         oldest_transaction_age_seconds capture_problems timeline_gate_closed foreign_targets_seen_total
         target_heard_timestamp_seconds verified_timestamp_seconds differing_rows paused",
    ),
    (
        "processor",
        "leader queue_depth queue_capacity nats_connected nats_reconnects_total tick lag_seconds lag_events lag_ticks
         latency_seconds received_batches_total applied_events_total applied_ticks_total applied_transactions_total
         apply_seconds apply_group_events slow_path_total held held_since_timestamp_seconds hold_attempts_total
         drift_total skipped_transactions_total quarantined_messages_total quarantine_unseen inbox_bytes
         clock_skew_seconds source_heard_timestamp_seconds paused",
    ),
];

/// The value of a series; none where it is not shown.
fn value(shown: Shown, series: &str) -> Option<f64> {
    let (status, text) = shown.get("/metrics");
    assert_eq!(status, 200, "{text}");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("replication_")?.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

/// Waits until a series is shown with a value within these bounds.
fn wait_until(shown: Shown, series: &str, within: impl RangeBounds<f64> + Debug) {
    wait_for(&format!("{series} is within {within:?}"), || {
        value(shown, series).filter(|seen| within.contains(seen))
    });
}

#[test]
fn each_metric_is_documented_and_each_documented_one_is_there_after_a_run_with_faults() {
    let settings = [("OUTBOX_DISK_BYTES", "1000000000"), ("VERIFY_INTERVAL", "0.5")];
    let mut replication = Replication::prepare("metrics", &settings);
    let shown = [
        ("publisher", replication.publisher.show()),
        ("processor", replication.processor.show()),
        ("generator", replication.generator.show()),
    ];
    let [(_, publisher), (_, processor), _] = shown;
    replication.start_services();
    Demo::add_users(&mut replication.source(), 3);
    replication.wait_until_caught_up();
    let verified = printed_once_verified(publisher);
    lose_a_message(&mut replication, publisher);
    send_garbage(&replication, processor);
    drift(&replication, processor);
    block(&replication, publisher, processor);
    replication.generator.start();
    replication.generator.wait_until_healthy();
    assert_documented(&shown, verified);
    replication.generator.kill();
    unblock(&replication, publisher, processor);
}

/// What the publisher shows while tables are known to be equal; later that is not known.
fn printed_once_verified(publisher: Shown) -> BTreeMap<documented::Name, documented::Metric> {
    wait_for("a table is verified", || {
        let (_, text) = publisher.get("/metrics");
        let is_verified = ["replication_differing_rows{", "replication_verified_timestamp_seconds{"]
            .iter()
            .all(|series| text.contains(series));
        is_verified.then(|| printed("publisher", &text))
    })
}

/// Another one than `lost@x` never comes, so the target is idle.
fn lose_a_message(replication: &mut Replication, publisher: Shown) {
    let mut source = replication.source();
    replication.processor.kill();
    add_user(&mut source, "lost@x");
    wait_until_published(&mut source);
    replication.purge_stream();
    replication.processor.start();
    replication.wait_until_caught_up();
    wait_until(publisher, "resent_events_total{reason=\"idle\"}", 1.0..);
}

fn send_garbage(replication: &Replication, processor: Shown) {
    let subject = shared::wire::events_subject(replication.name());
    replication.nats_b().publish(&subject, None, b"garbage".to_vec()).unwrap();
    wait_until(processor, "quarantine_unseen", 1.0..=1.0);
    wait_until(processor, "received_batches_total{outcome=\"undecodable\"}", 1.0..=1.0);
}

/// Somebody deletes in the target what the source deletes then.
fn drift(replication: &Replication, processor: Shown) {
    let delete = "delete from users where email = 'lost@x'";
    replication.target().batch_execute(delete).unwrap();
    replication.source().batch_execute(delete).unwrap();
    wait_until(processor, "drift_total{kind=\"deletes_missing\"}", 1.0..=1.0);
}

fn block(replication: &Replication, publisher: Shown, processor: Shown) {
    let mut target = replication.target();
    target.batch_execute("alter table users add constraint no_bad check (email <> 'bad@x')").unwrap();
    add_user(&mut replication.source(), "bad@x");
    wait_until_blocked(&mut target);
    wait_until(processor, "held", 1.0..=1.0);
    wait_until(processor, "held_since_timestamp_seconds", 1e-6..);
    wait_until(processor, "hold_attempts_total", 1.0..);
    wait_until(processor, "lag_seconds{stage=\"total\"}", 1e-6..);
    wait_until(publisher, "lag_seconds{stage=\"total\"}", 1e-6..);
    wait_until(publisher, "outbox_events{state=\"unconfirmed\"}", 1.0..);
    wait_until(publisher, "capture_problems", 0.0..=0.0);
}

fn unblock(replication: &Replication, publisher: Shown, processor: Shown) {
    replication.target().batch_execute("alter table users drop constraint no_bad").unwrap();
    replication.wait_until_caught_up();
    wait_until(processor, "held", 0.0..=0.0);
    wait_for("nothing is said of since when it is blocked", || {
        value(processor, "held_since_timestamp_seconds").is_none().then_some(())
    });
    wait_until(publisher, "lag_seconds{stage=\"total\"}", 0.0..=0.0);
    wait_until(processor, "lag_seconds{stage=\"total\"}", 0.0..=0.0);
}

/// What is printed is documented, and what is documented is printed, now or `before`, and so is what was promised.
fn assert_documented(shown: &[(&str, Shown)], before: BTreeMap<documented::Name, documented::Metric>) {
    let documented = documented();
    let now = shown.iter().flat_map(|(of, shown)| printed(of, &shown.get("/metrics").1));
    let printed: BTreeMap<_, _> = before.into_iter().chain(now).collect();
    let undocumented: Vec<_> = printed.keys().filter(|name| !documented.contains_key(*name)).collect();
    assert!(undocumented.is_empty(), "docs/monitoring.md does not have {undocumented:?}");
    for (name, metric) in &documented {
        let printed = printed.get(name);
        let printed =
            printed.unwrap_or_else(|| panic!("docs/monitoring.md has {name:?}, which is not printed"));
        metric.assert_is(printed, name);
    }
    for (of, names) in PROMISED {
        let services = if of == "all" { vec!["publisher", "processor", "generator"] } else { vec![of] };
        for (of, name) in services.iter().flat_map(|of| names.split_whitespace().map(move |name| (of, name)))
        {
            let is_there = documented.contains_key(&((*of).to_owned(), name.to_owned()));
            assert!(is_there, "{name} of {of} is promised");
        }
    }
}

/// Waits until `/readyz` answers so, with this in its text; `/livez` says all the time that the process is alive.
fn wait_until_ready(shown: Shown, status: u16, text: &str) {
    let mut last = String::new();
    wait_for(&format!("/readyz answers {status} with {text:?}"), || {
        assert_eq!(shown.get("/livez"), (200, "alive\n".to_owned()));
        let (answered, lines) = shown.get("/readyz");
        if lines != last {
            println!("/readyz: {answered} {}", lines.trim_end());
            last.clone_from(&lines);
        }
        (answered == status && lines.contains(text)).then_some(())
    });
    let ready = f64::from(u8::from(status == 200));
    wait_until(shown, "ready", ready..=ready);
}

fn flat(proxies: Vec<Vec<Proxy>>) -> Vec<Proxy> {
    proxies.into_iter().flatten().collect()
}

/// From now on nothing gets through, neither by connections that are open nor by new ones.
fn close(proxies: &[Proxy]) {
    proxies.iter().for_each(Proxy::black_hole);
    proxies.iter().for_each(Proxy::cut);
}

#[test]
fn a_service_is_ready_or_stands_by_or_says_what_is_in_the_way_and_is_alive_without_its_servers() {
    let mut replication = Replication::prepare("readiness", &[]);
    let shown = [replication.publisher.show(), replication.processor.show()];
    let [publisher, processor] = shown;
    let services = [&mut replication.publisher, &mut replication.processor];
    let (nats, databases): (Vec<_>, Vec<_>) = services
        .into_iter()
        .map(|service| (service.proxy("NATS_URL"), service.proxy("DATABASE_URL")))
        .unzip();
    let (nats, databases) = (flat(nats), flat(databases));
    replication.start_services();
    for shown in shown {
        wait_until_ready(shown, 200, "ready\n");
        assert_eq!(value(shown, "leader"), Some(1.0));
    }
    for service in [&replication.publisher, &replication.processor] {
        let mut twin = service.twin();
        let shown = twin.show();
        twin.start();
        twin.wait_until_healthy();
        wait_until_ready(shown, 200, "standby\n");
        assert_eq!(value(shown, "leader"), Some(0.0));
        assert_eq!(value(shown, "lag_seconds{stage=\"total\"}"), None, "a standby does not know");
    }

    let (mut source, mut target) = (replication.source(), replication.target());
    target.batch_execute("alter table users rename to users_elsewhere").unwrap();
    add_user(&mut source, "1@x");
    wait_until_ready(processor, 503, "applying: apply is blocked: ");
    wait_until_ready(publisher, 200, "ready\n");
    target.batch_execute("alter table users_elsewhere rename to users").unwrap();
    wait_until_ready(processor, 200, "ready\n");

    close(&nats);
    wait_until_ready(publisher, 503, "publishing: ");
    wait_until_ready(processor, 503, "puller: ");
    for shown in shown {
        wait_until(shown, "nats_connected", 0.0..=0.0);
        assert_eq!(value(shown, "database_connected"), Some(1.0));
    }
    close(&databases);
    wait_until_ready(publisher, 503, "ticker: ");
    wait_until_ready(processor, 503, "applying: ");
    for shown in shown {
        wait_until(shown, "database_connected", 0.0..=0.0);
        assert_eq!(value(shown, "leader"), Some(0.0));
    }
    nats.iter().chain(&databases).for_each(Proxy::heal);
    add_user(&mut source, "2@x");
    replication.wait_until_caught_up();
    for shown in shown {
        wait_until_ready(shown, 200, "ready\n");
        wait_until(shown, "database_reconnects_total", 1.0..);
        wait_until(shown, "nats_reconnects_total", 1.0..);
    }
}
