//! Leader and standby: a standby takes over when the leader stops, dies or hangs.

use crate::harness::{
    Demo, Replication, Service, applied_tick, assert_equal, assert_nothing_applied_twice, audit_writes,
    meanwhile, start_pooler, wait_for, wait_for_health,
};
use postgres::{Client, NoTls};
use std::time::{Duration, Instant};

/// A standby has taken over within this time.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(5);

/// What a service says when it begins to lead.
const LEADS: &str = "this is the p";

fn stand_by(service: &Service) -> Service {
    let mut twin = service.twin();
    twin.start();
    wait_for("it stands by", || twin.log().contains("standing by to take over").then_some(()));
    twin
}

/// How often any of these has begun to lead.
pub(crate) fn takeovers(services: &[&Service]) -> usize {
    services.iter().map(|service| service.log().matches(LEADS).count()).sum()
}

/// Waits until one of these has taken over since `before` was counted.
fn wait_for_takeover(services: &[&Service], before: usize, begun: Instant) {
    wait_for("one of them takes over", || (takeovers(services) > before).then_some(()));
    let took = begun.elapsed();
    println!("taken over after {:.1} s", took.as_secs_f32());
    assert!(took < TAKEN_OVER_WITHIN, "taken over after {took:?}");
}

/// Ends the session that holds the lock of the database's leader; its other connections stay.
pub(crate) fn end_leading_session(client: &mut Client) {
    let ended = client
        .query(
            "select pg_terminate_backend(pid) from pg_locks
             where locktype = 'advisory' and granted
               and database = (select oid from pg_database where datname = current_database())",
            &[],
        )
        .unwrap();
    assert_eq!(ended.len(), 1, "one session leads");
}

fn port_of(client: &mut Client) -> i32 {
    client.query_one("select inet_server_port()", &[]).unwrap().get(0)
}

/// Anybody who may connect can take an advisory lock.
#[test]
fn whoever_holds_the_lock_and_is_no_service_is_named_with_what_to_run() {
    let mut replication = Replication::prepare("stranger", &[]);
    let role = "do $$begin create role nobody_of_ours login password 'password'; exception when duplicate_object then null; end$$";
    let _held: Vec<Client> = [(replication.source(), "2"), (replication.target(), "3")]
        .into_iter()
        .map(|(mut owner, number)| {
            owner.batch_execute(role).unwrap();
            let port = port_of(&mut owner);
            let database: String = owner.query_one("select current_database()::text", &[]).unwrap().get(0);
            let url = format!("postgres://nobody_of_ours:password@127.0.0.1:{port}/{database}");
            let mut stranger = Client::connect(&url, NoTls).unwrap();
            // Also where it calls itself what a service does.
            stranger
                .batch_execute("set application_name = 'outbox-publisher'; set statement_timeout = '60s'")
                .unwrap();
            let lock = format!("select pg_try_advisory_lock(x'7265706c000{number}'::bigint)");
            assert!(
                stranger.query_one(&lock, &[]).unwrap().get::<_, bool>(0),
                "somebody else holds {number}"
            );
            stranger
        })
        .collect();
    replication.publisher.start();
    replication.processor.start();
    for (service, database) in
        [(&replication.publisher, replication.source()), (&replication.processor, replication.target())]
    {
        wait_for_health(service, "the role nobody_of_ours (pid ");
        let health = service.health();
        let (_, remedy) = health.split_once("as its role or a superuser: ").unwrap();
        let mut database = database;
        database.batch_execute(remedy.split_inclusive(';').next().unwrap()).unwrap();
    }
    replication.processor.wait_until_healthy();
    replication.publisher.wait_until_healthy();
    replication.wait_until_caught_up();
    let twin = stand_by(&replication.publisher);
    twin.wait_until_healthy();
}

#[test]
fn a_second_publisher_and_a_second_processor_stand_by_and_take_over() {
    let mut replication = Replication::start("standby");
    let mut source = replication.source();
    let (mut publisher, mut processor) = (stand_by(&replication.publisher), stand_by(&replication.processor));
    let begun = Instant::now();
    replication.publisher.kill();
    replication.processor.kill();
    source.execute("insert into users (name, email) values ('N', '1@x')", &[]).unwrap();
    for standby in [&publisher, &processor] {
        wait_for_takeover(&[standby], 0, begun);
    }
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 0));
    for leader in [&mut publisher, &mut processor] {
        assert_eq!(leader.stop().code(), Some(0));
    }
}

