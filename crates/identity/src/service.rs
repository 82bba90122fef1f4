//! The service: messages in, domain functions, messages out.

use secrecy::{ExposeSecret, SecretString};
use tollgate_kernel::{Code, Fault, SessionId, UserId, Violation};
use tollgate_proto::{
    Identity,
    fault::to_status,
    identity::{
        GetSigningKeysRequest, GetSigningKeysResponse, GetUserRequest, GetUserResponse, LoginRequest,
        LoginResponse, LogoutRequest, LogoutResponse, RefreshRequest, RefreshResponse, ResolveSessionRequest,
        ResolveSessionResponse, Session, SignupRequest, SignupResponse, TokenSet, User,
    },
    kernel::{Caller, caller::Principal},
    time::to_wire,
};
use tonic::{Request, Response, Status};

use crate::{
    IdentityService, client,
    email::Email,
    login::Attempt,
    password::Password,
    sessions::Tokens,
    signup::{self, NewUser},
    store::{SessionRow, UserRow},
};

#[async_trait::async_trait]
impl Identity for IdentityService {
    async fn signup(&self, request: Request<SignupRequest>) -> Result<Response<SignupResponse>, Status> {
        let new = NewUser::try_from(request.into_inner()).map_err(to_status)?;
        let user = self.sign_up(new).await.map_err(to_status)?;
        Ok(Response::new(SignupResponse { user: Some(user.into()) }))
    }

    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        let attempt = Attempt::try_from(request.into_inner()).map_err(to_status)?;
        let tokens = self.log_in(attempt).await.map_err(to_status)?;
        Ok(Response::new(LoginResponse { tokens: Some(tokens.into()) }))
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Result<Response<RefreshResponse>, Status> {
        let request = request.into_inner();
        let token = SecretString::from(request.refresh_token);
        let ip = client::ip(&request.ip).map_err(to_status)?;
        let tokens = self.exchange(token.expose_secret(), ip).await.map_err(to_status)?;
        Ok(Response::new(RefreshResponse { tokens: Some(tokens.into()) }))
    }

    async fn logout(&self, request: Request<LogoutRequest>) -> Result<Response<LogoutResponse>, Status> {
        let request = request.into_inner();
        let token = SecretString::from(request.refresh_token);
        let effect = self.log_out(token.expose_secret(), request.all, !request.no_wait).await;
        Ok(Response::new(LogoutResponse { effect: effect.map_err(to_status)?.map(Into::into) }))
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        let id = user_of(request.into_inner().caller).map_err(to_status)?;
        let user = self.user(id).await.map_err(to_status)?;
        Ok(Response::new(GetUserResponse { user: Some(user.into()) }))
    }

    async fn resolve_session(
        &self,
        request: Request<ResolveSessionRequest>,
    ) -> Result<Response<ResolveSessionResponse>, Status> {
        let id: Result<SessionId, _> = request.into_inner().session_id.parse();
        let id = id.map_err(|error| to_status(Fault::invalid("/session_id", error.to_string())))?;
        // What is read from here on is what the database holds, not what it held before it was replaced.
        self.feed.confirm().await.map_err(to_status)?;
        let session = self.live_session(id).await.map_err(to_status)?;
        let session = session.map(|(session, user)| wire_session(&session, &user));
        Ok(Response::new(ResolveSessionResponse { session }))
    }

    async fn get_signing_keys(
        &self,
        _: Request<GetSigningKeysRequest>,
    ) -> Result<Response<GetSigningKeysResponse>, Status> {
        let jwks = self.keys.key_set().await.map_err(to_status)?;
        Ok(Response::new(GetSigningKeysResponse { jwks }))
    }
}

impl IdentityService {
    async fn user(&self, id: UserId) -> Result<UserRow, Fault> {
        let user = self.store.user_by_id(id).await?;
        user.filter(|user| user.disabled_at.is_none()).ok_or_else(|| Fault::not_found("user"))
    }
}

impl TryFrom<SignupRequest> for NewUser {
    type Error = Fault;

    /// Says everything that is wrong at once.
    fn try_from(request: SignupRequest) -> Result<Self, Fault> {
        let email = Email::parse(&request.email);
        let password = Password::chosen(&request.password);
        let name = signup::name(request.name.as_deref());
        let ip = client::ip(&request.ip);
        match (email, password, name, ip) {
            (Ok(email), Ok(password), Ok(name), Ok(ip)) => Ok(Self { email, password, name, ip }),
            (email, password, name, ip) => {
                let wrong = [email.err(), password.err(), name.err(), ip.err()];
                Err(Fault::violations(wrong.into_iter().flatten().flat_map(violations).collect()))
            }
        }
    }
}

impl TryFrom<LoginRequest> for Attempt {
    type Error = Fault;

    fn try_from(request: LoginRequest) -> Result<Self, Fault> {
        Ok(Self {
            email: Email::parse(&request.email)?,
            password: Password::presented(&request.password)?,
            ip: client::ip(&request.ip)?,
            user_agent: client::user_agent(&request.user_agent),
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that flat_map wants")]
fn violations(fault: Fault) -> Vec<Violation> {
    fault.violated().to_vec()
}

/// The user who asks.
fn user_of(caller: Option<Caller>) -> Result<UserId, Fault> {
    match caller.and_then(|caller| caller.principal) {
        None => Err(Fault::new(Code::Unauthenticated, "Nobody is asking.")),
        Some(Principal::ServiceKey(_)) => Err(Fault::new(Code::Forbidden, "This is for users only.")),
        Some(Principal::User(user)) => user.user_id.parse().map_err(Fault::internal),
    }
}

impl From<UserRow> for User {
    fn from(user: UserRow) -> Self {
        Self {
            id: user.id().to_string(),
            created_at: Some(to_wire(user.created_at.into())),
            email: user.email,
            name: user.name,
            operator: user.operator,
        }
    }
}

impl From<Tokens> for TokenSet {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access.expose_secret().to_owned(),
            expires_in: tokens.expires_in,
            refresh_token: tokens.refresh.expose_secret().to_owned(),
            refresh_expires_in: tokens.refresh_expires_in,
            session_id: tokens.session.to_string(),
        }
    }
}

fn wire_session(session: &SessionRow, user: &UserRow) -> Session {
    Session {
        id: session.id().to_string(),
        user_id: user.id().to_string(),
        operator: user.operator,
        expires_at: Some(to_wire(session.absolute_ends_at.into())),
    }
}
