//! The turnstile over gRPC: the service `tollgate.gate.v1.Gate`. What else is on its port is below.

pub(crate) mod manage;

use tollgate_kernel::{Code, ExposeSecret, Fault};
use tollgate_proto::{
    fault::to_status,
    gate::{
        self, AuthorizeRequest, AuthorizeResponse, RefundCallRequest, RefundCallResponse, SettleCallRequest,
        SettleCallResponse, TokenVerdict, VerifyKeyRequest, VerifyKeyResponse, VerifyTokenRequest,
        VerifyTokenResponse, authorize_response,
        gate_server::{Gate, GateServer},
    },
    ratelimit,
    time::to_wire,
};
use tollgate_verify::{
    Environment, Grant, LiveToken, TokenRefusal, VerdictCode,
    credential::{Credential, Missing},
};
use tonic::{Request, Response, Status, metadata::MetadataMap};

use crate::{
    app::App,
    gate::{KeyVerdict, Question},
    principal::Principal,
    question::Asked,
    routes::{
        calls::settle,
        verify::{check_may_verify, is_matter_of_time, millis, remaining_credits},
    },
};

/// Largest request, in bytes.
const MAX_REQUEST: usize = 64 * 1024;

/// Implements `tollgate.gate.v1.Gate`.
#[derive(Clone)]
pub struct GateService(App);

/// The service.
pub(crate) fn service(app: App) -> GateService {
    GateService(app)
}

/// The service, bounded.
pub(crate) fn server(app: App) -> GateServer<GateService> {
    GateServer::new(service(app)).max_decoding_message_size(MAX_REQUEST)
}

#[tonic::async_trait]
impl Gate for GateService {
    async fn verify_key(
        &self,
        request: Request<VerifyKeyRequest>,
    ) -> Result<Response<VerifyKeyResponse>, Status> {
        let caller = self.caller(request.metadata()).await.map_err(to_status)?;
        let verdict = self.key_verdict(&caller, request.into_inner()).await.map_err(to_status)?;
        Ok(Response::new(VerifyKeyResponse { verdict: Some(verdict) }))
    }

    async fn verify_token(
        &self,
        request: Request<VerifyTokenRequest>,
    ) -> Result<Response<VerifyTokenResponse>, Status> {
        self.caller(request.metadata()).await.map_err(to_status)?;
        let verdict = self.0.gate.token(&request.into_inner().token).await.map_err(to_status)?;
        Ok(Response::new(VerifyTokenResponse { verdict: Some(token_verdict(verdict)) }))
    }

    async fn authorize(
        &self,
        request: Request<AuthorizeRequest>,
    ) -> Result<Response<AuthorizeResponse>, Status> {
        let caller = self.caller(request.metadata()).await.map_err(to_status)?;
        let verdict = self.either_verdict(&caller, request.into_inner()).await.map_err(to_status)?;
        Ok(Response::new(AuthorizeResponse { verdict: Some(verdict) }))
    }

    async fn settle_call(
        &self,
        request: Request<SettleCallRequest>,
    ) -> Result<Response<SettleCallResponse>, Status> {
        let caller = self.caller(request.metadata()).await.map_err(to_status)?;
        let SettleCallRequest { request_id, workspace_id, cost } = request.into_inner();
        settle(&self.0, &caller, &workspace_id, request_id, Some(cost)).await.map_err(to_status)?;
        Ok(Response::new(SettleCallResponse {}))
    }

    async fn refund_call(
        &self,
        request: Request<RefundCallRequest>,
    ) -> Result<Response<RefundCallResponse>, Status> {
        let caller = self.caller(request.metadata()).await.map_err(to_status)?;
        let RefundCallRequest { request_id, workspace_id } = request.into_inner();
        settle(&self.0, &caller, &workspace_id, request_id, None).await.map_err(to_status)?;
        Ok(Response::new(RefundCallResponse {}))
    }
}

impl GateService {
    /// Who asks, if they may.
    async fn caller(&self, metadata: &MetadataMap) -> Result<Principal, Fault> {
        let credential = Credential::from_headers(metadata.as_ref()).map_err(no_caller)?;
        let principal = Principal::authenticate(&credential, &self.0.verifier).await?;
        let principal = principal.ok_or_else(|| no_caller(Missing::Unusable))?;
        check_may_verify(&self.0, &principal)?;
        Ok(principal)
    }

