//! One replication under load, what is done to it, and how long it takes to recover.

use super::catalog::{At, Fault, Means};
use super::field::{ALL_NODES, Field};
use super::judge::{judge, watch};
use super::load::{LEDGER, Told, WRITERS, write};
use super::report::Report;
use crate::harness::{Demo, Proxy, Replication, attach, audit_writes, make_in_both, meanwhile, wait_for};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// After each fault the reader must see so many states that it has not seen before: fewer prove too little.
const STATES_PER_FAULT: usize = 10;
const TOTAL: &str = "20000.00";

pub(super) struct Suite {
    field: &'static Field,
    replication: Replication,
    source_link: Vec<Proxy>,
    target_link: Vec<Proxy>,
    told: Arc<Told>,
    probes: i64,
    /// Distinct states that the reader has seen.
    states: Arc<AtomicUsize>,
    report: Report,
}

impl Suite {
    pub(super) fn start(name: &str) -> Suite {
        let field = Field::get();
        let mut replication = Replication::prepare(name, &[]);
        make_in_both(&replication, LEDGER);
        attach(&replication, &["public.ledger"]);
        let source_link = replication.publisher.proxy("DATABASE_URL");
        let target_link = replication.processor.proxy("DATABASE_URL");
        replication.start_services();
        Demo::add_users(&mut replication.source(), 20);
        replication.wait_until_caught_up();
        let mut target = replication.target();
        audit_writes(&mut target);
        target
            .batch_execute(
                "create trigger audit after insert or update or delete on ledger
                     for each row execute function audit_write();
                 alter table ledger enable always trigger audit",
            )
            .unwrap();
        Suite {
            field,
            replication,
            source_link,
            target_link,
            told: Arc::new(Told::nothing()),
            probes: 0,
            states: Arc::default(),
            report: Report::default(),
        }
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// Runs `body` while others write to the source and read the target.
    pub(super) fn under_load(&mut self, body: impl FnOnce(&mut Suite)) {
        let (source, target) = (self.replication.source_door(), self.replication.target_door());
        let (told, states) = (self.told.clone(), self.states.clone());
        meanwhile([watch(&target, TOTAL, &states)], || {
            let writers = (1..=WRITERS).map(|writer| write(&source, writer, &told));
            meanwhile(writers, || body(self));
            self.replication.wait_until_caught_up();
        });
        self.report.states = self.states.load(Ordering::Acquire);
    }

    /// One fault, until something that is committed after it has arrived.
    pub(super) fn survive(&mut self, fault: &Fault) {
        println!("{}, for {} ms", fault.kind.name, fault.hold.as_millis());
        self.begin(fault);
        if fault.lasts() {
            std::thread::sleep(fault.hold);
        }
        self.end(fault);
        let healed = Instant::now();
        let recovery = self.probe(healed);
        println!("  recovered after {:.1} s", recovery.as_secs_f64());
        self.report.add(fault.kind.name, recovery);
        let before = self.states.load(Ordering::Acquire);
        wait_for("the reader sees more states of the target", || {
            (self.states.load(Ordering::Acquire) >= before + STATES_PER_FAULT).then_some(())
        });
    }

    /// Fails unless all is well now that the load has ended.
    pub(super) fn judge(&mut self) {
        self.report.carried = Some(judge(&self.replication, &self.told));
    }

    fn begin(&mut self, fault: &Fault) {
        let Suite { field, replication, .. } = self;
        match (fault.kind.means, fault.kind.at) {
            (Means::Kill, At::Publisher) => replication.publisher.kill(),
            (Means::Kill, At::Processor) => replication.processor.kill(),
            (Means::Stop, At::Publisher) => assert_eq!(replication.publisher.stop().code(), Some(0)),
            (Means::Stop, At::Processor) => assert_eq!(replication.processor.stop().code(), Some(0)),
            (Means::Freeze, At::Publisher) => replication.publisher.freeze(),
            (Means::Freeze, At::Processor) => replication.processor.freeze(),
            (Means::Kill, _) => field.kill(servers(fault)),
            (Means::Stop, _) => field.stop(servers(fault)),
            (Means::Freeze, _) => field.freeze(servers(fault)),
            (Means::Wipe, _) => {
                field.kill(servers(fault));
                field.wipe(servers(fault));
            }
            (Means::Cut, _) => self.link(fault).iter().for_each(Proxy::cut),
            (Means::BlackHole, _) => self.link(fault).iter().for_each(Proxy::black_hole),
            (Means::Purge, _) => replication.purge_stream(),
            (Means::Delete, _) => replication.delete_stream(),
        }
    }

    fn end(&mut self, fault: &Fault) {
        let Suite { field, replication, .. } = self;
        match (fault.kind.means, fault.kind.at) {
            (Means::Kill | Means::Stop, At::Publisher) => replication.publisher.start(),
            (Means::Kill | Means::Stop, At::Processor) => replication.processor.start(),
            (Means::Freeze, At::Publisher) => replication.publisher.thaw(),
            (Means::Freeze, At::Processor) => replication.processor.thaw(),
            (Means::Kill | Means::Stop | Means::Wipe, _) => field.start(servers(fault)),
            (Means::Freeze, _) => field.thaw(servers(fault)),
            (Means::BlackHole, _) => self.link(fault).iter().for_each(Proxy::heal),
            (Means::Cut | Means::Purge | Means::Delete, _) => {}
        }
    }

    fn link(&self, fault: &Fault) -> &[Proxy] {
        match fault.kind.at {
            At::Gateway => self.field.gateways(),
            At::SourceLink => &self.source_link,
            At::TargetLink => &self.target_link,
            at => panic!("{at:?} is no link"),
        }
    }

    /// Commits something at the source and waits until it is there at the target; how long after `healed`.
    fn probe(&mut self, healed: Instant) -> Duration {
        self.probes += 1;
        let (source, target, probe) =
            (self.replication.source_door(), self.replication.target_door(), self.probes);
        wait_for("the source takes a commit", || {
            let sql = "insert into ledger (writer, n, seen) values (0, $1, '{}') on conflict do nothing";
            source.connect()?.execute(sql, &[&probe]).ok()
        });
        let mut client = None;
        wait_for("a commit made after the fault is in the target", || {
            let reader = client.take().or_else(|| target.connect())?;
            let reader = client.insert(reader);
            let found = reader.query_opt("select from ledger where writer = 0 and n = $1", &[&probe]);
            if found.is_err() {
                client = None;
            }
            found.ok().flatten().map(|_| healed.elapsed())
        })
    }
}

fn servers(fault: &Fault) -> &'static [&'static str] {
    match fault.kind.at {
        At::Servers(servers) => servers,
        At::OneNode => std::slice::from_ref(&ALL_NODES[fault.node]),
        at => panic!("{at:?} is no server"),
    }
}
