//! Who makes a management request: a user by access token, or a service key. Authenticates, behind the door that counts
//! who fails; the role authorizes.

use axum::extract::FromRequestParts;
use http::request::Parts;
use tollgate_proto::kernel;

use super::{ClientIp, Presented};
use crate::{
    app::App,
    principal::{self, Principal},
    problem::Problem,
};

/// The caller, and where it calls from.
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    ip: ClientIp,
}

impl Caller {
    /// The first field of the request to a role.
    pub(crate) fn to_proto(&self) -> kernel::Caller {
        principal::caller(self.principal.to_proto(), self.ip.to_string())
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Ok(presented) = Presented::from_request_parts(parts, app).await;
        Self::of(presented, app).await
    }
}

impl Caller {
    /// Who presents this, whichever way it came.
    pub(crate) async fn of(presented: Presented, app: &App) -> Result<Self, Problem> {
        let Presented { credential, ip, .. } = presented;
        let attempt = async {
            let credential = credential.as_ref().map_err(|missing| Problem::from(*missing))?;
            let principal = Principal::authenticate(credential, &app.verifier).await?;
            principal.ok_or_else(Problem::invalid_credential)
        };
        let presented = credential.as_ref().ok();
        let principal = app.gate.door.guard(&app.verifier, presented, ip, attempt).await?;
        Ok(Self { principal, ip })
    }
}
