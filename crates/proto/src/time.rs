//! Instants on the wire: `google.protobuf.Timestamp` and back.

use chrono::{DateTime, SubsecRound};
use prost_types::Timestamp as Wire;
use tollgate_kernel::{Fault, Timestamp};

/// An instant for the wire.
pub fn to_wire(at: Timestamp) -> Wire {
    let nanos = i32::try_from(at.timestamp_subsec_nanos()).expect("chrono keeps fractions below two seconds");
    Wire { seconds: at.timestamp(), nanos }
}

/// An instant from the wire, cut to microseconds, as the databases keep it.
///
/// # Errors
/// [`tollgate_kernel::Code::InvalidArgument`] at `pointer` if it is outside of what a calendar can say.
pub fn from_wire(at: Wire, pointer: &'static str) -> Result<Timestamp, Fault> {
    u32::try_from(at.nanos)
        .ok()
        .and_then(|nanos| DateTime::from_timestamp(at.seconds, nanos))
        .map(|at| at.trunc_subsecs(6))
        .ok_or_else(|| Fault::invalid(pointer, "is not an instant"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn microseconds_survive(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            let at = DateTime::from_timestamp_micros(micros).expect("in range");
            prop_assert_eq!(from_wire(to_wire(at), "").expect("in range"), at);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for wire in [Wire { seconds: i64::MAX, nanos: 0 }, Wire { seconds: 0, nanos: -1 }] {
            assert!(from_wire(wire, "/at").is_err());
        }
    }
}
