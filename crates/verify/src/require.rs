//! A [`tower`] layer that lets a request through if its credential is good, with its [`Identity`] in the extensions.
//!
//! The credential is taken from `X-API-Key` or `Authorization: Bearer`, exactly one of them. What is refused never reaches the
//! service behind; the answers are those of the edge (RFC 9457, with the challenges of RFC 6750).
//!
//! Limits are not counted here; see [`admission`](crate::admission).

use std::{
    mem,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use tower::{Layer, Service};

use self::answer::Refused;
use crate::{
    Accepts, Admission, Credential, Demand, Environment, Identity, ScopeExpression, credential::API_KEY,
};

mod answer;

/// Where a request comes from, for keys that are bound to networks. A service that knows its proxies puts it into the
/// request's extensions, outside of [`Require`]; without it such keys are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientIp(pub IpAddr);

/// The layer.
#[derive(Debug, Clone)]
pub struct Require {
    admission: Admission,
    accepts: Accepts,
    scopes: Arc<[String]>,
    expression: Option<Arc<ScopeExpression>>,
    environment: Option<Environment>,
}

/// A service behind [`Require`].
#[derive(Debug, Clone)]
pub struct Required<S> {
    inner: S,
    require: Require,
}

impl Require {
    /// An access token.
    pub fn user(admission: Admission) -> Self {
        Self::of(admission, Accepts::User)
    }

    /// An API key.
    pub fn key(admission: Admission) -> Self {
        Self::of(admission, Accepts::Key)
    }

    /// An access token or an API key.
    pub fn either(admission: Admission) -> Self {
        Self::of(admission, Accepts::Either)
    }

    /// A key must have all of these scopes; none of them is a wildcard. An access token has none, and needs none.
    #[must_use]
    pub fn scopes<T: Into<String>>(self, scopes: impl IntoIterator<Item = T>) -> Self {
        Self { scopes: scopes.into_iter().map(Into::into).collect(), ..self }
    }

    /// A key's scopes must meet this too: `"orders.read and (reports.read or admin)".parse()?`.
    #[must_use]
    pub fn scope_expression(self, expression: ScopeExpression) -> Self {
        Self { expression: Some(Arc::new(expression)), ..self }
    }

    /// A key must be of this environment.
    #[must_use]
    pub fn environment(self, environment: Environment) -> Self {
        Self { environment: Some(environment), ..self }
    }

    fn of(admission: Admission, accepts: Accepts) -> Self {
        Self { admission, accepts, scopes: Arc::default(), expression: None, environment: None }
    }

    async fn identify(&self, credential: &Credential, from: Option<ClientIp>) -> Result<Identity, Refused> {
        let demand = Demand {
            scopes: &self.scopes,
            expression: self.expression.as_deref(),
            client_ip: from.map(|ClientIp(ip)| ip),
            environment: self.environment,
        };
        let admitted = self.admission.either(credential, self.accepts, &demand).await;
        admitted.map_err(Refused::Fault)?.map_err(Refused::Verdict)
    }
}

impl<S> Layer<S> for Require {
    type Service = Required<S>;

    fn layer(&self, inner: S) -> Required<S> {
        Required { inner, require: self.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for Required<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let require = self.require.clone();
        // The one that was polled is ready; its clone need not be.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let credential = Credential::from_headers(request.headers());
        let from = request.extensions().get().copied();
        Box::pin(async move {
            let identified = match &credential {
                Ok(credential) => require.identify(credential, from).await,
                Err(missing) => Err(Refused::Missing(*missing)),
            };
            match identified {
                Ok(identity) => {
                    hide(request.headers_mut());
                    request.extensions_mut().insert(identity);
                    inner.call(request).await
                }
                Err(refused) => Ok(refused.into_response()),
            }
        })
    }
}

/// So that what is behind does not print the credential with the headers.
fn hide(headers: &mut HeaderMap) {
    for name in [&API_KEY, &AUTHORIZATION] {
        if let Some(value) = headers.get_mut(name) {
            value.set_sensitive(true);
        }
    }
}

#[cfg(test)]
mod tests;
