//! Faults as gRPC statuses, and back.
//!
//! The code, the public message, the violations (`google.rpc.BadRequest`) and the wait (`google.rpc.RetryInfo`) cross the
//! wire. The cause does not: [`to_status`] is the boundary at which it is logged, once.

use tollgate_kernel::{Code, Fault, Violation};
use tonic::Status;
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// The domain of our `google.rpc.ErrorInfo`: a status without it was not made by Tollgate.
const DOMAIN: &str = "tollgate";

/// The gRPC code of each kind of fault.
pub const fn grpc_code(code: Code) -> tonic::Code {
    match code {
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::Forbidden => tonic::Code::PermissionDenied,
        Code::NotFound => tonic::Code::NotFound,
        Code::Conflict => tonic::Code::AlreadyExists,
        Code::RateLimited => tonic::Code::ResourceExhausted,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        Code::Internal => tonic::Code::Internal,
    }
}

/// The kind of fault of each gRPC code, whoever made it.
const fn fault_code(code: tonic::Code) -> Code {
    match code {
        tonic::Code::InvalidArgument | tonic::Code::OutOfRange => Code::InvalidArgument,
        tonic::Code::Unauthenticated => Code::Unauthenticated,
        tonic::Code::PermissionDenied => Code::Forbidden,
        tonic::Code::NotFound => Code::NotFound,
        tonic::Code::AlreadyExists | tonic::Code::Aborted | tonic::Code::FailedPrecondition => Code::Conflict,
        tonic::Code::ResourceExhausted => Code::RateLimited,
        tonic::Code::Unavailable => Code::Unavailable,
        // A timeout on our side of the channel reads as Cancelled.
        tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => Code::DeadlineExceeded,
        tonic::Code::Ok
        | tonic::Code::Unknown
        | tonic::Code::Unimplemented
        | tonic::Code::Internal
        | tonic::Code::DataLoss => Code::Internal,
    }
}

/// The status that says this fault, and the one log line with its cause.
#[expect(clippy::needless_pass_by_value, reason = "a fault ends here; also the shape that map_err wants")]
pub fn to_status(fault: Fault) -> Status {
    if let Some(cause) = fault.cause() {
        if fault.code() == Code::Internal {
            tracing::error!(code = fault.code().as_str(), cause, "fault");
        } else {
            tracing::warn!(code = fault.code().as_str(), cause, "fault");
        }
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(fault.code().as_str(), DOMAIN, std::collections::HashMap::<String, String>::new());
    if !fault.violated().is_empty() {
        let violations = fault.violated().iter();
        details.set_bad_request(
            violations.map(|v| FieldViolation::new(&*v.pointer, &*v.detail)).collect::<Vec<_>>(),
        );
    }
    if let Some(wait) = fault.wait() {
        details.set_retry_info(Some(wait));
    }
    Status::with_error_details(grpc_code(fault.code()), fault.message(), details)
}

/// The fault that a status says. The text of a status that Tollgate did not make becomes the cause, not the message.
#[expect(clippy::needless_pass_by_value, reason = "a status ends here; also the shape that map_err wants")]
pub fn from_status(status: Status) -> Fault {
    let details = status.get_error_details();
    let code = fault_code(status.code());
    if details.error_info().is_none_or(|info| info.domain != DOMAIN) {
        return foreign(code).caused_by(format!("{:?}: {}", status.code(), status.message()));
    }
    let violations: Vec<_> = details
        .bad_request()
        .map(|bad| bad.field_violations.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|v| Violation { pointer: v.field.clone().into(), detail: v.description.clone().into() })
        .collect();
    let fault = if violations.is_empty() {
        Fault::new(code, status.message().to_owned())
    } else {
        Fault::violations(violations)
    };
    match details.retry_info().and_then(|info| info.retry_delay) {
        Some(wait) => fault.retry_after(wait),
        None => fault,
    }
}

/// A fault of a connection or of a library: its own text is not for the public.
fn foreign(code: Code) -> Fault {
    match code {
        Code::Unavailable => Fault::unavailable("no answer"),
        Code::DeadlineExceeded => Fault::new(code, "The answer took too long; try again shortly."),
        _ => Fault::internal("an unexpected status"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_fault_survives_the_wire() {
        for code in Code::ALL {
            let fault =
                Fault::new(code, "said aloud").caused_by("not said").retry_after(Duration::from_millis(1500));
            let status = to_status(fault);
            assert!(!format!("{status:?}").contains("not said"));
            let back = from_status(status);
            assert_eq!((back.code(), back.message()), (code, "said aloud"));
            assert_eq!(back.wait(), Some(Duration::from_millis(1500)));
            assert_eq!(back.cause(), None);
        }
    }

    #[test]
    fn violations_survive_the_wire() {
        let back = from_status(to_status(Fault::invalid("/name", "is too long")));
        assert_eq!(back.code(), Code::InvalidArgument);
        assert_eq!(back.violated(), [Violation { pointer: "/name".into(), detail: "is too long".into() }]);
    }

    #[test]
    fn a_library_s_text_stays_inside() {
        let back = from_status(Status::unavailable("tcp connect error: 10.0.0.7:9102"));
        assert_eq!(back.code(), Code::Unavailable);
        assert!(!back.message().contains("10.0.0.7"));
        assert!(back.cause().expect("kept for the log").contains("10.0.0.7"));
    }
}
