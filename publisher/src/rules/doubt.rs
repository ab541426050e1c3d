//! A target that claims what this source cannot serve. One confirm is not believed: anybody who may publish
//! can send one, or one a minute. It counts once the same processor says nothing else for a while.

use super::silence::PROCESSOR_GONE_AFTER;
use shared::wire::CONFIRM_INTERVAL;
use std::time::Instant;
use uuid::Uuid;

/// Says nothing until a claim was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Doubt(pub Option<Claim>);

/// What was refused and is not believed yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The process that claims it.
    pub incarnation: Uuid,
    /// Why this source cannot serve it.
    pub reason: String,
    /// When it was heard first.
    pub since: Instant,
    /// When it was heard last.
    pub last: Instant,
}

impl Doubt {
    /// Notes a claim that is refused for this `reason`. True once it is to be believed.
    pub fn is_believed(&mut self, incarnation: Uuid, reason: String, now: Instant) -> bool {
        let since = match &self.0 {
            Some(claim) if claim.incarnation == incarnation && claim.is_recent(now) => claim.since,
            _ => now,
        };
        self.0 = Some(Claim { incarnation, reason, since, last: now });
        now.duration_since(since) >= CONFIRM_INTERVAL
    }

    /// A confirm counts that this source can serve.
    pub fn end(&mut self) {
        self.0 = None;
    }

    /// What was claimed lately.
    pub fn trouble(&self, now: Instant) -> Option<String> {
        let claim = self.0.as_ref().filter(|claim| claim.is_recent(now))?;
        Some(format!("a confirm is not believed before it is repeated: {}", claim.reason))
    }
}

impl Claim {
    fn is_recent(&self, now: Instant) -> bool {
        now.duration_since(self.last) < PROCESSOR_GONE_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const PROCESSOR: Uuid = Uuid::from_u128(7);

    fn after(begun: Instant, tenths: u32) -> Instant {
        begun + Duration::from_millis(100) * tenths
    }

    fn claims(doubt: &mut Doubt, by: Uuid, at: Instant) -> bool {
        doubt.is_believed(by, "another history".to_owned(), at)
    }

    #[test]
    fn what_one_processor_says_for_a_second_is_believed() {
        let (mut doubt, begun) = (Doubt::default(), Instant::now());
        assert!(!claims(&mut doubt, PROCESSOR, begun));
        assert!(!claims(&mut doubt, PROCESSOR, after(begun, 1)));
        assert!(doubt.trouble(after(begun, 1)).unwrap().contains("another history"));
        assert!(claims(&mut doubt, PROCESSOR, after(begun, 11)));
    }

    #[test]
    fn one_a_minute_is_not_believed() {
        let (mut doubt, begun) = (Doubt::default(), Instant::now());
        assert!((0..60).all(|minute| !claims(&mut doubt, PROCESSOR, after(begun, minute * 600))));
        assert_eq!(doubt.trouble(after(begun, 60 * 600)), None);
    }

    #[test]
    fn neither_what_is_taken_back_nor_what_two_say() {
        let (mut doubt, begun) = (Doubt::default(), Instant::now());
        assert!(!claims(&mut doubt, PROCESSOR, begun));
        doubt.end();
        assert!(!claims(&mut doubt, PROCESSOR, after(begun, 11)));
        assert!(!claims(&mut doubt, Uuid::from_u128(8), after(begun, 22)));
        assert!(!claims(&mut doubt, PROCESSOR, after(begun, 25)));
    }
}