#[test]
fn a_leader_whose_connections_are_cut_leads_again_or_is_followed() {
    let mut replication = Replication::prepare("cut", &[]);
    let proxies = [&mut replication.publisher, &mut replication.processor]
        .map(|service| service.proxy("DATABASE_URL").remove(0));
    replication.processor.start();
    replication.publisher.start();
    replication.processor.wait_until_healthy();
    replication.publisher.wait_until_healthy();
    let (publisher, processor) = (stand_by(&replication.publisher), stand_by(&replication.processor));
    for (number, proxy) in proxies.iter().enumerate() {
        let pairs = [[&replication.publisher, &publisher], [&replication.processor, &processor]];
        let (before, begun) = (takeovers(&pairs[number]), Instant::now());
        proxy.cut();
        wait_for_takeover(&pairs[number], before, begun);
    }
    Demo::add_users(&mut replication.source(), 3);
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (3, 3));
}

#[test]
fn a_processor_killed_in_the_midst_of_a_statement_is_followed_at_once() {
    let mut replication = Replication::start("killed_in_statement");
    let (mut locker, mut target) = (replication.target(), replication.target());
    let processor = stand_by(&replication.processor);
    let mut lock = locker.transaction().unwrap();
    lock.batch_execute("lock table users in exclusive mode").unwrap();
    Demo::add_users(&mut replication.source(), 1);
    let waits = "select from pg_stat_activity where datname = current_database()
                 and application_name = 'inbox-processor' and wait_event_type = 'Lock' and wait_event = 'relation'";
    wait_for("its statement waits for the table", || target.query_opt(waits, &[]).unwrap());
    let begun = Instant::now();
    replication.processor.kill();
    wait_for_takeover(&[&processor], 0, begun);
    lock.commit().unwrap();
    replication.wait_until_caught_up();
    assert_eq!(assert_equal(&replication), (1, 1));
}

/// Notes every step back of the publisher's progress.
fn audit_progress(source: &mut Client) {
    source
        .batch_execute(
            "create table steps_back (was replication.progress, became replication.progress);
             create function note_step_back() returns trigger language plpgsql as $$
             begin
                 insert into steps_back select old, new;
                 return null;
             end $$;
             create trigger note after update on replication.progress for each row
                 when (new.published_tick < old.published_tick or new.confirmed_tick < old.confirmed_tick)
                 execute function note_step_back();",
        )
        .unwrap();
}

#[test]
fn leaders_that_were_stopped_and_wake_up_after_a_takeover_do_no_harm() {
    let replication = Replication::start("zombies");
    let (mut source, mut target) = (replication.source(), replication.target());
    let demo = Demo::add_users(&mut source, 20);
    replication.wait_until_caught_up();
    audit_writes(&mut target);
    audit_progress(&mut source);
    let (publisher, processor) = (stand_by(&replication.publisher), stand_by(&replication.processor));
    let pairs = [[&replication.publisher, &publisher], [&replication.processor, &processor]];
    let mut writer = replication.source();
    meanwhile([|| demo.move_money(&mut writer)], || {
        // In turn, so that each is once the one that wakes up.
        for round in 0..2 {
            let stopped = pairs.map(|pair| pair[round]);
            let so_far = applied_tick(&mut target);
            wait_for("they are at work", || (applied_tick(&mut target) > so_far + 20).then_some(()));
            let before = pairs.map(|pair| takeovers(&pair));
            stopped.into_iter().for_each(Service::freeze);
            let begun = Instant::now();
            end_leading_session(&mut source);
            end_leading_session(&mut target);
            for (pair, before) in pairs.iter().zip(before) {
                wait_for_takeover(pair, before, begun);
            }
            let so_far = applied_tick(&mut target);
            wait_for("the others are at work", || (applied_tick(&mut target) > so_far + 20).then_some(()));
            let standing_by = stopped.map(|service| service.log().matches("standing by").count());
            stopped.into_iter().for_each(Service::thaw);
            for (service, before) in stopped.iter().zip(standing_by) {
                wait_for("it stands by", || {
                    (service.log().matches("standing by").count() > before).then_some(())
                });
            }
        }
    });
    replication.wait_until_caught_up();
    assert_equal(&replication);
    assert_nothing_applied_twice(&mut target);
    let steps_back = source.query("select was::text, became::text from steps_back", &[]).unwrap();
    let steps_back: Vec<(&str, &str)> = steps_back.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(steps_back.is_empty(), "the progress went back: {steps_back:?}");
    for service in pairs.iter().flatten() {
        assert!(!service.log().contains("ERROR"), "{}", service.log());
    }
}

#[test]
fn a_pooler_that_has_no_sessions_is_refused() {
    let mut replication = Replication::prepare("pooler", &[]);
    for round_robin in [false, true] {
        let url = format!("postgres://postgres@127.0.0.1:{}/transactions", start_pooler(round_robin));
        for service in [&mut replication.publisher, &mut replication.processor] {
            service.set("DATABASE_URL", &url);
            service.start();
            assert_eq!(service.wait_for_end().code(), Some(1));
            let log = service.log();
            let refused = "DATABASE_URL leads through a connection pooler that has no sessions";
            let times = 1 + usize::from(round_robin);
            assert_eq!(log.matches(refused).count(), times, "{log}");
        }
    }
    replication.without_stream();
}
