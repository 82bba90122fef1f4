//! When something that is to be made will end: as an instant or in days, not both. Pure.

use chrono::TimeDelta;
use tollgate_kernel::{Fault, Timestamp, Violation};

const MAX_DAYS: u32 = 36_500;

/// The instant; `None`: never.
pub(crate) fn expiry(
    at: Option<Timestamp>,
    in_days: Option<u32>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Fault> {
    match (at, in_days) {
        (Some(_), Some(_)) => {
            let violation = |pointer: &'static str, detail: &'static str| Violation {
                pointer: pointer.into(),
                detail: detail.into(),
            };
            Err(Fault::violations(vec![
                violation("/expires_at", "cannot be given together with `expires_in_days`"),
                violation("/expires_in_days", "cannot be given together with `expires_at`"),
            ]))
        }
        (None, Some(_)) => Ok(Some(now + TimeDelta::days(days(in_days)?.into()))),
        (at, None) => Ok(at),
    }
}

/// The days for a role, to which zero means "not given": which is not what a client means by it.
pub(crate) fn days(days: Option<u32>) -> Result<u32, Fault> {
    match days {
        None => Ok(0),
        Some(days) if (1..=MAX_DAYS).contains(&days) => Ok(days),
        Some(_) => Err(Fault::invalid("/expires_in_days", "must be from 1 to 36500")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_the_other() {
        let now = Timestamp::UNIX_EPOCH;
        let day = now + TimeDelta::days(1);
        assert_eq!(expiry(None, None, now).expect("never"), None);
        assert_eq!(expiry(Some(day), None, now).expect("an instant"), Some(day));
        assert_eq!(expiry(None, Some(1), now).expect("a day"), Some(day));
        assert_eq!(expiry(Some(day), Some(1), now).expect_err("both").violated().len(), 2);
        for days in [0, MAX_DAYS + 1, u32::MAX] {
            assert_eq!(expiry(None, Some(days), now).expect_err("out of bounds").violated().len(), 1);
        }
    }
}
