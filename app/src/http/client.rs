//! The connection that a request came by.

use std::fmt::Debug;
use std::sync::Arc;

/// A connection, as far as its requests report to it.
pub(crate) trait Connection: Debug + Send + Sync {
    /// A request has entered a team, so the connection is a member's.
    fn authenticated(&self);

    /// The service waits for the body of this request, or does not any longer.
    fn waits_for_body(&self, request: u64, waits: bool);
}

/// A request's connection, as an extension of the request. Requests within the process, as tests send them, have none.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    connection: Arc<dyn Connection>,
    request: u64,
}

impl Client {
    /// The client of a connection's request; `request` is the request's number on that connection.
    pub(crate) fn new(connection: Arc<dyn Connection>, request: u64) -> Self {
        Self { connection, request }
    }

    /// Reports that the request has entered a team: from now on the connection is not closed to make room for others.
    pub(crate) fn authenticated(&self) {
        self.connection.authenticated();
    }

    /// Reports that the service waits for the request's body, or does not any longer.
    pub(crate) fn waits_for_body(&self, waits: bool) {
        self.connection.waits_for_body(self.request, waits);
    }
}
