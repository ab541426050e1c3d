//! Executes plans, one transaction each. Rows are found by key from a random point on, which stays fast
//! however large the tables are, and locked in the order of their keys.

use crate::plan::Plan;
use crate::purchases::Purchase;
use anyhow::{Context, Result};
use crossbeam_channel::Receiver;
use postgres::error::SqlState;
use postgres::{Client, Transaction};
use shared::database::Database;
use shared::supervisor::ThreadContext;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// Counters since the start.
#[derive(Default)]
pub(crate) struct Written {
    transactions: AtomicU64,
    conflicts: AtomicU64,
}

impl Written {
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} transactions committed since the start, {} abandoned after a conflict",
            self.transactions.load(Ordering::Relaxed),
            self.conflicts.load(Ordering::Relaxed)
        )
    }
}

/// Executes plans until a stop is requested.
pub(crate) fn run(
    context: &ThreadContext,
    database: &Database,
    input: &Receiver<Plan>,
    written: &Written,
) -> Result<()> {
    context.keep_trying("write", || {
        let mut client = database.connection()?;
        context.healthy();
        loop {
            let plan = crossbeam_channel::select! {
                recv(context.stop().receiver()) -> _ => return Ok(()),
                recv(input) -> plan => match plan {
                    Ok(plan) => plan,
                    Err(_) => return Ok(()),
                },
            };
            match carry_out(&mut client, &plan) {
                Ok(()) => written.transactions.fetch_add(1, Ordering::Relaxed),
                Err(error) if is_conflict(&error) => {
                    log::debug!("abandoned: {error:#}");
                    written.conflicts.fetch_add(1, Ordering::Relaxed)
                }
                Err(error) => return Err(error),
            };
        }
    })
}

/// Two writers conflict, or an email address is taken: the plan is abandoned.
fn is_conflict(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<postgres::Error>().and_then(postgres::Error::code);
    code.is_some_and(|code| {
        [
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::UNIQUE_VIOLATION,
            SqlState::FOREIGN_KEY_VIOLATION,
        ]
        .contains(code)
    })
}

fn carry_out(client: &mut Client, plan: &Plan) -> Result<()> {
    let mut transaction = client.transaction().context("begin")?;
    match plan {
        Plan::SignUp { person, purchases } => {
            let user = transaction
                .query_one(
                    "insert into users (name, email) values ($1, $2) returning id",
                    &[&person.name, &person.email],
                )
                .context("sign up")?
                .get(0);
            pay_all(&mut transaction, user, purchases)?;
        }
        Plan::Buy { near, purchases } => {
            for user in users(&mut transaction, *near, 1)? {
                pay_all(&mut transaction, user, purchases)?;
            }
        }
        Plan::Transfer { near, purchase } => transfer(&mut transaction, *near, purchase)?,
        Plan::Payroll { near, users: count, purchase } => {
            let salary = Purchase { description: "Salary".to_owned(), ..purchase.clone() };
            for user in users(&mut transaction, *near, *count)? {
                pay(&mut transaction, user, &salary, "completed")?;
            }
        }
        Plan::Settle { near, fails } => settle(&mut transaction, *near, *fails)?,
        Plan::Refund { near } => change_payment(&mut transaction, *near, "completed", "refunded")?,
        Plan::Marry { near, last_name } => marry(&mut transaction, *near, last_name)?,
        Plan::Suspend { near } => suspend(&mut transaction, *near)?,
        Plan::Cancel { near } => cancel(&mut transaction, *near)?,
        Plan::Close { near } => close(&mut transaction, *near)?,
        Plan::Abandon { near, purchase, wholly } => {
            abandon(&mut transaction, *near, purchase)?;
            if *wholly {
                return transaction.rollback().context("roll back");
            }
        }
    }
    transaction.commit().context("commit")
}

