//! The periods of accounts, as nova's `instance_usage_audit_period` names them: `hour`, `day`, `month` or `year`, which may begin later: `day@18`.

use kit::clock::Timestamp;
use serde::{Deserialize, Serialize};

/// How long a period is, and where in the day, month or year it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AuditPeriod {
    unit: Unit,
    offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Hour,
    Day,
    Month,
    Year,
}

/// A period: from its beginning to before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub begin: Timestamp,
    pub end: Timestamp,
}

impl Default for AuditPeriod {
    fn default() -> AuditPeriod {
        AuditPeriod { unit: Unit::Month, offset: 1 }
    }
}

impl std::str::FromStr for AuditPeriod {
    type Err = String;

    fn from_str(text: &str) -> Result<AuditPeriod, String> {
        let wrong = || format!("'{text}' is no audit period: hour, day, month or year, with an offset like day@18");
        let (unit, offset) = text.split_once('@').map_or((text, None), |(unit, offset)| (unit, Some(offset)));
        let (unit, first, last) = match unit {
            "hour" => (Unit::Hour, 0, 59),
            "day" => (Unit::Day, 0, 23),
            // every month has it
            "month" => (Unit::Month, 1, 28),
            "year" => (Unit::Year, 1, 12),
            _ => return Err(wrong()),
        };
        let offset = offset.map_or(Ok(first), |offset| offset.parse::<i64>().map_err(|_| wrong()))?.max(first);
        if offset > last { Err(wrong()) } else { Ok(AuditPeriod { unit, offset }) }
    }
}

impl TryFrom<String> for AuditPeriod {
    type Error = String;

    fn try_from(text: String) -> Result<AuditPeriod, String> {
        text.parse()
    }
}

impl From<AuditPeriod> for String {
    fn from(AuditPeriod { unit, offset }: AuditPeriod) -> String {
        let unit = match unit {
            Unit::Hour => "hour",
            Unit::Day => "day",
            Unit::Month => "month",
            Unit::Year => "year",
        };
        format!("{unit}@{offset}")
    }
}

impl AuditPeriod {
    /// The last period that ended before a moment.
    pub fn completed_before(self, moment: Timestamp) -> Period {
        let end = self.beginning_before(moment);
        Period { begin: self.beginning_before(end), end }
    }

    /// The period that a moment is in, so far.
    pub fn current(self, moment: Timestamp) -> Period {
        Period { begin: self.beginning_before(moment), end: moment }
    }

    /// The last beginning of a period before a moment.
    fn beginning_before(self, moment: Timestamp) -> Timestamp {
        let (seconds, offset) = (moment.secs(), self.offset);
        let regular = |length: i64, offset: i64| {
            let last = (seconds - offset).div_euclid(length) * length + offset;
            let begins = Timestamp::from_secs(last);
            if begins < moment { begins } else { Timestamp::from_secs(last - length) }
        };
        match self.unit {
            Unit::Hour => regular(3600, offset * 60),
            Unit::Day => regular(86_400, offset * 3600),
            Unit::Month | Unit::Year => self.date_before(moment),
        }
    }

    /// The same for months and years, which are not all of one length.
    fn date_before(self, moment: Timestamp) -> Timestamp {
        let text = moment.to_seconds_z();
        let number = |range| text.get(range).and_then(|digits: &str| digits.parse::<i64>().ok()).unwrap_or(1);
        let (year, month) = (number(0..4), number(5..7));
        let at = |year: i64, month: i64, day: i64| Timestamp::parse(&format!("{year:04}-{month:02}-{day:02}")).unwrap_or_default();
        let (this, last) = match self.unit {
            Unit::Year => (at(year, self.offset, 1), at(year - 1, self.offset, 1)),
            _ if month == 1 => (at(year, 1, self.offset), at(year - 1, 12, self.offset)),
            _ => (at(year, month, self.offset), at(year, month - 1, self.offset)),
        };
        if this < moment { this } else { last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_period_that_ended() {
        for (unit, moment, begin, end) in [
            ("month", "2026-01-31 10:20:30", "2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("month", "2026-07-01 00:00:00", "2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z"),
            ("month@15", "2026-03-14 00:00:00", "2026-01-15T00:00:00Z", "2026-02-15T00:00:00Z"),
            ("day", "2026-03-01 00:00:01", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"),
            ("day@18", "2026-03-01 12:00:00", "2026-02-27T18:00:00Z", "2026-02-28T18:00:00Z"),
            ("hour@30", "2026-03-01 12:29:59", "2026-03-01T10:30:00Z", "2026-03-01T11:30:00Z"),
            ("hour", "2026-03-01 12:00:00", "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"),
            ("year", "2026-03-01 12:00:00", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("year@4", "2026-03-01 12:00:00", "2024-04-01T00:00:00Z", "2025-04-01T00:00:00Z"),
        ] {
            let wanted: AuditPeriod = unit.parse().unwrap();
            assert_eq!(String::from(wanted).parse(), Ok(wanted));
            let period = wanted.completed_before(Timestamp::parse(moment).unwrap());
            assert_eq!((period.begin.to_seconds_z().as_str(), period.end.to_seconds_z().as_str()), (begin, end), "{unit} {moment}");
        }
        for wrong in ["", "week", "day@24", "day@x", "month@29"] {
            assert!(wrong.parse::<AuditPeriod>().is_err(), "{wrong}");
        }
    }
}
