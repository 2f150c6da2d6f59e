//! Reads what axum adds to a request: the matched route and the address of the client.
//!
//! Without the feature `axum`, requests have neither.

#[cfg(feature = "axum")]
mod with_axum {
    use std::net::SocketAddr;

    use axum::extract::{ConnectInfo, MatchedPath};
    use http::Extensions;

    pub(crate) type Route = MatchedPath;

    pub(crate) fn route(extensions: &Extensions) -> Option<Route> {
        extensions.get::<MatchedPath>().cloned()
    }

    pub(crate) fn peer(extensions: &Extensions) -> Option<SocketAddr> {
        extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
    }
}

#[cfg(not(feature = "axum"))]
mod without_axum {
    use std::net::SocketAddr;

    use http::Extensions;

    /// A route that no request has.
    #[derive(Debug, Clone, Copy)]
    pub(crate) enum Route {}

    impl Route {
        pub(crate) fn as_str(&self) -> &str {
            match *self {}
        }
    }

    pub(crate) fn route(_: &Extensions) -> Option<Route> {
        None
    }

    pub(crate) fn peer(_: &Extensions) -> Option<SocketAddr> {
        None
    }
}

#[cfg(feature = "axum")]
pub(super) use with_axum::{Route, peer, route};
#[cfg(not(feature = "axum"))]
pub(super) use without_axum::{Route, peer, route};
