//! Lists: `?limit=&cursor=` → `{data: […], next_cursor}`.

use serde::Deserialize;
use tollgate_kernel::Fault;
use tollgate_proto::keys;
use utoipa::IntoParams;

/// Which part of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// How many; 25 if it is not given.
    #[param(minimum = 1, maximum = 100, nullable = false)]
    pub(crate) limit: Option<u32>,
    /// `next_cursor` of the answer before; the first page if it is not given.
    #[param(nullable = false)]
    pub(crate) cursor: Option<String>,
}

impl PageQuery {
    pub(crate) fn to_proto(&self) -> Result<keys::Page, Fault> {
        page(self.limit, self.cursor.as_deref())
    }
}

/// Which part of a list of a workspace's.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WorkspaceQuery {
    /// How many; 25 if it is not given.
    #[param(minimum = 1, maximum = 100, nullable = false)]
    pub(crate) limit: Option<u32>,
    /// `next_cursor` of the answer before; the first page if it is not given.
    #[param(nullable = false)]
    pub(crate) cursor: Option<String>,
    /// The caller's own workspace if it is not given.
    #[param(nullable = false, example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    pub(crate) workspace_id: Option<String>,
}

/// The page that is asked for. To the role a zero means "not given", which is not what a client means by it.
pub(crate) fn page(limit: Option<u32>, cursor: Option<&str>) -> Result<keys::Page, Fault> {
    if limit == Some(0) {
        return Err(Fault::invalid("/limit", "must be from 1 to 100"));
    }
    Ok(keys::Page { limit: limit.unwrap_or_default(), cursor: cursor.unwrap_or_default().to_owned() })
}

/// Declares the answer of a list of one kind of thing: OpenAPI wants a name for each.
macro_rules! list_of {
    ($(#[$doc:meta])* $name:ident($item:ty)) => {
        $(#[$doc])*
        #[derive(serde::Serialize, utoipa::ToSchema)]
        pub(crate) struct $name {
            /// This page.
            data: Vec<$item>,
            /// For `?cursor=`, to get the next page. Left out on the last one.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(nullable = false)]
            next_cursor: Option<String>,
        }
    };
}

pub(crate) use list_of;
