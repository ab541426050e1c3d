//! Numbers and times as people read them.

use jiff::{Timestamp, tz::TimeZone};

/// Such as `0.004 s`, `0.43 s`, `7 s`, `2 min`, `3 h`, `41 days`.
pub(super) fn duration(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 0.0995 => format!("{s:.3} s"),
        s if s < 0.995 => format!("{s:.2} s"),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// The same without a fraction: how long something has been so.
pub(super) fn whole_seconds(seconds: f64) -> String {
    if seconds < 120.0 { format!("{:.0} s", seconds.max(0.0).floor()) } else { duration(seconds) }
}

/// Such as `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Such as `1,204` or `0.5`.
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 9.95 {
        return format!("{per_second:.1}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and for people")]
    count(per_second.round() as u64)
}

/// The time of day in UTC, with its date where that is not today's.
pub(super) fn time_of_day(at: Timestamp, now: Timestamp, format: &str) -> String {
    let (at, now) = (at.to_zoned(TimeZone::UTC), now.to_zoned(TimeZone::UTC));
    let format = if at.date() == now.date() { format.to_owned() } else { format!("%Y-%m-%d {format}") };
    at.strftime(&format).to_string()
}

/// Such as `12 events wait`.
pub(super) fn wait(events: u64) -> String {
    if events == 1 { "1 waits".to_owned() } else { format!("{} wait", count(events)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_their_unit() {
        let durations = [0.004, 0.434, 9.94, 9.96, 119.0, 150.0, 7300.0, 3_600_000.0].map(duration);
        assert_eq!(durations, ["0.004 s", "0.43 s", "9.9 s", "10 s", "119 s", "2 min", "2 h", "42 days"]);
        assert_eq!(whole_seconds(2.9), "2 s");
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 0.46, 9.96, 1204.4].map(rate), ["0.0", "0.5", "10", "1,204"]);
        assert_eq!([1, 1200].map(wait), ["1 waits", "1,200 wait"]);
    }

    #[test]
    fn a_time_of_another_day_has_its_date() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (now, format) = (at("2026-11-30T00:00:01Z"), "%H:%M:%S");
        assert_eq!(time_of_day(at("2026-11-30T00:00:00.5Z"), now, format), "00:00:00");
        assert_eq!(time_of_day(at("2026-11-29T23:59:59Z"), now, format), "2026-11-29 23:59:59");
    }
}
