//! Keys that were found in public, as GitHub's secret scanning reports them
//! (<https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partnership-program/secret-scanning-partner-program>).
//!
//! What is signed by GitHub is believed to have been found. A token that is a live key or service key is revoked, as if its owner
//! had done it. The token itself goes nowhere: not into the audit, not to webhooks, not into the answer.

mod github;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Value, json};
use tollgate_changes::Cut;
use tollgate_kernel::{Code, Fault, KeyId, ServiceKeyId, WorkspaceId, hex};
use tollgate_proto::keys as wire;
use tollgate_verify::{KeyKind, PresentedKey, Subject, same_digest};

pub(crate) use self::github::GithubKeys;
use crate::{
    KeysService,
    caller::Caller,
    store::{Change, Deed},
};

/// Bytes. With the rest of the message less than what one process lets another send.
const LONGEST_REPORT: usize = 1_000_000;
const MOST_FINDINGS: usize = 500;
/// Letters of a finding's address and source that are told on.
const LONGEST_PLACE: usize = 2048;

/// One of what was found. What else GitHub may come to say of it is let pass.
#[derive(Deserialize)]
struct Finding {
    token: String,
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    source: Option<String>,
}

impl Finding {
    /// Where it was found.
    fn place(&self) -> Value {
        let cut = |text: &Option<String>| {
            text.as_deref().map(|text| text.chars().take(LONGEST_PLACE).collect::<String>())
        };
        json!({ "by": "github", "url": cut(&self.url), "source": cut(&self.source) })
    }
}

impl KeysService {
    pub(crate) async fn report_leaks(
        &self,
        message: wire::ReportLeaksRequest,
    ) -> Result<wire::ReportLeaksResponse, Fault> {
        let source = &self.config.github_secret_scanning_keys;
        if source.is_empty() {
            return Err(Fault::not_found("receiver of secret scanning"));
        }
        if message.body.len() > LONGEST_REPORT {
            return Err(Fault::invalid("", format!("has more than {LONGEST_REPORT} bytes")));
        }
        let now = self.clock.now();
        let genuine = self
            .github
            .has_signed(
                source,
                &self.outbound,
                now,
                &message.key_identifier,
                &message.signature,
                &message.body,
            )
            .await?;
        if !genuine {
            let text = "The signature is not one of GitHub's over this body.";
            return Err(Fault::new(Code::Unauthenticated, text));
        }
        let findings: Vec<Finding> = serde_json::from_slice(&message.body)
            .map_err(|_| Fault::invalid("", "is not an array of findings with a `token` each"))?;
        if findings.len() > MOST_FINDINGS {
            return Err(Fault::invalid("", format!("has more than {MOST_FINDINGS} findings")));
        }
        self.store.confirm().await?;
        let mut verdicts = Vec::with_capacity(findings.len());
        for finding in findings {
            let ours = self.end_leaked(&finding).await?;
            metrics::counter!("tollgate_leaks_reported_total", "ours" => if ours { "yes" } else { "no" })
                .increment(1);
            let token_hash = hex(digest(&SHA256, finding.token.as_bytes()).as_ref());
            verdicts.push(wire::LeakVerdict {
                token_hash,
                token_type: finding.r#type.unwrap_or_default(),
                ours,
            });
        }
        Ok(wire::ReportLeaksResponse { verdicts })
    }

    /// Revokes what was found, if it is a key that passes or could pass again. Says whether it is, or was, a key of ours.
    async fn end_leaked(&self, finding: &Finding) -> Result<bool, Fault> {
        match PresentedKey::parse(&finding.token) {
            Some(presented) if presented.kind == KeyKind::Service => {
                self.end_leaked_service_key(&presented, finding).await
            }
            Some(presented) => self.end_leaked_key(&presented, finding).await,
            None => Ok(false),
        }
    }

    async fn end_leaked_key(&self, presented: &PresentedKey, finding: &Finding) -> Result<bool, Fault> {
        let found = self.store.key_by_public_id(&presented.public_id).await?;
        let Some(found) = found.filter(|it| same_digest(&it.secret.digest, &presented.digest)) else {
            return Ok(false);
        };
        let now = self.clock.now();
        // A secret that has ended for good is of no use to anybody, and the key has others.
        let ended =
            found.secret.revoked_at.is_some() || found.secret.retired_at.is_some_and(|at| at.0 <= now);
        if found.key.revoked_at.is_none() && !ended {
            let id: KeyId = found.key.id.typed();
            let change = self.leaked(
                Subject::Key(id),
                found.key.workspace_id.typed(),
                "key.leaked",
                id.to_string(),
                finding,
            );
            self.store.key_revoke(change, id, now).await?;
        }
        Ok(true)
    }

    async fn end_leaked_service_key(
        &self,
        presented: &PresentedKey,
        finding: &Finding,
    ) -> Result<bool, Fault> {
        let found = self.store.service_key_by_public_id(&presented.public_id).await?;
        let Some(key) = found.filter(|it| same_digest(&it.digest, &presented.digest)) else {
            return Ok(false);
        };
        if key.revoked_at.is_none() {
            let (id, now): (ServiceKeyId, _) = (key.id.typed(), self.clock.now());
            let change = self.leaked(
                Subject::ServiceKey(id),
                key.workspace_id.typed(),
                "service_key.leaked",
                id.to_string(),
                finding,
            );
            self.store.service_key_revoke(change, id, now).await?;
        }
        Ok(true)
    }

    /// Waits until it holds everywhere, as a revocation by its owner does. If a report of many keys takes too long for that, GitHub
    /// reports again, and what was revoked is passed over.
    fn leaked(
        &self,
        subject: Subject,
        workspace: WorkspaceId,
        action: &'static str,
        target: String,
        finding: &Finding,
    ) -> Change {
        let deed = Deed { caller: &Caller::SYSTEM, workspace, action, target, at: self.clock.now() };
        Change::cuts_off(&self.store, Cut { subject, wait: true }, deed).noting("leak", finding.place())
    }
}
