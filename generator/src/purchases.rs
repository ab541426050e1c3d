//! Believable payments: what for, how much, in which currency.

use crate::chance::choose;
use fastrand::Rng;

/// What a payment is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purchase {
    /// In hundredths of the currency.
    pub(crate) amount_cents: i64,
    pub(crate) currency: &'static str,
    pub(crate) description: String,
}

/// A kind of purchase, and what it costs in euros.
struct Kind {
    what: &'static str,
    from: i64,
    to: i64,
}

const KINDS: [Kind; 12] = [
    Kind { what: "Coffee and cake", from: 4, to: 15 },
    Kind { what: "Groceries", from: 18, to: 140 },
    Kind { what: "Monthly subscription", from: 5, to: 25 },
    Kind { what: "Train ticket", from: 12, to: 160 },
    Kind { what: "Books", from: 9, to: 70 },
    Kind { what: "Electricity bill", from: 45, to: 210 },
    Kind { what: "Restaurant", from: 20, to: 180 },
    Kind { what: "Running shoes", from: 60, to: 190 },
    Kind { what: "Headphones", from: 35, to: 350 },
    Kind { what: "Hotel, two nights", from: 130, to: 620 },
    Kind { what: "Rent", from: 480, to: 1900 },
    Kind { what: "Laptop", from: 650, to: 2800 },
];

/// How often a currency is used, and how much of it makes a euro.
const CURRENCIES: [(u32, (&str, i64)); 6] = [
    (45, ("EUR", 1)),
    (25, ("USD", 1)),
    (12, ("GBP", 1)),
    (8, ("CHF", 1)),
    (6, ("SEK", 11)),
    (4, ("JPY", 160)),
];

impl Purchase {
    /// A purchase at random.
    pub(crate) fn at_random(rng: &mut Rng) -> Purchase {
        let kind = &KINDS[rng.usize(..KINDS.len())];
        let (currency, per_euro) = *choose(rng, &CURRENCIES);
        // Small amounts are more frequent than large ones.
        let span = (kind.to - kind.from) * 100;
        let above = rng.i64(0..=span).min(rng.i64(0..=span));
        let mut amount_cents = (kind.from * 100 + above) * per_euro;
        if currency == "JPY" {
            amount_cents -= amount_cents % 100;
        }
        Purchase {
            amount_cents,
            currency,
            description: format!("{}, order {}", kind.what, rng.u32(10_000..100_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_positive_and_fit_their_column() {
        let mut rng = Rng::with_seed(7);
        for _ in 0..10_000 {
            let purchase = Purchase::at_random(&mut rng);
            assert!((100..1_000_000_000_000).contains(&purchase.amount_cents), "{purchase:?}");
            assert!(purchase.currency != "JPY" || purchase.amount_cents % 100 == 0, "{purchase:?}");
        }
    }
}
