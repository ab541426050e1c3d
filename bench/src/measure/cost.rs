//! What capture costs the application: four clients at full speed against two databases of A, one with
//! the capture triggers, in turn and in changing order. No service runs.

use crate::kind::Kind;
use crate::load::{Amount, Load};
use crate::options::Sizes;
use crate::place::{Place, Zone};
use crate::samples::{Quantity, Samples};
use anyhow::Result;
use shared::schema::{DEMO_ATTACH, DEMO_TABLES, Side, migrate};
use std::time::Duration;

const WITHOUT: &str = "bench_without_capture";
const WITH: &str = "bench_with_capture";
const WARM_UP: Duration = Duration::from_secs(1);

pub(crate) fn run(place: &Place, sizes: &Sizes, samples: &mut Samples) -> Result<()> {
    for database in [WITHOUT, WITH] {
        let mut session = place.create_database(Zone::A, database)?;
        session.batch_execute(DEMO_TABLES)?;
        if database == WITH {
            migrate(&mut session, Side::Source)?;
            session.batch_execute(DEMO_ATTACH)?;
        }
        Load::new(database, Amount::For(WARM_UP), 0).run(place)?;
    }
    for pair in 0..sizes.cost_pairs {
        let mut order = [WITHOUT, WITH];
        if pair % 2 == 1 {
            order.reverse();
        }
        let (mut without, mut with) = (0.0, 0.0);
        for database in order {
            place.checkpoint()?;
            let done = Load::new(database, Amount::For(sizes.cost_round), pair).run(place)?;
            *(if database == WITH { &mut with } else { &mut without }) = done.rate;
        }
        println!("  capture          {without:.0} transactions/s without, {with:.0} with it");
        samples.add(Kind::Ours, Quantity::CostWithout, without);
        samples.add(Kind::Ours, Quantity::CostWith, with);
        samples.add(Kind::Ours, Quantity::CostShare, 1.0 - with / without);
    }
    place.drop_database(Zone::A, WITHOUT)?;
    place.drop_database(Zone::A, WITH)
}
