//! The connection on which a request arrived.

use std::fmt::Debug;
use std::sync::Arc;

/// What a connection learns from its requests.
pub(crate) trait ConnectionObserver: Debug + Send + Sync {
    /// Called when a request has entered a team: the connection is authenticated from then on.
    fn authenticated(&self);

    /// Called when it changes whether the service waits for the body of this request.
    fn waits_for_body(&self, request: u64, waits: bool);
}

/// A request's connection, as an extension of the request. Requests within the process, such as those of tests, have
/// none.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    connection: Arc<dyn ConnectionObserver>,
    request: u64,
}

impl Client {
    /// Creates the extension for a request. `request` is the request's number on its connection.
    pub(crate) fn new(connection: Arc<dyn ConnectionObserver>, request: u64) -> Self {
        Self { connection, request }
    }

    /// Reports that the request has entered a team. After that, the connection is not closed to make room for others.
    pub(crate) fn authenticated(&self) {
        self.connection.authenticated();
    }

    /// Reports whether the service waits for the request's body.
    pub(crate) fn waits_for_body(&self, waits: bool) {
        self.connection.waits_for_body(self.request, waits);
    }
}
