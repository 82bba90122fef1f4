//! The `Idempotency-Key` header: the client's name for one attempt, so that a retry is known as one.

use axum::extract::FromRequestParts;
use http::{HeaderMap, request::Parts};
use utoipa::{
    IntoParams,
    openapi::{
        Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{ObjectBuilder, Type},
    },
};

use crate::problem::Problem;

const NAME: &str = "idempotency-key";
const MAX_LENGTH: usize = 128;

/// The header's value; empty if there is none.
pub(crate) struct IdempotencyKey(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse(&parts.headers).map(Self)
    }
}

/// In the OpenAPI document: `params(IdempotencyKey)`.
impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let text = text.min_length(Some(1)).max_length(Some(MAX_LENGTH)).pattern(Some("^[!-~]+$"));
        let header = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(
                "Makes a retry safe: 1 to 128 visible ASCII characters. The same caller with the same key and the same request \
                 within a day gets what the first has made, and nothing more is made.",
            ))
            .schema(Some(text));
        vec![header.build()]
    }
}

fn parse(headers: &HeaderMap) -> Result<String, Problem> {
    let mut values = headers.get_all(NAME).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(String::new()),
        (Some(only), None) => only.as_bytes(),
        _ => return Err(Problem::bad_request("There is more than one `Idempotency-Key`.")),
    };
    if !(1..=MAX_LENGTH).contains(&value.len()) || !value.iter().all(u8::is_ascii_graphic) {
        return Err(Problem::bad_request("`Idempotency-Key` must be 1 to 128 visible ASCII characters."));
    }
    Ok(value.iter().map(|byte| char::from(*byte)).collect())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn sent(values: &[&str]) -> Result<String, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(NAME, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        parse(&headers).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn one_plain_value_or_none() {
        let longest = "x".repeat(MAX_LENGTH);
        assert_eq!(sent(&[]), Ok(String::new()));
        assert_eq!(sent(&["8e03978e-40d5"]), Ok("8e03978e-40d5".to_owned()));
        assert_eq!(sent(&[&longest]), Ok(longest.clone()));
        for wrong in [&["a", "b"][..], &[""], &["a b"], &["é"], &[&format!("{longest}x")]] {
            assert_eq!(sent(wrong), Err(400), "{wrong:?}");
        }
    }
}
