//! Times as the databases keep them: microseconds since the epoch, and the three ways OpenStack writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};

/// A moment in UTC, to the microsecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, DeriveValueType)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp(since.as_micros() as i64)
    }

    pub fn from_secs(secs: i64) -> Timestamp {
        Timestamp(secs * 1_000_000)
    }

    pub fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    pub fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(duration.as_micros() as i64))
    }

    pub fn minus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(duration.as_micros() as i64))
    }

    /// Since `earlier`, zero when that is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros((self.0 - earlier.0).max(0) as u64)
    }

    /// `2026-01-31T10:20:30Z`: compute's, image's and network's form.
    pub fn to_seconds_z(self) -> String {
        let (date, time) = self.split();
        format!("{date}T{time}Z")
    }

    /// `2026-01-31T10:20:30.123456`: block storage's form, and compute's for usage times.
    pub fn to_micros(self) -> String {
        let (date, time) = self.split();
        format!("{date}T{time}.{:06}", self.0.rem_euclid(1_000_000))
    }

    /// `2026-01-31T10:20:30.123456Z`: identity's form.
    pub fn to_micros_z(self) -> String {
        format!("{}Z", self.to_micros())
    }

    /// Reads ISO 8601 as clients send it: with or without time, fraction, `Z` or an offset; a space for the `T` too.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let text = text.trim();
        let (date, rest) = match text.split_once(['T', ' ']) {
            Some((date, rest)) => (date, rest),
            None => (text, ""),
        };
        let mut parts = date.splitn(3, '-').map(str::parse::<i64>);
        let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        let (clock, offset) = split_offset(rest)?;
        let (hms, fraction) = clock.split_once('.').unwrap_or((clock, ""));
        let mut seconds = 0;
        if !hms.is_empty() {
            let parts = hms.split(':').map(|p| p.parse::<i64>().ok()).collect::<Option<Vec<_>>>()?;
            let (hour, minute, second) = match parts.as_slice() {
                [h, m] => (*h, *m, 0),
                [h, m, s] => (*h, *m, *s),
                _ => return None,
            };
            if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..61).contains(&second) {
                return None;
            }
            seconds = hour * 3600 + minute * 60 + second;
        }
        let micros = match fraction {
            "" => 0,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => format!("{digits:0<6}").get(..6)?.parse::<i64>().ok()?,
            _ => return None,
        };
        let days = days_from_civil(year, month, day);
        Some(Timestamp((days * 86_400 + seconds - offset) * 1_000_000 + micros))
    }

    fn split(self) -> (String, String) {
        let secs = self.secs();
        let (year, month, day) = civil_from_days(secs.div_euclid(86_400));
        let of_day = secs.rem_euclid(86_400);
        (format!("{year:04}-{month:02}-{day:02}"), format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60))
    }
}

/// Splits `10:20:30+02:00` into the clock and its offset in seconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (clock, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let digits: String = offset.chars().filter(char::is_ascii_digit).collect();
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes: i64 = digits.get(2..).filter(|m| !m.is_empty()).map_or(Some(0), |m| m.parse().ok())?;
    Some((clock, sign * (hours * 3600 + minutes * 60)))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch of a Gregorian date, counting years from March so that leap days come last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_it_reads() {
        for text in ["1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "2026-11-21T04:05:06Z", "2000-03-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse(text).unwrap().to_seconds_z(), text);
        }
        let moment = Timestamp::parse("2026-01-31 10:20:30.12+02:00").unwrap();
        assert_eq!(moment.to_micros(), "2026-01-31T08:20:30.120000");
        assert_eq!(Timestamp::parse("2026-01-31").unwrap().to_micros_z(), "2026-01-31T00:00:00.000000Z");
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in ["", "tomorrow", "2026-02-30", "2026-13-01", "2026-01-01T25:00:00", "2026-01-01T10:00:00.x"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
