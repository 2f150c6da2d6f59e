//! The parameters of a query.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::added::is_added_by_clients;
use super::nul::contains_nul;
use super::read_error::ReadError;
use super::strings::Strings;
use crate::error::{Error, Result};

/// The parameters after the `?`, as a struct by their names.
///
/// An invalid parameter gets 422 with its name. Types have `#[serde(deny_unknown_fields)]`, so that a misspelt
/// parameter is not ignored; it works together with a flattened [`PageParams`](super::PageParams). A parameter may not
/// be repeated. Parameters that clients add by themselves (`_`, against caches; `added` has the list) are left out if
/// the type doesn't have them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> Query<T> {
    fn read(parameters: &[(String, String)]) -> Result<Self> {
        let nuls: Vec<_> = parameters
            .iter()
            .filter(|(name, text)| name.contains('\0') || text.contains('\0'))
            .map(|(name, _)| contains_nul(&name.replace('\0', "\u{FFFD}")))
            .collect();
        if !nuls.is_empty() {
            return Err(Error::Invalid(nuls));
        }
        let strings = Strings {
            strings: parameters,
            may_be_left_out: is_added_by_clients,
        };
        serde_path_to_error::deserialize(strings).map(Self).map_err(|error| {
            if let ReadError::Misuse(_) = error.inner() {
                return Error::internal(error.into_inner());
            }
            Error::Invalid(vec![error.inner().at(error.path())])
        })
    }
}

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let axum::extract::Query(parameters) = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|rejection| Error::BadRequest {
                detail: rejection.body_text(),
            })?;
        Self::read(&parameters)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde::Deserialize;
    use uuid::Uuid;

    use super::*;
    use crate::http::extract::PageParams;
    use crate::http::extract::added::ADDED_BY_CLIENTS;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        state: Option<State>,
        author: Option<Uuid>,
        since: Option<DateTime<Utc>>,
        #[serde(default)]
        unread: bool,
        min: Option<u8>,
        #[serde(flatten)]
        page: PageParams,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum State {
        Open,
        Closed,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        q: String,
        min: Option<u8>,
    }

    async fn read<T: DeserializeOwned>(query: &str) -> Result<T> {
        let request = axum::http::Request::get(format!("/?{query}")).body(()).unwrap();
        Query::from_request_parts(&mut request.into_parts().0, &())
            .await
            .map(|Query(value)| value)
    }

    async fn wrong<T: DeserializeOwned + std::fmt::Debug>(query: &str) -> (String, String) {
        match read::<T>(query).await {
            Err(Error::Invalid(mut errors)) if errors.len() == 1 => {
                let error = errors.remove(0);
                (error.field, error.detail)
            }
            other => panic!("{query} gave {other:?}"),
        }
    }

    fn pair(field: &str, detail: &str) -> (String, String) {
        (field.to_owned(), detail.to_owned())
    }

    #[tokio::test]
    async fn parameters_are_read_by_their_names() {
        let filter: Filter = read("state=open&since=2026-01-02T03:04:05Z&unread=true&limit=7")
            .await
            .unwrap();
        assert_eq!(filter.state, Some(State::Open));
        assert!(filter.unread && filter.since.is_some() && filter.author.is_none() && filter.min.is_none());
        assert_eq!(filter.page.limit().unwrap(), 7);
        let strict: Strict = read("q=a+b%26c&min=3").await.unwrap();
        assert_eq!(
            strict,
            Strict {
                q: "a b&c".to_owned(),
                min: Some(3)
            }
        );
    }

    #[tokio::test]
    async fn wrong_parameters_are_named() {
        assert_eq!(wrong::<Strict>("").await, pair("q", "is missing, and required"));
        assert_eq!(
            wrong::<Strict>("q=a&qq=b").await,
            pair("qq", "is unknown: expected `q` or `min`")
        );
        assert_eq!(wrong::<Strict>("q=a&q=b").await, pair("q", "is given more than once"));
        assert_eq!(
            wrong::<Strict>("q=a&min=300").await,
            pair("min", "expected a whole number from 0 to 255")
        );
        assert_eq!(
            wrong::<Strict>("q=%00").await,
            pair("q", "contains U+0000, which can't be stored")
        );
        assert_eq!(wrong::<Filter>("stat=open").await, pair("stat", "is unknown"));
        assert_eq!(
            wrong::<Filter>("state=ajar").await,
            pair("state", "expected `open` or `closed`")
        );
        assert_eq!(wrong::<Filter>("author=ada").await.0, "author");
        assert_eq!(wrong::<Filter>("since=yesterday").await.0, "since");
        assert_eq!(
            wrong::<Filter>("unread=1").await,
            pair("unread", "expected true or false")
        );
    }

    #[tokio::test]
    async fn parameters_that_clients_add_by_themselves_are_left_out() {
        for (added, client) in ADDED_BY_CLIENTS {
            let strict: Strict = read(&format!("{added}=1700000000000&q=a&{added}=2")).await.unwrap();
            assert_eq!(strict.q, "a", "{client}");
            let filter: Filter = read(&format!("limit=7&{added}=1")).await.unwrap();
            assert_eq!(filter.page.limit().unwrap(), 7, "{client}");
        }
        // A name that looks like a credential, or like a mistake, is refused.
        for unknown in ["access_token", "token", "key", "auth", "cache", "callback", "__"] {
            assert_eq!(wrong::<Strict>(&format!("q=a&{unknown}=x")).await.0, unknown);
            assert_eq!(wrong::<Filter>(&format!("{unknown}=x")).await.0, unknown);
        }
    }

    #[tokio::test]
    async fn a_type_with_such_a_parameter_gets_it() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Underscore {
            #[serde(rename = "_")]
            underscore: u32,
        }
        assert_eq!(read::<Underscore>("_=7").await.unwrap().underscore, 7);
    }

    #[tokio::test]
    async fn a_type_that_is_not_a_struct_of_scalars_is_a_defect() {
        #[derive(Debug, Deserialize)]
        struct Nested {
            #[expect(dead_code, reason = "it is never read")]
            list: Vec<u8>,
        }
        assert!(matches!(read::<Nested>("list=1").await, Err(Error::Internal(_))));
    }
}
