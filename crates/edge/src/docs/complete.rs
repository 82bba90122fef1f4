//! What holds for whole classes of routes and is not repeated at each: how any request can be refused, that every refusal is
//! a problem, and the headers of protected routes.

use utoipa::openapi::{
    Content, Header, HttpMethod, OpenApi, Ref, RefOr, Response, Responses,
    path::{Operation, ParameterIn, PathItem},
    schema::{ObjectBuilder, SchemaType, Type},
};

use crate::problem::MEDIA_TYPE;

type Refusal = (&'static str, &'static str);

/// Of every request: addresses have limits of their own.
const ADDRESS: &[Refusal] =
    &[("429", "Too many requests came from this address; `Retry-After` says when to come back.")];
/// Of every request that is bounded.
const ANY: &[Refusal] = &[
    ("500", "A mistake of ours; quote `request_id` when you report it."),
    ("503", "Too busy, or a part that this needs is not available; `Retry-After` may say when to come back."),
    ("504", "Took too long; it may or may not have had an effect."),
];
/// Of requests that need a credential.
const CREDENTIAL: &[Refusal] = &[
    ("400", "More than one credential, or a request that cannot be read."),
    ("401", "No credential, or one that is not valid here."),
];
/// Of requests with a body.
const BODY: &[Refusal] = &[
    ("400", "The body is not JSON."),
    ("413", "The body has more than 64 KiB."),
    ("415", "The body is not of `application/json`."),
    ("422", "The body breaks a rule; `errors` says where."),
];
const QUERY: &[Refusal] = &[("422", "The query breaks a rule; `errors` says where.")];
const PATH: &[Refusal] = &[("404", "There is no such thing, or the caller may not know that there is.")];
/// Of protected routes.
const PROTECTED: &[Refusal] = &[
    ("403", "The key may not make this call: `FORBIDDEN_IP`, `INSUFFICIENT_SCOPE` or `WRONG_ENVIRONMENT`."),
    (
        "429",
        "A limit is used up: `RATE_LIMITED`, or `QUOTA_EXCEEDED` if it is one of a calendar; waiting for `Retry-After` makes \
         the same call pass. Or too many calls without a good credential came from this address.",
    ),
];
const LIMITS: &[(&str, &str)] = &[
    (
        "RateLimit-Policy",
        "The limits in force: `\"name\";q=<units>;w=<seconds of the window, of the present period, or in which the bucket \
         fills>`, for each. A structured field (RFC 9651).",
    ),
    (
        "RateLimit",
        "Where they stand: `\"name\";r=<units left>;t=<seconds until full, or until this call passes>`, for each. A structured \
         field (RFC 9651).",
    ),
    (
        "X-RateLimit-Limit",
        "Units per window of the tightest limit. This and the two below: unless they are switched off.",
    ),
    ("X-RateLimit-Remaining", "Units that it has left."),
    ("X-RateLimit-Reset", "Seconds until it is full again, rounded up."),
    ("X-Tollgate-Credits-Remaining", "Credits that are left to the key, if it spends any."),
];

/// Completes the document.
pub(super) fn complete(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let bounded = path != "/livez";
        let many = operations(item).count() > 1;
        for (method, operation) in operations(item) {
            if bounded {
                refusals(operation);
            }
            may(operation, ADDRESS);
            if has_tag(operation, "protected") {
                limit_headers(&mut operation.responses);
                if many {
                    name_apart(operation, &method);
                }
            }
            for (status, response) in &mut operation.responses.responses {
                as_problem(status, response);
            }
        }
    }
}

/// The operations of a path.
pub(crate) fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    [
        (HttpMethod::Get, item.get.as_mut()),
        (HttpMethod::Head, item.head.as_mut()),
        (HttpMethod::Post, item.post.as_mut()),
        (HttpMethod::Put, item.put.as_mut()),
        (HttpMethod::Patch, item.patch.as_mut()),
        (HttpMethod::Delete, item.delete.as_mut()),
        (HttpMethod::Options, item.options.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation?)))
}

fn refusals(operation: &mut Operation) {
    let parameter = |wanted: &ParameterIn| {
        operation
            .parameters
            .iter()
            .flatten()
            .any(|it| matches!(it, RefOr::T(it) if it.parameter_in == *wanted))
    };
    let classes = [
        (true, ANY),
        (has_tag(operation, "protected"), PROTECTED),
        (needs_credential(operation), CREDENTIAL),
        (operation.request_body.is_some(), BODY),
        (parameter(&ParameterIn::Query), QUERY),
        (parameter(&ParameterIn::Path), PATH),
    ];
    for (_, class) in classes.into_iter().filter(|it| it.0) {
        may(operation, class);
    }
}

/// Says that it may be refused so, unless it says something of its own about it.
fn may(operation: &mut Operation, refusals: &[Refusal]) {
    for (status, description) in refusals {
        let responses = &mut operation.responses.responses;
        responses.entry((*status).to_owned()).or_insert_with(|| Response::new(*description).into());
    }
}

fn has_tag(operation: &Operation, tag: &str) -> bool {
    operation.tags.iter().flatten().any(|it| it == tag)
}

/// An empty requirement means: nobody need say who they are.
pub(crate) fn needs_credential(operation: &Operation) -> bool {
    let empty = serde_json::json!({});
    operation.security.iter().flatten().any(|it| serde_json::to_value(it).is_ok_and(|it| it != empty))
}

fn limit_headers(responses: &mut Responses) {
    for (status, response) in &mut responses.responses {
        let RefOr::T(response) = response else { continue };
        if status == "200" || status == "429" {
            for (name, description) in LIMITS {
                response.headers.insert((*name).to_owned(), header(description, Type::String).into());
            }
        }
    }
}

/// Operations of one handler under many methods: ids are unique in a document.
fn name_apart(operation: &mut Operation, method: &HttpMethod) {
    let method = serde_json::to_value(method).expect("a method is a word");
    let method = method.as_str().expect("a method is a word");
    if let Some(id) = &mut operation.operation_id {
        id.push('_');
        id.push_str(method);
    }
}

fn as_problem(status: &str, response: &mut RefOr<Response>) {
    let RefOr::T(response) = response else { return };
    if !status.starts_with(['4', '5']) {
        return;
    }
    if response.content.is_empty() {
        let schema = Ref::from_schema_name("Problem");
        response.content.insert(MEDIA_TYPE.to_owned(), Content::new(Some(schema)).into());
    }
    if status == "429" {
        let description = "Seconds until the same call passes, rounded up.";
        response.headers.insert("Retry-After".to_owned(), header(description, Type::Integer).into());
    }
    if status == "401" {
        let description = "How to authenticate (RFC 6750 section 3).";
        response.headers.insert("WWW-Authenticate".to_owned(), header(description, Type::String).into());
    }
}

fn header(description: &str, kind: Type) -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(SchemaType::new(kind)).build());
    header.description = Some(description.to_owned());
    header
}
