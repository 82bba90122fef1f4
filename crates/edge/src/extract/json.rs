//! A JSON body of a known form: at most 64 KiB, or 1 MiB where many things come at once, nested at most 32 deep, no name twice, no
//! unknown field.

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, EXPECT},
};
use http_body_util::BodyExt;
use serde::{Serialize, de::DeserializeOwned};
use tollgate_kernel::Fault;

use super::{
    reason::{pointer, violation},
    shape,
};
use crate::problem::Problem;

/// Largest body, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// Largest body that brings many things at once, in bytes.
const MAX_LARGE_BODY: usize = 1024 * 1024;

/// How much of a body that is too large is read and thrown away, so that a client that is still sending hears the answer
/// instead of a reset connection.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// The body, as a `T`; and a `T` as the body of an answer.
pub(crate) struct Json<T>(pub(crate) T);

/// A body that brings many things at once, as a `T`.
pub(crate) struct LargeJson<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        taken(request, MAX_BODY).await.map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for LargeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        taken(request, MAX_LARGE_BODY).await.map(Self)
    }
}

/// The body of the request, of at most so many bytes.
async fn taken<T: DeserializeOwned>(request: Request, most: usize) -> Result<T, Problem> {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            "Unsupported media type",
            "Send the body as `Content-Type: application/json`.",
        ));
    }
    // A client that asks first has sent nothing yet.
    let discard = if parts.headers.contains_key(EXPECT) { 0 } else { MAX_DISCARDED };
    parse(&read(body, most, discard).await?)
}

/// 400 for what is not JSON, 422 for JSON that is not a `T`.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::bad_request("The body is not UTF-8."))?;
    shape::check(text)?;
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let at = pointer(error.path());
        Fault::violations(vec![violation(at, &error.inner().to_string())]).into()
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let essence = only.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

async fn read(mut body: Body, most: usize, discard: usize) -> Result<Bytes, Problem> {
    let mut read = Vec::new();
    let declared = usize::try_from(HttpBody::size_hint(&body).lower()).unwrap_or(usize::MAX);
    if declared > most && discard == 0 {
        return Err(too_large(most));
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad_request("The body ended early."))?;
        let Some(data) = frame.data_ref() else { continue };
        if read.len() + data.len() > most {
            throw_away(body, discard).await;
            return Err(too_large(most));
        }
        read.extend_from_slice(data);
    }
    Ok(read.into())
}

async fn throw_away(mut body: Body, mut left: usize) {
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        if length >= left {
            return;
        }
        left -= length;
    }
}

