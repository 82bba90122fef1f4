//! In how many days something that is to be made will end. Pure.

use tollgate_kernel::Fault;

const MAX_DAYS: u32 = 36_500;

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
    fn days_are_bounded() {
        assert_eq!(days(None).expect("never"), 0);
        for fine in [1, MAX_DAYS] {
            assert_eq!(days(Some(fine)).expect("within bounds"), fine);
        }
        for wrong in [0, MAX_DAYS + 1, u32::MAX] {
            assert_eq!(days(Some(wrong)).expect_err("out of bounds").violated().len(), 1);
        }
    }
}
