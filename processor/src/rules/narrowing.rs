//! Which of the ticks that wait are tried together, so that all those before a refused one are applied.

/// Halves the ticks that were refused together until a single one is left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Narrowing {
    /// With the ticks up to this one, PostgreSQL refused.
    refused_up_to: Option<i64>,
}

impl Narrowing {
    /// The last tick to try, of those from `first` to `last`.
    pub fn next(self, first: i64, last: i64) -> i64 {
        match self.refused_up_to {
            Some(refused) if refused >= first => first + (refused - first) / 2,
            _ => last,
        }
    }

    /// Notes that the ticks up to this one were refused together.
    pub fn refused(&mut self, up_to: i64) {
        self.refused_up_to = Some(up_to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ticks that are applied of those from 1 to `last`, where those in `refused` are refused, and the
    /// number of attempts.
    fn applied(last: i64, refused: &[i64]) -> (i64, usize) {
        let (mut first, mut narrowing) = (1, Narrowing::default());
        for attempts in 0.. {
            if first > last {
                return (last, attempts);
            }
            let up_to = narrowing.next(first, last);
            assert!((first..=last).contains(&up_to));
            if !refused.iter().any(|tick| (first..=up_to).contains(tick)) {
                first = up_to + 1;
            } else if up_to == first {
                return (first - 1, attempts + 1);
            } else {
                narrowing.refused(up_to);
            }
        }
        unreachable!()
    }

    #[test]
    fn every_tick_before_the_first_refused_one_is_applied() {
        for last in 1..=40 {
            assert_eq!(applied(last, &[]), (last, 1));
            for refused in 1..=last {
                let (before, attempts) = applied(last, &[refused, last]);
                assert_eq!(before, refused - 1);
                assert!(attempts <= 8, "{attempts} attempts for tick {refused} of {last}");
            }
        }
    }

    #[test]
    fn ticks_that_are_refused_only_together_are_applied_one_by_one() {
        let (mut first, mut narrowing) = (1, Narrowing::default());
        while first <= 9 {
            let up_to = narrowing.next(first, 9);
            if up_to > first {
                narrowing.refused(up_to);
            } else {
                first = up_to + 1;
            }
        }
        assert_eq!(first, 10);
    }
}
