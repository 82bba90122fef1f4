//! The periods of a calendar limit: days, weeks, months and years of a time zone, as bounds in time.
//!
//! Civil time is not the engine's, and not Redis's: the bounds are computed here, of three periods around a hint, and the
//! rules only compare. Daylight saving is the zone's: a period begins with the first instant of its first day, which is not
//! midnight where the clocks skip it, and is the earlier midnight where there are two. A day that a zone left out altogether
//! has no period.

use chrono::{
    DateTime, Datelike as _, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Utc,
};
use chrono_tz::Tz;

/// How time is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Calendar {
    pub(crate) zone: Tz,
    pub(crate) period: Period,
}

/// What a period is, with the first day of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Period {
    Day,
    /// From this day of the week: 1 (Monday) to 7.
    Week(u32),
    /// From this day of the month, 1 to 31, or the last day of a shorter month.
    Month(u32),
    /// From this day of the year, 1 to 366, or the last day of a shorter year.
    Year(u32),
}

/// Where three periods that follow each other begin, and where the last ends. Ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Periods(pub(crate) [i64; 4]);

/// Times of which periods are computed: from 1900 to the year 9000. A clock that is beyond has its nearest.
const KNOWN: std::ops::RangeInclusive<i64> = -2_208_988_800_000_000..=221_845_392_000_000_000;

impl Periods {
    /// The period that contains this time, from its first moment to that of the next; none: it is not one of these.
    pub(crate) fn around(&self, at: i64) -> Option<(i64, i64)> {
        let period = self.0.windows(2).find(|bounds| (bounds[0]..bounds[1]).contains(&at))?;
        Some((period[0], period[1]))
    }
}

impl Calendar {
    /// The period that contains the hint, between its neighbours.
    pub(crate) fn periods(&self, hint: i64) -> Periods {
        let hint = hint.clamp(*KNOWN.start(), *KNOWN.end());
        let date = utc(hint).with_timezone(&self.zone).date_naive();
        let mut bounds: Vec<i64> = (-3..=4).map(|step| self.begin_of(self.first_day(date, step))).collect();
        bounds.dedup();
        // The local date may be of the period before, in the hour that comes twice.
        let present = bounds.partition_point(|bound| *bound <= hint) - 1;
        Periods([bounds[present - 1], bounds[present], bounds[present + 1], bounds[present + 2]])
    }

    /// The first day of the period of a date, or of one some steps later.
    fn first_day(&self, date: NaiveDate, step: i64) -> NaiveDate {
        match self.period {
            Period::Day => later(date, step),
            Period::Week(anchor) => {
                let into = (date.weekday().number_from_monday() + 7 - anchor) % 7;
                later(date, step * 7 - i64::from(into))
            }
            Period::Month(anchor) => {
                let month = i64::from(date.year()) * 12 + i64::from(date.month0());
                let before = i64::from(date < day_of_month(month, anchor));
                day_of_month(month - before + step, anchor)
            }
            Period::Year(anchor) => {
                let year = i64::from(date.year());
                let before = i64::from(date < day_of_year(year, anchor));
                day_of_year(year - before + step, anchor)
            }
        }
    }

    /// The first instant of a date.
    fn begin_of(&self, date: NaiveDate) -> i64 {
        let midnight = date.and_time(NaiveTime::MIN);
        match self.zone.from_local_datetime(&midnight) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.timestamp_micros(),
            LocalResult::None => self.end_of_gap(midnight),
        }
    }

    /// The first instant whose local time is not before one that the clocks skip.
    fn end_of_gap(&self, skipped: NaiveDateTime) -> i64 {
        // No zone is further from UTC than this, and no gap is longer than a day.
        let (mut before, mut after) =
            (skipped.and_utc().timestamp() - 50 * 3600, skipped.and_utc().timestamp() + 50 * 3600);
        while after - before > 1 {
            let middle = i64::midpoint(before, after);
            let local = utc(middle * 1_000_000).with_timezone(&self.zone).naive_local();
            if local < skipped { before = middle } else { after = middle }
        }
        after * 1_000_000
    }
}

fn utc(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).expect("the known times are within what chrono can say")
}

fn later(date: NaiveDate, days: i64) -> NaiveDate {
    let distance = Days::new(days.unsigned_abs());
    let moved = if days < 0 { date.checked_sub_days(distance) } else { date.checked_add_days(distance) };
    moved.expect("the known times are far from the ends of the calendar")
}

/// A day of a month, counted from the year 0; the last of a shorter month.
fn day_of_month(month: i64, day: u32) -> NaiveDate {
    let year = i32::try_from(month.div_euclid(12)).expect("the known years are small");
    let month = u32::try_from(month.rem_euclid(12)).expect("less than twelve") + 1;
    let mut days = (1..=day).rev();
    let last = days.find_map(|day| NaiveDate::from_ymd_opt(year, month, day));
    last.expect("every month has a first day")
}

