//! What somebody has to do.

use super::document::Need;
use super::judging::Facts;
use super::remedy::statement_in;
use super::words::count;
use crate::wire::Held;

impl Facts<'_> {
    /// What somebody has to do, the most urgent first.
    pub fn needs(&self) -> Vec<Need> {
        let mut needs = Vec::new();
        let a = self.source.fresh();
        let b = self.target.fresh();
        let held_in_b = b.and_then(|b| b.held.as_ref());
        let held_in_a = a.and_then(|a| a.held.as_ref());
        needs.extend(held_in_b.map(|held| of_held("B refuses a change", "B", held)));
        needs.extend(held_in_a.map(|held| of_held("A cannot send a change", "A", held)));
        let services = [
            ("outbox-publisher is not healthy", "A", &self.source.trouble, held_in_a.is_some()),
            ("inbox-processor is not healthy", "B", &self.target.trouble, held_in_b.is_some()),
        ];
        for (what, database, trouble, is_told) in services {
            if let Some(trouble) = trouble.as_ref().filter(|_| !is_told) {
                let statement = statement_in(trouble).map(str::to_owned);
                needs.push(Need {
                    what: what.to_owned(),
                    error: Some(trouble.clone()),
                    run_in: statement.as_ref().map(|_| database.to_owned()),
                    statement,
                    ..Need::default()
                });
            }
        }
        if let Some(messages) = b.and_then(|b| b.quarantine_unseen).filter(|messages| *messages > 0) {
            needs.push(Need {
                what: format!("{} messages were set aside, and nobody has looked at them", count(messages)),
                run_in: Some("B".to_owned()),
                statement: Some(
                    "select * from replication.quarantine; select replication.quarantine_acknowledge();"
                        .to_owned(),
                ),
                ..Need::default()
            });
        }
        needs
    }
}

fn of_held(what: &str, database: &str, held: &Held) -> Need {
    Need {
        what: what.to_owned(),
        error: Some(held.error.clone()),
        table: held.table.clone(),
        key: held.key.clone(),
        since: held.since,
        run_in: held.statement.as_ref().map(|_| database.to_owned()),
        statement: held.statement.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::judging::fixtures::known;

    #[test]
    fn nothing_needs_anybody_while_all_is_well() {
        assert_eq!(known().facts().needs(), []);
    }

    #[test]
    fn what_is_held_comes_first_and_says_what_to_run() {
        let mut known = known();
        known.hold_target();
        known.target.trouble = Some("applying: apply is blocked".to_owned());
        known.source.trouble = Some("audit: public.users: its trigger is missing".to_owned());
        known.target.figures.as_mut().unwrap().quarantine_unseen = Some(2);
        let needs = known.facts().needs();
        let whats: Vec<&str> = needs.iter().map(|need| need.what.as_str()).collect();
        assert_eq!(
            whats,
            [
                "B refuses a change",
                "outbox-publisher is not healthy",
                "2 messages were set aside, and nobody has looked at them"
            ]
        );
        assert_eq!(needs[0].run_in.as_deref(), Some("B"));
        assert_eq!(needs[0].statement.as_deref(), Some("alter table public.users add column nickname text;"));
        assert_eq!(
            (needs[0].table.as_deref(), needs[0].key.as_deref()),
            (Some("public.users"), Some("(42)"))
        );
    }
}
