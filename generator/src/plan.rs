//! What may happen in the demo, and how often.

use crate::chance::choose;
use crate::people::Person;
use crate::purchases::Purchase;
use fastrand::Rng;
use uuid::Uuid;

/// One transaction to be executed. A `near` is a random point among the keys: it selects the rows that
/// follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// A new user with the first payments.
    SignUp { person: Person, purchases: Vec<Purchase> },
    /// A user buys something.
    Buy { near: Uuid, purchases: Vec<Purchase> },
    /// Money from one user to another: two payments that belong together.
    Transfer { near: Uuid, purchase: Purchase },
    /// An employer pays several users at once.
    Payroll { near: Uuid, users: i64, purchase: Purchase },
    /// Pending payments are completed; now and then one fails.
    Settle { near: Uuid, fails: bool },
    /// A completed payment is paid back.
    Refund { near: Uuid },
    /// A user takes another last name.
    Marry { near: Uuid, last_name: &'static str },
    /// A user is suspended, or active again.
    Suspend { near: Uuid },
    /// A pending payment is cancelled and disappears.
    Cancel { near: Uuid },
    /// A user leaves: the payments go, and then the user.
    Close { near: Uuid },
    /// A purchase fails half-way: only what was before the savepoint remains.
    Abandon { near: Uuid, purchase: Purchase, wholly: bool },
}

type Make = fn(&mut Rng) -> Plan;

/// Of a hundred transactions; with these, a new user comes with about four payments.
const WEIGHTS: [(u32, Make); 11] = [
    (40, |rng| Plan::SignUp { person: Person::at_random(rng), purchases: purchases(rng, 3) }),
    (20, |rng| Plan::Buy { near: point(rng), purchases: purchases(rng, 3) }),
    (10, |rng| Plan::Transfer { near: point(rng), purchase: Purchase::at_random(rng) }),
    (6, |rng| Plan::Payroll { near: point(rng), users: rng.i64(3..=5), purchase: Purchase::at_random(rng) }),
    (12, |rng| Plan::Settle { near: point(rng), fails: rng.u8(..10) == 0 }),
    (3, |rng| Plan::Refund { near: point(rng) }),
    (2, |rng| Plan::Marry { near: point(rng), last_name: crate::people::last_name(rng) }),
    (2, |rng| Plan::Suspend { near: point(rng) }),
    (1, |rng| Plan::Cancel { near: point(rng) }),
    (1, |rng| Plan::Close { near: point(rng) }),
    (3, |rng| Plan::Abandon { near: point(rng), purchase: Purchase::at_random(rng), wholly: rng.bool() }),
];

impl Plan {
    /// A transaction at random.
    pub(crate) fn at_random(rng: &mut Rng) -> Plan {
        choose(rng, &WEIGHTS)(rng)
    }
}

/// What happens in one round: one to three transactions.
pub(crate) fn round(rng: &mut Rng) -> Vec<Plan> {
    (0..rng.usize(1..=3)).map(|_| Plan::at_random(rng)).collect()
}

fn purchases(rng: &mut Rng, most: usize) -> Vec<Purchase> {
    (0..rng.usize(1..=most)).map(|_| Purchase::at_random(rng)).collect()
}

fn point(rng: &mut Rng) -> Uuid {
    Uuid::from_u128(rng.u128(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_four_payments_come_with_a_user() {
        let mut rng = Rng::with_seed(7);
        let (mut users, mut payments) = (0, 0);
        for plan in (0..10_000).flat_map(|_| round(&mut rng)) {
            match plan {
                Plan::SignUp { purchases, .. } => {
                    users += 1;
                    payments += purchases.len();
                }
                Plan::Buy { purchases, .. } => payments += purchases.len(),
                Plan::Transfer { .. } => payments += 2,
                Plan::Payroll { users, .. } => payments += usize::try_from(users).unwrap(),
                _ => {}
            }
        }
        assert!(
            payments * 10 / users > 37 && payments * 10 / users < 44,
            "{payments} payments, {users} users"
        );
    }

    #[test]
    fn the_weights_are_percentages() {
        assert_eq!(WEIGHTS.iter().map(|(weight, _)| weight).sum::<u32>(), 100);
    }
}
