//! Believable people.

use fastrand::Rng;

/// Somebody who signs up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) email: String,
}

const FIRST_NAMES: [(&str, &str); 40] = [
    ("Amélie", "amelie"),
    ("Björn", "bjorn"),
    ("Chinedu", "chinedu"),
    ("Dolores", "dolores"),
    ("Elif", "elif"),
    ("Fatima", "fatima"),
    ("Grzegorz", "grzegorz"),
    ("Hiroko", "hiroko"),
    ("Ingrid", "ingrid"),
    ("José", "jose"),
    ("Katarzyna", "katarzyna"),
    ("Liam", "liam"),
    ("Mei", "mei"),
    ("Noah", "noah"),
    ("Oluwaseun", "oluwaseun"),
    ("Priya", "priya"),
    ("Quentin", "quentin"),
    ("Rosa", "rosa"),
    ("Sofía", "sofia"),
    ("Tomáš", "tomas"),
    ("Ulrike", "ulrike"),
    ("Valentina", "valentina"),
    ("William", "william"),
    ("Ximena", "ximena"),
    ("Yusuf", "yusuf"),
    ("Zoë", "zoe"),
    ("Aoife", "aoife"),
    ("Charlotte", "charlotte"),
    ("Dmitri", "dmitri"),
    ("Emeka", "emeka"),
    ("Giulia", "giulia"),
    ("Hassan", "hassan"),
    ("Jürgen", "jurgen"),
    ("Layla", "layla"),
    ("Marta", "marta"),
    ("Nguyễn", "nguyen"),
    ("Olivia", "olivia"),
    ("Rajesh", "rajesh"),
    ("Søren", "soren"),
    ("Thandiwe", "thandiwe"),
];

const LAST_NAMES: [(&str, &str); 40] = [
    ("Andersson", "andersson"),
    ("Bianchi", "bianchi"),
    ("Castillo", "castillo"),
    ("D'Angelo", "dangelo"),
    ("Eriksen", "eriksen"),
    ("Fernández", "fernandez"),
    ("García", "garcia"),
    ("Hoffmann", "hoffmann"),
    ("Ivanova", "ivanova"),
    ("Johnson", "johnson"),
    ("Kowalski", "kowalski"),
    ("Lefèvre", "lefevre"),
    ("Müller", "mueller"),
    ("Nakamura", "nakamura"),
    ("O'Connor", "oconnor"),
    ("Papadopoulos", "papadopoulos"),
    ("Quispe", "quispe"),
    ("Rossi", "rossi"),
    ("Schmidt", "schmidt"),
    ("Tanaka", "tanaka"),
    ("Usman", "usman"),
    ("Van der Berg", "vanderberg"),
    ("Weiß", "weiss"),
    ("Xu", "xu"),
    ("Yılmaz", "yilmaz"),
    ("Zieliński", "zielinski"),
    ("Adeyemi", "adeyemi"),
    ("Brown", "brown"),
    ("Chen", "chen"),
    ("Dubois", "dubois"),
    ("Gupta", "gupta"),
    ("Haddad", "haddad"),
    ("Jensen", "jensen"),
    ("Kim", "kim"),
    ("Mbeki", "mbeki"),
    ("Novák", "novak"),
    ("Okafor", "okafor"),
    ("Singh", "singh"),
    ("Smith", "smith"),
    ("Walker", "walker"),
];

const MAIL_DOMAINS: [&str; 5] = ["example.com", "example.org", "example.net", "mail.example", "post.example"];

impl Person {
    /// Somebody at random. The number in the address makes duplicates very unlikely.
    pub(crate) fn at_random(rng: &mut Rng) -> Person {
        let (first, first_ascii) = FIRST_NAMES[rng.usize(..FIRST_NAMES.len())];
        let (last, last_ascii) = LAST_NAMES[rng.usize(..LAST_NAMES.len())];
        Person { name: format!("{first} {last}"), email: address(first_ascii, last_ascii, rng) }
    }
}

fn address(first: &str, last: &str, rng: &mut Rng) -> String {
    let domain = MAIL_DOMAINS[rng.usize(..MAIL_DOMAINS.len())];
    format!("{first}.{last}.{:07x}@{domain}", rng.u32(..1 << 28))
}

/// A last name, as of somebody who marries.
pub(crate) fn last_name(rng: &mut Rng) -> &'static str {
    LAST_NAMES[rng.usize(..LAST_NAMES.len())].0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn addresses_are_plain_and_hardly_ever_come_twice() {
        let mut rng = Rng::with_seed(7);
        let people: Vec<Person> = (0..10_000).map(|_| Person::at_random(&mut rng)).collect();
        let addresses: HashSet<&str> = people.iter().map(|person| person.email.as_str()).collect();
        assert_eq!(addresses.len(), people.len());
        for person in people {
            assert!(person.email.is_ascii() && person.email.matches('@').count() == 1, "{person:?}");
            assert!(person.name.contains(' '), "{person:?}");
        }
    }
}
