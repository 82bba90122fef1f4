//! Secrets where they do not belong: in addresses, in headers, in bodies that are wrong.

use http::Method;

use super::session::Session;

impl Session {
    /// Puts a secret everywhere but where it belongs, and nowhere where people's own words are kept. What is ours is seen by its looks
    /// where nothing else could tell.
    pub(super) async fn misplaced(&mut self, secret: &str, is_ours: bool) {
        self.in_addresses(secret, is_ours).await;
        self.in_headers(secret, is_ours).await;
        self.in_bodies(secret, is_ours).await;
    }

    async fn in_addresses(&mut self, secret: &str, is_ours: bool) {
        let mut paths = vec![
            format!("/{secret}"),
            format!("/v1/{secret}"),
            format!("//{secret}"),
            format!("/docs/{secret}"),
            format!("/v1/keys/{secret}"),
            format!("/v1/keys/{secret}/rotate"),
            format!("/v1/keys/{}/overrides/{secret}", self.key_id),
            format!("/v1/keys/{}/secrets/{secret}", self.key_id),
            format!("/v1/keys/verify/{secret}"),
            format!("/v1/whoami/{secret}"),
            format!("/v1/whoami?api_key={secret}"),
            format!("/v1/keys?q={secret}"),
            format!("/v1/keys?limit={secret}"),
            format!("/v1/keys?cursor={secret}"),
            format!("/v1/keys?status={secret}"),
            format!("/v1/keys?plan_id={secret}&metadata.{secret}={secret}"),
            format!("/v1/keys?workspace_id={secret}"),
            format!("/v1/usage?code={secret}"),
            format!("/v1/audit-events?actor={secret}&target={secret}"),
        ];
        if is_ours {
            paths.push(format!("/v1/keys?{secret}=1"));
        }
        for path in paths {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let call = self.call(method, &path);
                self.ask(call, &[]).await;
            }
        }
        if is_ours && let Ok(method) = Method::from_bytes(secret.as_bytes()) {
            let call = self.call(method, "/v1/keys");
            self.ask(call, &[]).await;
        }
    }

    async fn in_headers(&mut self, secret: &str, is_ours: bool) {
        let mut headers = vec![
            ("authorization", secret.to_owned()),
            ("authorization", format!("Api-Key {secret}")),
            ("authorization", format!("Basic {secret}")),
            ("authorization", format!("Bearer {secret} {secret}")),
            ("x-api-key", format!("Bearer {secret}")),
            ("x-api-key", format!("{secret} ")),
            ("x-api-key", format!("\"{secret}\"")),
            ("api-key", secret.to_owned()),
            ("cookie", format!("key={secret}")),
            ("traceparent", secret.to_owned()),
            ("accept", secret.to_owned()),
            ("content-type", secret.to_owned()),
            ("x-forwarded-for", secret.to_owned()),
            ("origin", format!("https://{secret}.example.com")),
            ("idempotency-key", format!("{secret} {secret}")),
        ];
        if is_ours {
            headers.push(("x-request-id", secret.to_owned()));
        }
        for (name, value) in headers {
            for path in ["/v1/whoami", "/v1/keys", "/v1/gate", "/livez"] {
                for method in [Method::GET, Method::POST] {
                    let call = self.http.call(method, path).header(name, &value);
                    self.ask(call, &[]).await;
                }
            }
        }
    }

    async fn in_bodies(&mut self, secret: &str, is_ours: bool) {
        // Halves of bodies: `S` is the secret.
        let mut bodies = vec![
            ("/v1/keys/verify", r#"{"key":"S""#),
            ("/v1/keys/verify", r#"{"key":"S"}S"#),
            ("/v1/keys/verify", "S"),
            ("/v1/keys/verify", r#""S""#),
            ("/v1/keys/verify", r#"{"key":["S"]}"#),
            ("/v1/keys/verify", r#"{"key":"S","key":"S"}"#),
            ("/v1/keys/verify", r#"{"key":"S\u0000"}"#),
            ("/v1/keys/verify", r#"{"key":"S","cost":"S"}"#),
            ("/v1/keys/verify", r#"{"key":"S","scopes":["S S"]}"#),
            ("/v1/keys/verify", r#"{"key":"S","client_ip":"S"}"#),
            ("/v1/keys/verify", r#"{"key":"S","environment":"S"}"#),
            ("/v1/keys", r#"{"name":{"a":"S"}}"#),
            ("/v1/keys", r#"{"name":"a","plan_id":"S"}"#),
            ("/v1/keys", r#"{"name":"a","consumer_id":"S"}"#),
            ("/v1/keys", r#"{"name":"a","workspace_id":"S"}"#),
            ("/v1/keys", r#"{"name":"a","environment":"S"}"#),
            ("/v1/keys", r#"{"name":"a","expires_at":"S"}"#),
            ("/v1/keys", r#"{"name":"a","allowed_ips":["S"]}"#),
            ("/v1/keys", r#"{"name":"a","scopes":["S S"]}"#),
            ("/v1/keys", r#"{"name":"a","roles":["S"]}"#),
            ("/v1/keys", r#"{"name":"a","limits":[{"name":"b","limit":1,"algorithm":"S"}]}"#),
            ("/v1/keys", r#"{"name":"a","limits":[{"name":"S S","limit":1,"window_seconds":1}]}"#),
            ("/v1/keys/revoke", r#"{"filter":{"q":"S"},"dry_run":true}"#),
            ("/v1/keys/revoke", r#"{"filter":{"S":"S"},"dry_run":"S"}"#),
            ("/v1/service-keys", r#"{"name":"a","permissions":["S"]}"#),
            ("/v1/webhooks", r#"{"url":"S","events":["key.created"]}"#),
            ("/v1/webhooks", r#"{"url":"https://example.com/","events":["S"]}"#),
            ("/v1/auth/login", r#"{"email":"S","password":"S"}"#),
            ("/v1/auth/login", r#"{"email":["S"],"password":["S"]}"#),
            ("/v1/auth/signup", r#"{"email":"S","password":"S"}"#),
            ("/v1/auth/refresh", r#"{"refresh_token":["S"]}"#),
            ("/v1/auth/refresh", r#"{"refresh_token":"Sx"}"#),
            ("/v1/invitations/accept", r#"{"token":"S"}"#),
            ("/v1/credits/settle", r#"{"request_id":"S S","cost":"S"}"#),
            ("/v1/secret-scanning/github", r#"[{"token":"S","type":"a","url":"","source":"b"}]"#),
        ];
        if is_ours {
            bodies.push(("/v1/keys/verify", r#"{"key":"S","S":1}"#));
            bodies.push(("/v1/keys", r#"{"name":"a","metadata":{"S":{"a":1,"a":2}}}"#));
        } else {
            // A name that only looks like one of ours is not repeated.
            bodies.retain(|(_, body)| !body.contains(r#""S":"#));
        }
        for (path, body) in bodies {
            let call = self.call(Method::POST, path).header("content-type", "application/json");
            self.ask(call.body(body.replace('S', secret)), &["key"]).await;
        }
    }
}
