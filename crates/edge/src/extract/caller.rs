//! Who makes a management request: a user by access token, or a service key. Authenticates, behind the door that counts
//! who fails; the role authorizes.

use axum::extract::FromRequestParts;
use http::request::Parts;
use tollgate_kernel::Fault;
use tollgate_proto::{
    fault::from_status,
    identity::GetUserRequest,
    kernel::{self, caller::Principal as WirePrincipal},
};
use tonic::Request;

use super::{ClientIp, Presented};
use crate::{
    app::App,
    principal::{self, Principal},
    problem::Problem,
    wire::required,
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

    /// The same with a user's e-mail address, for a role that compares it with something: only identity knows it.
    pub(crate) async fn with_address(&self, app: &App) -> Result<kernel::Caller, Fault> {
        let mut caller = self.to_proto();
        let request = GetUserRequest { caller: Some(caller.clone()) };
        if let Some(WirePrincipal::User(user)) = &mut caller.principal {
            let answer = app.identity.get_user(Request::new(request)).await.map_err(from_status)?;
            user.email = required(answer.into_inner().user, "user")?.email;
        }
        Ok(caller)
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
