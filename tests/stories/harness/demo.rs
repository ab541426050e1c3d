//! The demo's tables as the stories use them: people whose money is moved about.

use super::Replication;
use postgres::Client;
use uuid::Uuid;

/// Adds a user without payments, in a transaction of its own.
pub(crate) fn add_user(client: &mut Client, email: &str) {
    client.execute("insert into users (name, email) values ('N', $1)", &[&email]).unwrap();
}

/// Users with one payment each: moving money between the payments never changes the sum.
pub(crate) struct Demo {
    pub(crate) payments: Vec<Uuid>,
}

impl Demo {
    /// Adds `count` users with 1000.00 each, in one transaction.
    pub(crate) fn add_users(client: &mut Client, count: i32) -> Demo {
        let rows = client
            .query(
                "with person as (
                     insert into users (name, email)
                     select 'User ' || i, 'user' || i || '@example.org' from generate_series(1, $1) i returning id)
                 insert into payments (user_id, amount, currency, description)
                 select id, 1000, 'EUR', 'balance' from person returning id",
                &[&count],
            )
            .unwrap();
        Demo { payments: rows.iter().map(|row| row.get(0)).collect() }
    }

    /// Moves an amount between two random payments, as two statements of one transaction.
    pub(crate) fn move_money(&self, client: &mut Client) {
        let from = self.payments[fastrand::usize(..self.payments.len())];
        let to = self.payments[fastrand::usize(..self.payments.len())];
        let cents = fastrand::i32(1..5000);
        let mut transaction = client.transaction().unwrap();
        // In the order of the keys, so that two of these never wait for each other.
        let mut steps = [(from, -cents), (to, cents)];
        steps.sort_unstable();
        for (payment, cents) in steps {
            transaction
                .execute(
                    "update payments set amount = amount + $2::int * 0.01, updated_at = clock_timestamp() where id = $1",
                    &[&payment, &cents],
                )
                .unwrap();
        }
        transaction.commit().unwrap();
    }
}

/// All rows of a table as text, in the order of their keys.
fn rows(client: &mut Client, table: &str) -> Vec<String> {
    let rows = client.query(&format!("select t::text from {table} t order by id"), &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Fails unless both tables are the same in source and target, row for row; returns their sizes.
pub(crate) fn assert_equal(replication: &Replication) -> (usize, usize) {
    let (mut source, mut target) = (replication.source(), replication.target());
    let sizes = ["users", "payments"].map(|table| {
        let (ours, theirs) = (rows(&mut source, table), rows(&mut target, table));
        let difference = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
        assert!(
            ours == theirs,
            "{table} differs: {} rows in the source, {} in the target; first difference: {difference:?}",
            ours.len(),
            theirs.len()
        );
        ours.len()
    });
    (sizes[0], sizes[1])
}
