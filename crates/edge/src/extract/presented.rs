//! What a request presents and where it comes from, before anyone has judged it.

use std::{
    convert::Infallible,
    fmt,
    net::{IpAddr, SocketAddr},
};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::{Extensions, HeaderMap, request::Parts};
use tollgate_verify::credential::{Credential, Missing};

use crate::{app::App, client_ip::client_ip, problem::Problem, seen::user_agent_of};

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
        Ok(Self::of(&parts.extensions, &parts.headers, app))
    }
}

impl ClientIp {
    /// Of a request with these extensions and headers.
    pub(crate) fn of(extensions: &Extensions, headers: &HeaderMap, app: &App) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        Self(peer.map(|peer| client_ip(peer.0.ip(), headers, &app.config.trusted_proxies)))
    }
}

/// The one credential of a request, or why there is none: that counts against its client, so it is no rejection yet.
pub(crate) struct Presented {
    pub(crate) credential: Result<Credential, Missing>,
    pub(crate) ip: ClientIp,
    /// What the client says of its program, as it is kept. Empty: not known.
    pub(crate) user_agent: String,
}

impl FromRequestParts<App> for Presented {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers, ClientIp::of(&parts.extensions, &parts.headers, app)))
    }
}

impl Presented {
    /// By these headers, from there.
    pub(crate) fn of(headers: &HeaderMap, ip: ClientIp) -> Self {
        Self { credential: Credential::from_headers(headers), ip, user_agent: user_agent_of(headers) }
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