    async fn key_verdict(
        &self,
        caller: &Principal,
        request: VerifyKeyRequest,
    ) -> Result<gate::Verdict, Fault> {
        let environment = match request.environment() {
            gate::Environment::Unspecified => None,
            gate::Environment::Live => Some(Environment::Live),
            gate::Environment::Test => Some(Environment::Test),
        };
        let question = Question::try_from(Asked {
            environment,
            scopes: request.scopes,
            scope_expression: request.scope_expression,
            cost: request.cost,
            client_ip: request.client_ip,
            dry_run: request.dry_run,
            request_id: request.request_id,
            user_agent: request.user_agent,
            reserve: request.reserve,
            hold_seconds: request.hold_seconds,
        })?;
        Ok(self.0.gate.key(&request.key, Some(caller), &question).await?.into())
    }

    async fn either_verdict(
        &self,
        caller: &Principal,
        request: AuthorizeRequest,
    ) -> Result<authorize_response::Verdict, Fault> {
        if let Ok(Credential::Token(token)) = Credential::from_text(&request.credential) {
            let verdict = self.0.gate.token(token.expose_secret()).await?;
            return Ok(authorize_response::Verdict::Token(token_verdict(verdict)));
        }
        let verdict = self.key_verdict(
            caller,
            VerifyKeyRequest {
                key: request.credential,
                scopes: request.scopes,
                scope_expression: request.scope_expression,
                cost: request.cost,
                client_ip: request.client_ip,
                dry_run: request.dry_run,
                user_agent: request.user_agent,
                ..VerifyKeyRequest::default()
            },
        );
        Ok(authorize_response::Verdict::Key(verdict.await?))
    }
}

/// Why nobody is told anything.
fn no_caller(missing: Missing) -> Fault {
    match missing {
        Missing::Absent => {
            Fault::new(Code::Unauthenticated, "Send a service key as `authorization: Bearer …`.")
        }
        Missing::Ambiguous => Fault::new(Code::InvalidArgument, "Send one credential, once."),
        Missing::Unusable => Fault::new(Code::Unauthenticated, "The credential is not valid."),
    }
}

impl From<KeyVerdict> for gate::Verdict {
    fn from(KeyVerdict { code, grant, count }: KeyVerdict) -> Self {
        let grant = grant.as_deref();
        let denial = count.as_ref().filter(|count| !count.allowed);
        let environment = grant.map(|it| gate::Environment::from(it.environment)).unwrap_or_default();
        Self {
            valid: code == VerdictCode::Valid,
            code: gate::Code::from(code).into(),
            denied_by: denial.and_then(|it| it.denied_by.clone()),
            retry_after_ms: denial.filter(|it| is_matter_of_time(it)).map(|it| millis(it.retry_after_us)),
            key_id: grant.map(|it| it.key_id.to_string()),
            workspace_id: grant.map(|it| it.workspace_id.to_string()),
            environment: environment.into(),
            scopes: grant.map(|it| it.scopes.clone()).unwrap_or_default(),
            metadata_json: grant.map(|it| serde_json::Value::from(it.metadata.clone()).to_string()),
            expires_at: grant.and_then(|it| it.expires_at).map(to_wire),
            retires_at: grant.and_then(Grant::retires_at).map(to_wire),
            rotation_due_at: grant.and_then(|it| it.rotation_due_at).map(to_wire),
            plan: grant.map(|it| it.plan.clone()),
            consumer_id: grant.and_then(|it| it.consumer.as_ref()).map(|it| it.consumer_id.to_string()),
            degraded: count.as_ref().is_some_and(|it| it.degraded),
            credits_remaining: count.as_ref().and_then(remaining_credits),
            limits: count.map(|it| it.limits.into_iter().map(limit_state).collect()).unwrap_or_default(),
        }
    }
}

fn limit_state(state: ratelimit::LimitState) -> gate::LimitState {
    gate::LimitState {
        name: state.name,
        limit: state.limit,
        remaining: state.remaining,
        reset_ms: millis(state.reset_us),
        exceeded: state.exceeded,
        shadow: state.shadow,
    }
}

fn token_verdict(verdict: Result<LiveToken, TokenRefusal>) -> TokenVerdict {
    match verdict {
        Ok(live) => TokenVerdict {
            valid: true,
            code: gate::Code::Valid.into(),
            user_id: Some(live.claims.user_id.to_string()),
            session_id: Some(live.claims.session_id.to_string()),
            operator: live.operator,
            expires_at: Some(to_wire(live.claims.expires_at)),
        },
        Err(refusal) => TokenVerdict {
            code: gate::Code::from(VerdictCode::from(refusal)).into(),
            ..TokenVerdict::default()
        },
    }
}
