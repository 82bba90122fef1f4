//! The limits of a new key, checked: every rule that is broken is named by a JSON pointer.

use chrono_tz::Tz;
use tollgate_proto::ratelimit::{self as wire, Algorithm};

use super::{Calendar, Counting, Limit, OnFailure, Period};
use crate::input::Problems;

/// How many limits of its own a key may have.
const PER_KEY: usize = 8;
const NAME_CHARACTERS: usize = 64;
/// The largest number of a limit.
pub(crate) const MAX_UNITS: u64 = 1_000_000_000;
/// 400 days.
const MAX_WINDOW_SECONDS: u32 = 34_560_000;
const MICROS: u64 = 1_000_000;

/// The limits of a new key.
pub(crate) fn parse(limits: &[wire::Limit], problems: &mut Problems) -> Vec<Limit> {
    let limits = problems.at_most(limits, PER_KEY, "/limits");
    for (place, limit) in limits.iter().enumerate() {
        if limits[..place].iter().any(|earlier| earlier.name == limit.name) {
            problems.add(format!("/limits/{place}/name"), "another limit of this key has the same name");
        }
    }
    limits.iter().enumerate().map(|(place, limit)| Place { place, problems }.limit(limit)).collect()
}

/// The limit at this place of the list, and where its mistakes go.
struct Place<'a> {
    place: usize,
    problems: &'a mut Problems,
}

impl Place<'_> {
    fn wrong(&mut self, field: &str, detail: impl Into<String>) {
        self.problems.add(format!("/limits/{}/{field}", self.place), detail.into());
    }

    fn limit(&mut self, limit: &wire::Limit) -> Limit {
        if !is_name(&limit.name) {
            self.wrong("name", format!("must have 1 to {NAME_CHARACTERS} of the characters a-z 0-9 _ . -"));
        }
        if !(1..=MAX_UNITS).contains(&limit.limit) {
            self.wrong("limit", format!("must be 1 to {MAX_UNITS}"));
        }
        Limit {
            name: limit.name.clone(),
            limit: limit.limit,
            counting: self.counting(limit),
            on_failure: self.on_failure(limit.on_failure),
            shadow: limit.shadow,
        }
    }

    fn counting(&mut self, limit: &wire::Limit) -> Counting {
        let window_seconds = limit.window_seconds;
        match Algorithm::try_from(limit.algorithm) {
            Ok(Algorithm::Unspecified | Algorithm::SlidingWindow) => {
                self.window(window_seconds);
                self.no_burst(limit);
                self.no_calendar(limit);
                Counting::SlidingWindow { window_seconds }
            }
            Ok(Algorithm::TokenBucket) => {
                self.window(window_seconds);
                self.no_calendar(limit);
                Counting::TokenBucket { window_seconds, burst: self.burst(limit) }
            }
            Ok(Algorithm::Calendar) => {
                if window_seconds != 0 {
                    self.wrong("window_seconds", "must be left out: a calendar limit counts by `calendar`");
                }
                self.no_burst(limit);
                Counting::Calendar { calendar: self.calendar(limit.calendar.as_ref()) }
            }
            Ok(Algorithm::Concurrency) => {
                let why = "`concurrency` is not for keys: nobody tells the gate when a call ends. It is for those who \
                           call the ratelimit role themselves";
                self.wrong("algorithm", why);
                Counting::SlidingWindow { window_seconds }
            }
            Err(_) => {
                self.wrong("algorithm", "must be `sliding_window`, `token_bucket` or `calendar`");
                Counting::SlidingWindow { window_seconds }
            }
        }
    }

    fn window(&mut self, seconds: u32) {
        if !(1..=MAX_WINDOW_SECONDS).contains(&seconds) {
            self.wrong("window_seconds", format!("must be 1 to {MAX_WINDOW_SECONDS} (400 days)"));
        }
    }

    fn no_burst(&mut self, limit: &wire::Limit) {
        if limit.burst != 0 {
            self.wrong("burst", "must be left out: only a `token_bucket` has one");
        }
    }

    fn no_calendar(&mut self, limit: &wire::Limit) {
        if limit.calendar.is_some() {
            self.wrong("calendar", "must be left out: only a limit by `calendar` has one");
        }
    }

    /// What the full bucket holds; what is refilled per window if it is not given.
    fn burst(&mut self, limit: &wire::Limit) -> u64 {
        let burst = if limit.burst == 0 { limit.limit } else { limit.burst };
        if limit.burst > MAX_UNITS {
            self.wrong("burst", format!("must be 1 to {MAX_UNITS}"));
        } else if fills_in(burst, limit).is_some_and(|micros| micros > u64::from(MAX_WINDOW_SECONDS) * MICROS)
        {
            self.wrong("burst", "is too much: the empty bucket must be full within 400 days");
        }
        burst
    }

    fn calendar(&mut self, calendar: Option<&wire::Calendar>) -> Calendar {
        let utc = Calendar { period: Period::Day, time_zone: "UTC".to_owned(), anchor_day: 0 };
        let Some(calendar) = calendar else {
            self.wrong("calendar", "is required of a limit by `calendar`");
            return utc;
        };
        let Some(period) = period(calendar.period) else {
            self.wrong("calendar/period", "must be `day`, `week`, `month` or `year`");
            return utc;
        };
        let (anchor_day, time_zone) =
            (self.anchor(period, calendar.anchor_day), self.zone(&calendar.time_zone));
        Calendar { period, time_zone, anchor_day }
    }

    fn anchor(&mut self, period: Period, day: u32) -> u32 {
        let (most, what) = match period {
            Period::Day if day != 0 => {
                self.wrong("calendar/anchor_day", "must be left out: a day has no first day");
                return 0;
            }
            Period::Day => return 0,
            Period::Week => (7, "must be 1 (Monday) to 7"),
            Period::Month => (31, "must be 1 to 31"),
            Period::Year => (366, "must be 1 to 366, the day of the year"),
        };
        if day > most {
            self.wrong("calendar/anchor_day", what);
        }
        day.max(1)
    }

    fn zone(&mut self, name: &str) -> String {
        match name.parse::<Tz>() {
            _ if name.is_empty() => "UTC".to_owned(),
            Ok(zone) => zone.name().to_owned(),
            Err(_) => {
                self.wrong("calendar/time_zone", "must be an IANA time zone, such as `Europe/Berlin`");
                "UTC".to_owned()
            }
        }
    }

    fn on_failure(&mut self, number: i32) -> OnFailure {
        match wire::OnFailure::try_from(number) {
            Ok(wire::OnFailure::Unspecified | wire::OnFailure::Local) => OnFailure::Local,
            Ok(wire::OnFailure::Deny) => OnFailure::Deny,
            Ok(wire::OnFailure::Allow) => OnFailure::Allow,
            Err(_) => {
                self.wrong("on_failure", "must be `local`, `deny` or `allow`");
                OnFailure::Local
            }
        }
    }
}