/// Up to `count` active users from a random point on, by key.
fn users(transaction: &mut Transaction<'_>, near: Uuid, count: i64) -> Result<Vec<Uuid>> {
    let rows = transaction
        .query(
            "select id from users where id >= $1 and status = 'active' order by id limit $2 for key share",
            &[&near, &count],
        )
        .context("pick users")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn pay(transaction: &mut Transaction<'_>, user: Uuid, purchase: &Purchase, status: &str) -> Result<()> {
    transaction
        .execute(
            "insert into payments (user_id, amount, currency, status, description)
             values ($1, $2::bigint * 0.01, $3, $4, $5)",
            &[&user, &purchase.amount_cents, &purchase.currency, &status, &purchase.description],
        )
        .context("pay")?;
    Ok(())
}

fn pay_all(transaction: &mut Transaction<'_>, user: Uuid, purchases: &[Purchase]) -> Result<()> {
    purchases.iter().try_for_each(|purchase| pay(transaction, user, purchase, "pending"))
}

fn transfer(transaction: &mut Transaction<'_>, near: Uuid, purchase: &Purchase) -> Result<()> {
    if let [from, to] = users(transaction, near, 2)?[..] {
        let sent = Purchase {
            amount_cents: -purchase.amount_cents,
            description: "Transfer to a friend".to_owned(),
            ..purchase.clone()
        };
        let received = Purchase { description: "Transfer from a friend".to_owned(), ..purchase.clone() };
        pay(transaction, from, &sent, "completed")?;
        pay(transaction, to, &received, "completed")?;
    }
    Ok(())
}

fn settle(transaction: &mut Transaction<'_>, near: Uuid, fails: bool) -> Result<()> {
    let status = if fails { "failed" } else { "completed" };
    transaction
        .execute(
            "update payments p set status = $2, updated_at = now()
             from (select id from (select id, status from payments where id >= $1 order by id limit 200) near
                   where status = 'pending' order by id limit 30) due
             where p.id = due.id",
            &[&near, &status],
        )
        .context("settle payments")?;
    Ok(())
}

fn change_payment(transaction: &mut Transaction<'_>, near: Uuid, from: &str, to: &str) -> Result<()> {
    transaction
        .execute(
            "update payments set status = $3, updated_at = now()
             where id = (select id from payments where id >= $1 and status = $2 order by id limit 1)",
            &[&near, &from, &to],
        )
        .context("change a payment")?;
    Ok(())
}

fn marry(transaction: &mut Transaction<'_>, near: Uuid, last_name: &str) -> Result<()> {
    transaction
        .execute(
            "update users set name = split_part(name, ' ', 1) || ' ' || $2::text, updated_at = now()
             where id = (select id from users where id >= $1 order by id limit 1)",
            &[&near, &last_name],
        )
        .context("change a name")?;
    Ok(())
}

fn suspend(transaction: &mut Transaction<'_>, near: Uuid) -> Result<()> {
    transaction
        .execute(
            "update users set status = case status when 'active' then 'suspended' else 'active' end,
                    updated_at = now()
             where id = (select id from users where id >= $1 order by id limit 1)",
            &[&near],
        )
        .context("suspend a user")?;
    Ok(())
}

fn cancel(transaction: &mut Transaction<'_>, near: Uuid) -> Result<()> {
    transaction
        .execute(
            "delete from payments
             where id = (select id from payments where id >= $1 and status = 'pending' order by id limit 1)",
            &[&near],
        )
        .context("cancel a payment")?;
    Ok(())
}

fn close(transaction: &mut Transaction<'_>, near: Uuid) -> Result<()> {
    let user = transaction
        .query_opt("select id from users where id >= $1 order by id limit 1 for update", &[&near])
        .context("pick a user")?;
    if let Some(user) = user {
        let user: Uuid = user.get(0);
        transaction
            .execute("delete from payments where user_id = $1", &[&user])
            .context("delete payments")?;
        transaction.execute("delete from users where id = $1", &[&user]).context("delete a user")?;
    }
    Ok(())
}

/// A first payment, and a second one that is rolled back.
fn abandon(transaction: &mut Transaction<'_>, near: Uuid, purchase: &Purchase) -> Result<()> {
    for user in users(transaction, near, 1)? {
        pay(transaction, user, purchase, "pending")?;
        let mut second = transaction.savepoint("second_thoughts").context("set a savepoint")?;
        pay(&mut second, user, purchase, "pending")?;
        second.rollback().context("roll back to the savepoint")?;
    }
    Ok(())
}
