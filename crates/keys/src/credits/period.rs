//! When accounts are refilled: the periods of a time zone. Pure.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use tollgate_kernel::Timestamp;

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Period {
    Day,
    /// From Monday.
    Week,
    Month,
}

impl Period {
    /// The beginning of the period in which this moment is: the first instant of a day.
    pub(crate) fn begin(self, zone: Tz, now: Timestamp) -> Timestamp {
        let first = self.first_day(now.with_timezone(&zone).date_naive());
        begin_of(zone, first)
    }

    /// The beginning of the period after the one in which this moment is.
    pub(crate) fn end(self, zone: Tz, now: Timestamp) -> Timestamp {
        let first = self.first_day(now.with_timezone(&zone).date_naive());
        let next = match self {
            Self::Day => first.checked_add_days(Days::new(1)),
            Self::Week => first.checked_add_days(Days::new(7)),
            Self::Month => first.checked_add_months(Months::new(1)),
        };
        begin_of(zone, next.expect("the known times are far from the end of the calendar"))
    }

    fn first_day(self, date: NaiveDate) -> NaiveDate {
        let back = match self {
            Self::Day => 0,
            Self::Week => date.weekday().num_days_from_monday(),
            Self::Month => date.day0(),
        };
        let first = date.checked_sub_days(Days::new(back.into()));
        first.expect("the known times are far from the beginning of the calendar")
    }
}

/// The first instant of a date, or after it if the clocks skip that.
fn begin_of(zone: Tz, date: NaiveDate) -> Timestamp {
    let midnight = date.and_time(NaiveTime::MIN);
    match zone.from_local_datetime(&midnight).earliest() {
        Some(at) => at.with_timezone(&Utc),
        None => end_of_gap(zone, midnight),
    }
}

/// The first second whose local time is not before one that the clocks skip.
fn end_of_gap(zone: Tz, skipped: NaiveDateTime) -> Timestamp {
    // No zone is further from UTC than this, and no gap is longer than a day.
    let middle = skipped.and_utc().timestamp();
    let (mut before, mut after) = (middle - 50 * 3600, middle + 50 * 3600);
    let instant = |second| DateTime::from_timestamp(second, 0).expect("it is near a known time");
    while after - before > 1 {
        let middle = i64::midpoint(before, after);
        let local = instant(middle).with_timezone(&zone).naive_local();
        if local < skipped { before = middle } else { after = middle }
    }
    instant(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).expect("a time").with_timezone(&Utc)
    }

    #[test]
    fn periods_begin_with_the_first_instant_of_a_day_of_their_zone() {
        let berlin: Tz = "Europe/Berlin".parse().expect("a zone");
        for (period, now, begin, end) in [
            // The day has 23 hours.
            (Period::Day, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (Period::Week, "2026-03-29T12:00:00Z", "2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z"),
            (Period::Month, "2026-03-29T12:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"),
            (Period::Month, "2025-12-31T23:00:00Z", "2025-12-31T23:00:00Z", "2026-01-31T23:00:00Z"),
        ] {
            let now = at(now);
            assert_eq!((period.begin(berlin, now), period.end(berlin, now)), (at(begin), at(end)));
        }
    }

    #[test]
    fn a_midnight_that_the_clocks_skip_is_the_moment_after() {
        let cairo: Tz = "Africa/Cairo".parse().expect("a zone");
        // 2024-04-26 began at one o'clock.
        let end = Period::Day.end(cairo, at("2024-04-25T12:00:00Z"));
        assert_eq!(end, at("2024-04-25T22:00:00Z"));
        assert_eq!(Period::Day.begin(cairo, end), end);
    }
}
