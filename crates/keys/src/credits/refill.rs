//! What comes from time to time by itself. Pure.
//!
//! A refill is named by the beginning of its period, and made once. `raise` lifts a balance that is below the amount up to it;
//! periods that were missed are one. `add` adds the amount for every period, also for those that were missed, up to the cap.

use chrono::SecondsFormat;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use tollgate_db::DbJson;
use tollgate_kernel::{Fault, Timestamp};
use tollgate_proto::{keys as wire, ratelimit};

use super::{MAX_CREDITS, period::Period};
use crate::input::Problems;

/// The most periods that are made up for: more than there are days in which a service is away.
const MOST_MISSED: usize = 100;

/// How an account is refilled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refill {
    mode: Mode,
    amount: i64,
    period: Period,
    zone: String,
    cap: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Raise,
    Add,
}

/// Refills that are to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// The request ids of the refills, the first the oldest.
    pub(crate) periods: Vec<String>,
    /// When the next one is due.
    pub(crate) then: Timestamp,
}

impl Refill {
    pub(crate) fn parse(refill: &wire::CreditRefill, problems: &mut Problems) -> Option<Self> {
        let mode = match refill.mode() {
            wire::CreditRefillMode::Add => Mode::Add,
            _ => Mode::Raise,
        };
        let period = match refill.period() {
            ratelimit::Period::Day => Some(Period::Day),
            ratelimit::Period::Week => Some(Period::Week),
            ratelimit::Period::Month => Some(Period::Month),
            _ => None,
        };
        if period.is_none() {
            problems.add("/refill/period", "must be a day, a week or a month");
        }
        let amount = super::units(refill.amount, "/refill/amount", problems);
        let cap = refill.cap.map_or(Some(MAX_CREDITS), |cap| super::units(cap, "/refill/cap", problems));
        if refill.cap.is_some() && mode == Mode::Raise {
            problems.add("/refill/cap", "is of the mode `add` only: `raise` lifts to the amount");
        }
        let zone = if refill.time_zone.is_empty() { "UTC" } else { &refill.time_zone };
        if zone.parse::<Tz>().is_err() {
            problems.add("/refill/time_zone", "must be an IANA time zone, such as `Europe/Berlin`");
        }
        Some(Self { mode, amount: amount?, period: period?, zone: zone.to_owned(), cap: cap? })
    }

    /// From a column; `null`: none.
    pub(crate) fn read(json: &DbJson) -> Result<Option<Self>, Fault> {
        Option::deserialize(&json.0).map_err(Fault::internal)
    }

    /// For a column.
    pub(crate) fn write(refill: Option<&Self>) -> DbJson {
        DbJson(serde_json::to_value(refill).expect("a refill is numbers and words"))
    }

    pub(crate) fn to_wire(&self) -> wire::CreditRefill {
        let (mode, cap) = match self.mode {
            Mode::Raise => (wire::CreditRefillMode::Raise, None),
            Mode::Add => (wire::CreditRefillMode::Add, Some(self.cap)),
        };
        let period = match self.period {
            Period::Day => ratelimit::Period::Day,
            Period::Week => ratelimit::Period::Week,
            Period::Month => ratelimit::Period::Month,
        };
        wire::CreditRefill {
            mode: mode.into(),
            amount: self.amount.unsigned_abs(),
            period: period.into(),
            time_zone: self.zone.clone(),
            cap: cap.filter(|cap| *cap < MAX_CREDITS).map(i64::unsigned_abs),
        }
    }

    /// The refills that are to be made at `now`, the next one having been due at `next`.
    pub(crate) fn due(&self, next: Timestamp, now: Timestamp) -> Due {
        let zone = self.zone();
        let mut periods = Vec::new();
        let mut begin = match self.mode {
            Mode::Raise => self.period.begin(zone, now),
            Mode::Add => self.period.begin(zone, next),
        };
        while begin <= now && periods.len() < MOST_MISSED {
            periods.push(format!("refill:{}", begin.to_rfc3339_opts(SecondsFormat::Secs, true)));
            begin = self.period.end(zone, begin);
        }
        Due { periods, then: begin }
    }

    /// By how much one refill raises this balance.
    pub(crate) fn raises(&self, balance: i64) -> i64 {
        match self.mode {
            Mode::Raise => (self.amount - balance).max(0),
            Mode::Add => self.amount.min(self.cap - balance).max(0),
        }
    }

    fn zone(&self) -> Tz {
        // It was checked when it came; a zone that is gone since is UTC rather than a refill that is never made.
        self.zone.parse().unwrap_or(Tz::UTC)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn refill(mode: Mode) -> Refill {
        Refill { mode, amount: 100, period: Period::Day, zone: "UTC".into(), cap: 250 }
    }

    fn at(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).expect("a time").with_timezone(&Utc)
    }

    #[test]
    fn missed_periods_are_one_for_raise_and_each_for_add() {
        let (next, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-03T12:00:00Z"));
        let raise = refill(Mode::Raise).due(next, now);
        assert_eq!(raise.periods, ["refill:2026-01-03T00:00:00Z"]);
        assert_eq!(raise.then, at("2026-01-04T00:00:00Z"));
        let add = refill(Mode::Add).due(next, now);
        let days = ["01", "02", "03"].map(|day| format!("refill:2026-01-{day}T00:00:00Z"));
        assert_eq!((add.periods, add.then), (days.to_vec(), at("2026-01-04T00:00:00Z")));
    }

    #[test]
    fn a_balance_is_raised_to_the_amount_or_by_it_up_to_the_cap() {
        assert_eq!([0, 40, 100, 300].map(|it| refill(Mode::Raise).raises(it)), [100, 60, 0, 0]);
        assert_eq!([0, 149, 200, 300].map(|it| refill(Mode::Add).raises(it)), [100, 100, 50, 0]);
    }

    #[test]
    fn a_long_absence_is_made_up_for_in_pieces() {
        let due = refill(Mode::Add).due(at("2024-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
        assert_eq!(due.periods.len(), MOST_MISSED);
        assert_eq!(due.then, at("2024-04-10T00:00:00Z"));
    }
}
