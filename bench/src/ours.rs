//! This system, with its defaults: outbox-publisher and inbox-processor as processes, six NATS nodes, a
//! stream of three file replicas.

use crate::place::{Place, Zone};
use crate::service::Service;
use crate::system::System;
use anyhow::{Context, Result};
use shared::schema::{DEMO_ATTACH, DEMO_TABLES, Side, migrate};
use std::collections::BTreeMap;

const DATABASE: &str = "bench_ours";
const STREAM: &str = "BENCH";
const SUBJECT_PREFIX: &str = "bench";

pub(crate) struct Ours {
    place: Place,
    publisher: Service,
    processor: Service,
    generator: Option<Service>,
}

impl Ours {
    pub(crate) fn create(place: &Place) -> Result<Ours> {
        let mut source = place.create_database(Zone::A, DATABASE)?;
        migrate(&mut source, Side::Source)?;
        source.batch_execute(DEMO_TABLES).context("create the tables in A")?;
        source.batch_execute(DEMO_ATTACH).context("attach the tables")?;
        let mut target = place.create_database(Zone::B, DATABASE)?;
        target.batch_execute(DEMO_TABLES).context("create the tables in B")?;
        place.delete_stream(STREAM)?;
        let mut ours = Ours {
            publisher: service(place, "outbox-publisher", DATABASE, Zone::A),
            processor: service(place, "inbox-processor", DATABASE, Zone::B),
            generator: None,
            place: place.clone(),
        };
        ours.resume()?;
        ours.wait_until_ready()?;
        Ok(ours)
    }

    /// Starts the data-generator as well.
    pub(crate) fn start_generator(&mut self, interval_s: &str) -> Result<()> {
        let mut place = self.place.clone();
        place.service_settings.push(("GENERATION_INTERVAL".to_owned(), interval_s.to_owned()));
        let generator = self.generator.insert(service(&place, "data-generator", DATABASE, Zone::A));
        generator.start()?;
        generator.wait_until_healthy()
    }
}

fn service(place: &Place, binary: &str, database: &str, zone: Zone) -> Service {
    let nats = match zone {
        Zone::A => &place.nats_a,
        Zone::B => &place.nats_b,
    };
    let log = place.run_dir.join(format!("log/{binary}.log"));
    let health = place.run_dir.join(format!("{binary}.health")).display().to_string();
    let database_url = place.database_url(zone, database);
    let settings = [
        ("DATABASE_URL", database_url.as_str()),
        ("NATS_URL", nats),
        ("NATS_USER", binary),
        ("NATS_PASSWORD", &place.nats_password),
        ("NATS_SUBJECT_PREFIX", SUBJECT_PREFIX),
        ("NATS_STREAM", STREAM),
        ("HEALTH_FILE", &health),
        ("HTTP_ADDRESS", "off"),
        ("RUST_LOG", "info"),
    ];
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings: BTreeMap<_, _> = settings.chain(place.service_settings.iter().cloned()).collect();
    Service::new(place.services.join(binary), log, settings)
}

impl System for Ours {
    fn database(&self) -> &'static str {
        DATABASE
    }

    fn pause(&mut self) -> Result<()> {
        self.publisher.stop()?;
        self.processor.stop()
    }

    fn resume(&mut self) -> Result<()> {
        self.processor.start()?;
        self.publisher.start()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        self.processor.wait_until_healthy()?;
        self.publisher.wait_until_healthy()
    }

    fn processes(&self) -> Vec<(&'static str, u32)> {
        let of = |name, service: &Service| service.pid().map(|pid| (name, pid));
        let generator = self.generator.as_ref().and_then(|generator| of("data-generator", generator));
        let services =
            [of("outbox-publisher", &self.publisher), of("inbox-processor", &self.processor), generator];
        services.into_iter().flatten().collect()
    }

    fn remove(&mut self) -> Result<()> {
        if let Some(mut generator) = self.generator.take() {
            generator.stop()?;
        }
        self.pause()?;
        self.place.delete_stream(STREAM)?;
        self.place.drop_database(Zone::A, DATABASE)?;
        self.place.drop_database(Zone::B, DATABASE)
    }

    fn applies_with(&self, place: &Place) -> Result<String> {
        // The service raises it to "on" where the server has less, and never lowers it.
        let row = place.session(Zone::B, DATABASE)?.query_one("show synchronous_commit", &[])?;
        Ok(row.get(0))
    }
}
