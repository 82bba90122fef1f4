//! What a request presents and where it comes from, before anyone has judged it.

use std::{
    convert::Infallible,
    fmt,
    net::{IpAddr, SocketAddr},
};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::request::Parts;
use tollgate_verify::credential::{Credential, Missing};

use crate::{app::App, client_ip::client_ip, problem::Problem};

/// The client's address. `None` if the connection has no peer address, as in tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientIp(pub(crate) Option<IpAddr>);

/// As the roles are told: empty if it is not known.
impl fmt::Display for ClientIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |ip| ip.fmt(f))
    }
}

impl FromRequestParts<App> for ClientIp {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(peer.map(|peer| client_ip(peer.0.ip(), &parts.headers, &app.config.trusted_proxies))))
    }
}

/// The one credential of a request.
pub(crate) struct Presented {
    pub(crate) credential: Credential,
    pub(crate) ip: ClientIp,
}

impl FromRequestParts<App> for Presented {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let credential = Credential::from_headers(&parts.headers)?;
        let Ok(ip) = ClientIp::from_request_parts(parts, app).await;
        Ok(Self { credential, ip })
    }
}

impl From<Missing> for Problem {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Absent => Self::no_credential(),
            Missing::Ambiguous => Self::ambiguous_credential("Send one credential, once."),
            Missing::Unusable => Self::invalid_credential(),
        }
    }
}