/// How long the empty bucket takes to be full, in microseconds, as the counter refills it: one unit at a time, every
/// window / limit, rounded up. `None` if the limit is none, which is said elsewhere.
fn fills_in(burst: u64, limit: &wire::Limit) -> Option<u64> {
    let window = u64::from(limit.window_seconds) * MICROS;
    let interval = window.checked_add(limit.limit.checked_sub(1)?)? / limit.limit;
    Some(burst.saturating_mul(interval))
}

/// Whether a limit can have this name.
pub(crate) fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
    (1..=NAME_CHARACTERS).contains(&text.len()) && text.bytes().all(allowed)
}

fn period(number: i32) -> Option<Period> {
    match wire::Period::try_from(number).ok()? {
        wire::Period::Unspecified => None,
        wire::Period::Day => Some(Period::Day),
        wire::Period::Week => Some(Period::Week),
        wire::Period::Month => Some(Period::Month),
        wire::Period::Year => Some(Period::Year),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(name: &str, limit: u64, window_seconds: u32) -> wire::Limit {
        wire::Limit { name: name.into(), limit, window_seconds, ..Default::default() }
    }

    fn bucket(limit: u64, window_seconds: u32, burst: u64) -> wire::Limit {
        wire::Limit { algorithm: Algorithm::TokenBucket.into(), burst, ..wire("a", limit, window_seconds) }
    }

    fn calendar(period: wire::Period, time_zone: &str, anchor_day: u32) -> wire::Limit {
        let calendar = wire::Calendar { period: period.into(), time_zone: time_zone.into(), anchor_day };
        wire::Limit { algorithm: Algorithm::Calendar.into(), calendar: Some(calendar), ..wire("a", 1, 0) }
    }

    fn wrongs(limits: &[wire::Limit]) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        parse(limits, &mut problems);
        let Err(fault) = problems.check() else { return vec![] };
        let said = fault.violated().iter();
        said.map(|it| (it.pointer.clone().into_owned(), it.detail.clone().into_owned())).collect()
    }

    fn pointers(limits: &[wire::Limit]) -> Vec<String> {
        wrongs(limits).into_iter().map(|(pointer, _)| pointer).collect()
    }

    #[test]
    fn bounds() {
        let fine = [wire("a", 1, 1), wire(&"b".repeat(64), 1_000_000_000, 34_560_000)];
        assert_eq!(wrongs(&fine), []);
        let wrong = [
            wire("", 1, 1),
            wire("A", 1, 1),
            wire("a", 0, 1),
            wire("b", 1_000_000_001, 1),
            wire("c", 1, 0),
            wire("d", 1, 34_560_001),
        ];
        assert_eq!(
            pointers(&wrong),
            [
                "/limits/0/name",
                "/limits/1/name",
                "/limits/2/limit",
                "/limits/3/limit",
                "/limits/4/window_seconds",
                "/limits/5/window_seconds",
            ]
        );
        let many: Vec<_> = (0..9).map(|n| wire(&n.to_string(), 1, 1)).collect();
        assert_eq!(pointers(&many), ["/limits"]);
    }

    #[test]
    fn a_name_is_there_once() {
        assert_eq!(pointers(&[wire("a", 1, 1), wire("b", 1, 1), wire("a", 2, 2)]), ["/limits/2/name"]);
    }

    #[test]
    fn what_is_no_algorithm_of_keys_is_refused() {
        let unknown = wire::Limit { algorithm: 7, on_failure: 7, ..wire("a", 1, 1) };
        assert_eq!(pointers(&[unknown]), ["/limits/0/algorithm", "/limits/0/on_failure"]);
        let leases = wire::Limit { algorithm: Algorithm::Concurrency.into(), ..wire("a", 5, 60) };
        let said = wrongs(&[leases]);
        assert_eq!(said[0].0, "/limits/0/algorithm");
        assert!(said[0].1.contains("nobody tells the gate when a call ends"), "{said:?}");
    }

    #[test]
    fn a_bucket_has_a_burst_and_fills_within_400_days() {
        for fine in [
            bucket(1, 1, 0),
            bucket(1, 34_560_000, 1),
            bucket(1000, 1, 1_000_000_000),
            bucket(1, 34_560, 1000),
        ] {
            assert_eq!(wrongs(&[fine]), []);
        }
        for (limit, pointer) in [
            (bucket(10, 1, 1_000_000_001), "/limits/0/burst"),
            (bucket(1, 34_560, 1001), "/limits/0/burst"),
            (bucket(1, 34_560_000, 1_000_000_000), "/limits/0/burst"),
            (bucket(1, 0, 5), "/limits/0/window_seconds"),
            (bucket(0, 1, 5), "/limits/0/limit"),
            (wire::Limit { burst: 5, ..wire("a", 1, 1) }, "/limits/0/burst"),
            (wire::Limit { burst: 5, ..calendar(wire::Period::Day, "", 0) }, "/limits/0/burst"),
        ] {
            assert_eq!(pointers(std::slice::from_ref(&limit)), [pointer], "{limit:?}");
        }
        let parsed = parse(&[bucket(7, 60, 0)], &mut Problems::default());
        assert_eq!(parsed[0].counting, Counting::TokenBucket { window_seconds: 60, burst: 7 });
    }

    #[test]
    fn a_calendar_has_a_period_a_zone_and_a_first_day() {
        use wire::Period::{Day, Month, Unspecified, Week, Year};
        for (fine, expected) in [
            (calendar(Day, "", 0), (Period::Day, "UTC", 0)),
            (calendar(Week, "Europe/Berlin", 0), (Period::Week, "Europe/Berlin", 1)),
            (calendar(Week, "UTC", 7), (Period::Week, "UTC", 7)),
            (
                calendar(Month, "America/Argentina/Buenos_Aires", 31),
                (Period::Month, "America/Argentina/Buenos_Aires", 31),
            ),
            (calendar(Year, "Pacific/Kiritimati", 366), (Period::Year, "Pacific/Kiritimati", 366)),
        ] {
            let mut problems = Problems::default();
            let parsed = parse(&[fine], &mut problems);
            problems.check().expect("fine");
            let (period, time_zone, anchor_day) = expected;
            let calendar = Calendar { period, time_zone: time_zone.into(), anchor_day };
            assert_eq!(parsed[0].counting, Counting::Calendar { calendar });
        }
        for (limit, field) in [
            (calendar(Unspecified, "UTC", 0), "calendar/period"),
            (calendar(Day, "UTC", 1), "calendar/anchor_day"),
            (calendar(Week, "UTC", 8), "calendar/anchor_day"),
            (calendar(Month, "UTC", 32), "calendar/anchor_day"),
            (calendar(Year, "UTC", 367), "calendar/anchor_day"),
            (calendar(Month, "Europe/Bielefeld", 1), "calendar/time_zone"),
            (calendar(Month, "europe/berlin", 1), "calendar/time_zone"),
            (calendar(Month, "+02:00", 1), "calendar/time_zone"),
            (wire::Limit { calendar: None, ..calendar(Day, "", 0) }, "calendar"),
            (wire::Limit { window_seconds: 60, ..calendar(Day, "", 0) }, "window_seconds"),
            (wire::Limit { calendar: calendar(Day, "", 0).calendar, ..wire("a", 1, 1) }, "calendar"),
            (wire::Limit { calendar: calendar(Day, "", 0).calendar, ..bucket(1, 1, 1) }, "calendar"),
        ] {
            assert_eq!(pointers(std::slice::from_ref(&limit)), [format!("/limits/0/{field}")], "{limit:?}");
        }
    }
}
