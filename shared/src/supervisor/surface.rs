//! What a service shows of itself over HTTP: probes, metrics, and the page.

use super::health::Health;
use super::threads::{Supervisor, Turn};
use crate::config::Environment;
use crate::http::{Answer, Site, serve};
use crate::metrics::{self, Labelled, Reading, Readings, Registry, single};
use crate::status::{Board, Own, PAGE, page_headers};
use anyhow::{Result, ensure};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A supervisor whose loop has not turned for so long hangs.
const TURNED_WITHIN: Duration = Duration::from_secs(5);

/// The board keeps a sample of each second.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// What a service says of itself beyond the health of its threads.
pub struct Surface {
    /// The metrics of this service.
    pub registry: Registry,
    /// Whether this process is the one that works, and not a standby; none where there are no others.
    pub leads: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    /// What keeps it from being ready, although each thread does its work.
    pub hindrance: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// What is known of both sides, for the page; none of a service that is of neither.
    pub board: Option<Arc<Board>>,
    /// More paths.
    pub site: Site,
}

impl Surface {
    /// Nothing beyond the threads' health, and the names under which it is reached.
    pub fn new(environment: &Environment, service: &'static str, has_nats: bool) -> Result<Surface> {
        let names = environment.optional("HTTP_HOSTS").unwrap_or_default();
        let names =
            names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(Surface {
            registry: metrics::registry(service, has_nats),
            leads: None,
            hindrance: Box::new(|| None),
            board: None,
            site: Site::named(names),
        })
    }
}

impl Supervisor {
    /// Serves `surface` at `HTTP_ADDRESS`, or at `default_address` where that is not set; nothing where it is `off`.
    pub fn show(&mut self, environment: &Environment, default_address: &str, surface: Surface) -> Result<()> {
        let address = environment.optional("HTTP_ADDRESS").unwrap_or(default_address);
        if address == "off" {
            return Ok(());
        }
        ensure!(
            address.parse::<SocketAddr>().is_ok(),
            "HTTP_ADDRESS={address} is not allowed: it takes an address with a port, such as {default_address}, or off"
        );
        let Surface { mut registry, leads, hindrance, board, mut site } = surface;
        let (health, turn) = (self.health().clone(), self.turn().clone());
        let ready = Ready { health: health.clone(), leads: leads.clone(), hindrance: hindrance.into() };
        if let Some((board, leads)) = board.zip(leads.clone()) {
            self.show_page(&mut site, board, leads)?;
        }
        registry.register_collector(Box::new(own_readings(health, leads, ready.clone())));
        let process = metrics::process();
        for path in ["/livez", "/healthz"] {
            let turn = turn.clone();
            site.add(path, move || live(&turn));
        }
        site.add("/readyz", move || ready.answer());
        site.add("/metrics", move || metrics::scrape(&[&registry, &process]));
        serve(self, address, site)
    }
}

impl Supervisor {
    /// Adds the page and its document to `site`, and keeps them up to date.
    fn show_page(
        &mut self,
        site: &mut Site,
        board: Arc<Board>,
        leads: Arc<dyn Fn() -> bool + Send + Sync>,
    ) -> Result<()> {
        site.add("/", || Answer::ok("text/html; charset=utf-8", PAGE).with_headers(page_headers()));
        let shown = board.clone();
        site.add("/status.json", move || match serde_json::to_string(&shown.document()) {
            Ok(json) => Answer::ok("application/json", json),
            Err(error) => Answer::probe(false, format!("the status cannot be written: {error}\n")),
        });
        self.spawn("status", move |context| {
            context.healthy();
            while !context.stop().wait(SAMPLE_INTERVAL) {
                board.note_own(Own {
                    trouble: context.service_trouble(),
                    leads: leads(),
                    database_connected: metrics::is_database_connected(),
                    nats_connected: metrics::is_nats_connected(),
                });
                board.sample();
            }
            Ok(())
        })
    }
}

fn live(turn: &Turn) -> Answer {
    let since = turn.elapsed();
    if since < TURNED_WITHIN {
        Answer::probe(true, "alive\n".to_owned())
    } else {
        Answer::probe(false, format!("the supervisor has hung for {} s\n", since.as_secs()))
    }
}

/// Whether this process can do its work, or take over from the one that does.
#[derive(Clone)]
struct Ready {
    health: Health,
    leads: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    hindrance: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

impl Ready {
    /// What is in the way, a line for each.
    fn hindrances(&self) -> Vec<String> {
        let threads = self.health.threads().into_iter();
        let troubles = threads.filter_map(|(thread, trouble)| Some(format!("{thread}: {}", trouble?)));
        troubles.chain((self.hindrance)()).collect()
    }

    fn answer(&self) -> Answer {
        let hindrances = self.hindrances();
        if !hindrances.is_empty() {
            return Answer::probe(
                false,
                hindrances.iter().fold(String::new(), |mut lines, line| {
                    let _ = writeln!(lines, "{line}");
                    lines
                }),
            );
        }
        let stands_by = self.leads.as_ref().is_some_and(|leads| !leads());
        Answer::probe(true, if stands_by { "standby\n" } else { "ready\n" }.to_owned())
    }
}

fn own_readings(
    health: Health,
    leads: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    ready: Ready,
) -> Readings {
    let mut readings = vec![
        Reading::gauge("ready", "1 while this process does its work, or could take over", &[], move || {
            single(Some(truth(ready.hindrances().is_empty())))
        }),
        Reading::gauge("thread_healthy", "1 while the thread does its work", &["thread"], move || {
            let threads = health.threads().into_iter();
            threads
                .map(|(thread, trouble)| -> Labelled { (vec![thread], truth(trouble.is_none())) })
                .collect()
        }),
    ];
    if let Some(leads) = leads {
        readings.push(Reading::gauge(
            "leader",
            "1 while this process is the one that works, 0 on standby",
            &[],
            move || single(Some(truth(leads()))),
        ));
    }
    Readings::new(readings)
}

fn truth(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}