/// A day of a year; the last of a shorter year.
fn day_of_year(year: i64, day: u32) -> NaiveDate {
    let year = i32::try_from(year).expect("the known years are small");
    let found = NaiveDate::from_yo_opt(year, day).or_else(|| NaiveDate::from_yo_opt(year, 365));
    found.expect("every year has 365 days")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(zone: &str, period: Period) -> Calendar {
        Calendar { zone: zone.parse().expect("a zone"), period }
    }

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).expect("a time").timestamp_micros()
    }

    fn texts(calendar: Calendar, hint: &str) -> [String; 4] {
        calendar.periods(at(hint)).0.map(|bound| utc(bound).with_timezone(&calendar.zone).to_rfc3339())
    }

    #[test]
    fn days_follow_daylight_saving() {
        let berlin = calendar("Europe/Berlin", Period::Day);
        // The day in the middle has 23 hours.
        assert_eq!(
            texts(berlin, "2026-03-29T12:00:00Z"),
            [
                "2026-03-28T00:00:00+01:00",
                "2026-03-29T00:00:00+01:00",
                "2026-03-30T00:00:00+02:00",
                "2026-03-31T00:00:00+02:00"
            ]
        );
        let periods = berlin.periods(at("2026-10-25T12:00:00Z"));
        let (start, end) = periods.around(at("2026-10-25T12:00:00Z")).expect("within");
        assert_eq!(end - start, 25 * 3_600_000_000);
    }

    #[test]
    fn a_day_begins_with_its_first_instant() {
        // Midnight is skipped: the day begins at one.
        let sao_paulo = texts(calendar("America/Sao_Paulo", Period::Day), "2018-11-04T12:00:00Z");
        assert_eq!(sao_paulo[1], "2018-11-04T01:00:00-02:00");
        // Midnight comes twice: the day begins with the earlier.
        let havana = texts(calendar("America/Havana", Period::Day), "2026-11-01T12:00:00Z");
        assert_eq!(havana[1], "2026-11-01T00:00:00-04:00");
        assert_eq!(havana[2], "2026-11-02T00:00:00-05:00");
        // A day that never was has no period.
        let apia = texts(calendar("Pacific/Apia", Period::Day), "2011-12-30T09:00:00Z");
        assert_eq!(apia[1..3], ["2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"]);
    }

    #[test]
    fn weeks_begin_on_their_day() {
        // A Sunday.
        let hint = "2026-11-22T12:00:00Z";
        for (anchor, begin) in [(1, "2026-11-16"), (7, "2026-11-22"), (6, "2026-11-21")] {
            let bounds = texts(calendar("UTC", Period::Week(anchor)), hint);
            assert_eq!(bounds[1], format!("{begin}T00:00:00+00:00"));
        }
    }

    #[test]
    fn months_and_years_have_a_last_day_instead() {
        let months = texts(calendar("UTC", Period::Month(31)), "2026-03-01T00:00:00Z");
        assert_eq!(
            months.map(|text| text[..10].to_owned()),
            ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]
        );
        let months = texts(calendar("UTC", Period::Month(15)), "2026-01-14T23:59:59Z");
        assert_eq!(
            months.map(|text| text[..10].to_owned()),
            ["2025-11-15", "2025-12-15", "2026-01-15", "2026-02-15"]
        );
        let years = texts(calendar("UTC", Period::Year(366)), "2027-12-31T00:00:00Z");
        assert_eq!(
            years.map(|text| text[..10].to_owned()),
            ["2026-12-31", "2027-12-31", "2028-12-31", "2029-12-31"]
        );
        let years = texts(calendar("UTC", Period::Year(60)), "2028-02-28T00:00:00Z");
        assert_eq!(
            years[1..3].iter().map(|text| &text[..10]).collect::<Vec<_>>(),
            ["2027-03-01", "2028-02-29"]
        );
    }

    #[test]
    fn every_hour_of_every_zone_is_in_its_own_period() {
        let periods = [Period::Day, Period::Week(3), Period::Month(31), Period::Year(59)];
        let (start, hour) = (at("2010-12-01T00:30:00Z"), 3_600_000_000);
        for (number, zone) in chrono_tz::TZ_VARIANTS.into_iter().enumerate() {
            let calendar = Calendar { zone, period: periods[number % periods.len()] };
            let mut before = None;
            for hour in (0..400 * 24).step_by(23).map(|step| start + step * hour) {
                let periods = calendar.periods(hour);
                assert!(periods.0.is_sorted_by(|a, b| a < b), "{zone} {hour} {periods:?}");
                let present = periods.around(hour).expect("within");
                assert_eq!(present, (periods.0[1], periods.0[2]), "{zone} {hour}");
                let goes_on =
                    before.is_none_or(|before| before == present || before == (periods.0[0], periods.0[1]));
                assert!(goes_on, "{zone} {hour}: {before:?} {present:?}");
                before = Some(present);
            }
        }
    }
}
