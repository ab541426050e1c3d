//! Writers at the source: transactions that span users, each with a row in an append-only ledger that says
//! what the transaction saw, and each counted once its commit was confirmed.

use crate::harness::{Door, wait_for};
use fastrand::Rng;
use postgres::Client;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

pub(super) const WRITERS: usize = 4;
/// So that the machine is not the one thing that fails.
const PACE: Duration = Duration::from_millis(4);

/// `seen` is the last row of each writer that the transaction saw. A state that has the transaction must have
/// those too. `writer` 0 are the probes of the suite.
pub(super) const LEDGER: &str = "create table ledger (
        writer int, n bigint, seen bigint[] not null, id uuid not null default gen_random_uuid(),
        primary key (writer, n))";

/// The last commit that was acknowledged to each writer.
pub(super) struct Told([AtomicI64; WRITERS]);

impl Told {
    pub(super) fn nothing() -> Told {
        Told([const { AtomicI64::new(0) }; WRITERS])
    }

    pub(super) fn last(&self, writer: usize) -> i64 {
        self.0[writer - 1].load(Ordering::Acquire)
    }
}

/// One writer: each call makes one transaction.
pub(super) fn write<'a>(source: &'a Door, writer: usize, told: &'a Told) -> impl FnMut() + Send + 'a {
    let connect = || wait_for("the source takes connections", || source.connect());
    let number = i32::try_from(writer).unwrap();
    let mut rng = Rng::with_seed(writer as u64);
    let mut client = connect();
    let mut n = 1;
    move || {
        if transact(&mut client, number, n, &mut rng).is_ok() {
            told.0[writer - 1].store(n, Ordering::Release);
            n += 1;
        } else {
            // Rolled back, or committed without an acknowledgement: the ledger tells which.
            n = wait_for("the ledger can be read", || {
                client = connect();
                last_committed(&mut client, number)
            }) + 1;
        }
        std::thread::sleep(PACE);
    }
}

fn last_committed(client: &mut Client, writer: i32) -> Option<i64> {
    let row =
        client.query_one("select coalesce(max(n), 0) from ledger where writer = $1", &[&writer]).ok()?;
    Some(row.get(0))
}

fn transact(client: &mut Client, writer: i32, n: i64, rng: &mut Rng) -> Result<(), postgres::Error> {
    let mut transaction = client.transaction()?;
    transaction.execute(
        "insert into ledger (writer, n, seen)
         select $1, $2, array(select coalesce((select max(l.n) from ledger l where l.writer = w), 0)
                              from generate_series(1, $3::int) w order by w)",
        &[&writer, &n, &i32::try_from(WRITERS).unwrap()],
    )?;
    let own = format!("w{writer}-%");
    match rng.u8(..20) {
        0..=2 => {
            transaction.execute(
                "with person as (insert into users (name, email) values ('Passing', $1) returning id)
                 insert into payments (user_id, amount, currency, description)
                 select id, amount, 'EUR', 'passing' from person, unnest(array[$2::int, -$2::int]) amount",
                &[&format!("w{writer}-{n}"), &rng.i32(1..500)],
            )?;
        }
        3..=4 => {
            let gone = "(select id from users where email like $1 order by email limit 1)";
            transaction.execute(&format!("delete from payments where user_id in {gone}"), &[&own])?;
            transaction.execute(&format!("delete from users where id in {gone}"), &[&own])?;
        }
        5..=6 => {
            transaction.execute(
                "update payments set id = gen_random_uuid(), updated_at = clock_timestamp()
                 where user_id in (select id from users where email like $1 order by email desc limit 1)",
                &[&own],
            )?;
        }
        7 => {
            transaction.execute(
                "update users set status = $1, updated_at = clock_timestamp() where email like 'user%'",
                &[&format!("{writer}/{n}")],
            )?;
        }
        _ => move_money(&mut transaction, rng)?,
    }
    transaction.commit()
}

/// Between two users, in the order of the keys, so that two of these never wait for each other.
fn move_money(transaction: &mut postgres::Transaction<'_>, rng: &mut Rng) -> Result<(), postgres::Error> {
    let (from, to) = (rng.i32(1..=20), rng.i32(1..=20));
    let cents = rng.i32(1..5000);
    let mut steps = [(from, -cents), (to, cents)];
    steps.sort_unstable();
    for (user, cents) in steps {
        transaction.execute(
            "update payments set amount = amount + $2::int * 0.01, updated_at = clock_timestamp()
             where description = 'balance' and user_id = (select id from users where email = $1)",
            &[&format!("user{user}@example.org"), &cents],
        )?;
    }
    Ok(())
}
