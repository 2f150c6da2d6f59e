//! Query parameters that well-known clients add to every URL by themselves.
//!
//! A parameter that a route doesn't know is refused, so that a misspelt one isn't ignored. These parameters have no
//! meaning for the service, and the author of a page often doesn't know that they are sent. They are left out if a
//! route has no parameter of that name. Credentials under other names (`access_token`, `key`) are not in the list: a
//! client that sends one must learn that it has no effect.
//!
//! `lastEventId`, which event-source-polyfill sends instead of the header `Last-Event-ID`, has a meaning, and is a
//! parameter of the routes with event streams.

/// The parameter, and the client that adds it.
pub(super) const ADDED_BY_CLIENTS: [(&str, &str); 4] = [
    (
        "_",
        "jQuery: `$.ajax({cache: false})`, and DataTables and bootstrap-table with it; a timestamp against caches",
    ),
    (
        "_dc",
        "Sencha Ext JS: `noCache` of its proxies, on by default; a timestamp against caches",
    ),
    (
        "dojo.preventCache",
        "Dojo: `preventCache: true`; a timestamp against caches",
    ),
    (
        "org.htmx.cache-buster",
        "htmx: `getCacheBusterParam`; the id of the element that sends the request",
    ),
];

/// Returns whether a client may have added a parameter of this name by itself.
pub(super) fn is_added_by_clients(name: &str) -> bool {
    ADDED_BY_CLIENTS.iter().any(|(added, _)| *added == name)
}