fn too_large(most: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "CONTENT_TOO_LARGE",
        "Content too large",
        format!("The body may have at most {} KiB.", most / 1024),
    )
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use serde::Deserialize;
    use serde_json::{Map, Value, json};

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "what is tested is whether it parses")]
    struct Body {
        name: String,
        count: Option<u32>,
        color: Option<Color>,
        nested: Option<Vec<Nested>>,
        metadata: Option<Map<String, Value>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Color {
        Red,
        DarkBlue,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "what is tested is whether it parses")]
    struct Nested {
        #[serde(rename = "a/b")]
        slashed: u8,
    }

    async fn sent(content_type: Option<&str>, body: impl Into<axum::body::Body>) -> (u16, Value) {
        let mut request = Request::builder();
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        match Json::<Body>::from_request(request.body(body.into()).expect("a request"), &()).await {
            Ok(_) => (200, Value::Null),
            Err(problem) => {
                let (parts, body) = problem.into_response().into_parts();
                let bytes = body.collect().await.expect("a body").to_bytes();
                let mut body: Value = serde_json::from_slice(&bytes).expect("JSON");
                let said =
                    if body["errors"].is_null() { body["detail"].take() } else { body["errors"].take() };
                (parts.status.as_u16(), said)
            }
        }
    }

    async fn json_sent(body: impl Into<axum::body::Body>) -> (u16, Value) {
        sent(Some("application/json"), body).await
    }

    #[tokio::test]
    async fn a_good_body_passes() {
        for content_type in ["application/json", "Application/JSON; charset=utf-8"] {
            assert_eq!(sent(Some(content_type), r#"{"name":"a"}"#).await.0, 200);
        }
        let all = r#" {"name":"é","count":7,"color":"dark_blue","nested":[{"a/b":1}],"metadata":{"x":[1,{"y":null}]}} "#;
        assert_eq!(json_sent(all).await.0, 200);
        let null = r#"{"name":"a","count":null,"metadata":null}"#;
        assert_eq!(json_sent(null).await.0, 200);
    }

    #[tokio::test]
    async fn another_media_type_is_415() {
        for content_type in
            [None, Some(""), Some("text/plain"), Some("application/jsonx"), Some("multipart/form-data")]
        {
            assert_eq!(sent(content_type, r#"{"name":"a"}"#).await.0, 415, "{content_type:?}");
        }
    }

    #[tokio::test]
    async fn what_is_not_json_is_400() {
        let table: [&[u8]; 10] = [
            b"",
            b"{",
            b"{\"name\":}",
            b"{'name':'a'}",
            b"{\"name\":\"a\"} x",
            b"\xef\xbb\xbf{\"name\":\"a\"}",
            b"{\"name\":\"\xff\"}",
            b"{\"name\":\"a\0\"}",
            b"{\"name\":\"\\ud800\"}",
            b"{\"name\":NaN}",
        ];
        for body in table {
            assert_eq!(json_sent(body.to_vec()).await.0, 400, "{}", String::from_utf8_lossy(body));
        }
    }

    #[tokio::test]
    async fn json_of_the_wrong_form_is_422_and_says_where() {
        for (body, pointer, detail) in [
            (r"[]", "", "must be an object"),
            (r#""x""#, "", "must be an object"),
            (r"{}", "/name", "is required"),
            (r#"{"name":5}"#, "/name", "must be a string"),
            (r#"{"name":null}"#, "/name", "must be a string"),
            (r#"{"name":"a","count":-1}"#, "/count", "must be a whole number in range"),
            (r#"{"name":"a","count":1.5}"#, "/count", "must be a whole number in range"),
            (r#"{"name":"a","count":99999999999}"#, "/count", "must be a whole number in range"),
            (r#"{"name":"a","color":"green"}"#, "/color", "must be `red` or `dark_blue`"),
            (r#"{"name":"a","admin":true}"#, "/admin", "is not a known field"),
            (
                r#"{"name":"a","nested":[{"a/b":1},{"a/b":"x"}]}"#,
                "/nested/1/a~1b",
                "must be a whole number in range",
            ),
            (r#"{"name":"a","nested":[{}]}"#, "/nested/0/a~1b", "is required"),
            (r#"{"name":"a","name":"b"}"#, "/name", "is there twice"),
            (r#"{"name":"a","metadata":{"x":{"y":1,"y":2}}}"#, "/metadata/x/y", "is there twice"),
            (r#"{"name":"a\u0000"}"#, "/name", "must not contain U+0000"),
            (r#"{"name":"a","metadata":{"\u0000":1}}"#, "/metadata", "must not contain U+0000"),
        ] {
            let expected = json!([{ "pointer": pointer, "detail": detail }]);
            assert_eq!(json_sent(body).await, (422, expected), "{body}");
        }
    }

    #[tokio::test]
    async fn depth_is_bounded() {
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!(r#"{{"name":"a","metadata":{{"x":{open}{close}}}}}"#)
        };
        assert_eq!(json_sent(nested(30)).await.0, 200);
        let (status, said) = json_sent(nested(31)).await;
        assert_eq!((status, &said[0]["detail"]), (422, &json!("is nested deeper than 32")));
        assert_eq!(json_sent(nested(20_000)).await.0, 422);
        assert_eq!(json_sent("[".repeat(60_000)).await.0, 422);
    }

    #[tokio::test]
    async fn size_is_bounded() {
        let sized = |length: usize| format!(r#"{{"name":"{}"}}"#, "x".repeat(length - 11));
        assert_eq!(json_sent(sized(MAX_BODY)).await.0, 200);
        assert_eq!(json_sent(sized(MAX_BODY + 1)).await.0, 413);
        assert_eq!(json_sent(sized(MAX_DISCARDED * 2)).await.0, 413);
    }

    #[tokio::test]
    async fn what_brings_much_may_be_larger_and_is_bounded_too() {
        let sent = async |length: usize| {
            let body = format!(r#"{{"name":"{}"}}"#, "x".repeat(length - 11));
            let request = Request::builder().header(CONTENT_TYPE, "application/json");
            let request = request.body(body.into()).expect("a request");
            let taken = LargeJson::<Body>::from_request(request, &()).await;
            taken.map_or_else(|problem| problem.status().as_u16(), |_| 200)
        };
        assert_eq!(sent(MAX_BODY + 1).await, 200);
        assert_eq!(sent(MAX_LARGE_BODY).await, 200);
        assert_eq!(sent(MAX_LARGE_BODY + 1).await, 413);
    }

    #[tokio::test]
    async fn a_secret_is_not_repeated() {
        for body in [
            r#"{"name":"a","count":"hunter2"}"#,
            r#"{"name":"a","color":"hunter2"}"#,
            r#"{"name":"a","tg_live_hunter2":1}"#,
            r#"{"name":"a","metadata":{"tg_live_hunter2":{"a":1,"a":2}}}"#,
            r#"{"name":"a","whsec_hunter2":"#,
        ] {
            let (status, said) = json_sent(body).await;
            assert!([400, 422].contains(&status) && !said.to_string().contains("hunter2"), "{body}: {said}");
        }
    }
}
