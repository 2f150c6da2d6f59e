//! The part of the service's state that the routes of every slice can use.

use std::sync::Arc;

use axum::extract::FromRef;

use crate::auth::Authenticator;
use crate::tenancy::Database;

/// The parts of the service that extractors and handlers of all slices use. Cheap to clone.
///
/// A handler takes it as `State(core): State<Core>`, so that a slice doesn't depend on the state of the whole service.
#[derive(Debug, Clone)]
pub struct Core(Arc<CoreInner>);

#[derive(Debug)]
struct CoreInner {
    database: Database,
    authenticator: Authenticator,
    allowed_origins: Vec<String>,
}

impl Core {
    /// Combines the parts. Credentials expire by the clock of `database`. `allowed_origins` are web origins other than
    /// the service's own; their pages may use the service, too.
    pub fn new(database: Database, authenticator: Authenticator, allowed_origins: Vec<String>) -> Self {
        let authenticator = authenticator.with_clock(database.clock().clone());
        Self(Arc::new(CoreInner {
            database,
            authenticator,
            allowed_origins,
        }))
    }

    /// Returns the run-time database.
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// Returns the verifier of credentials.
    pub fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    /// Returns the web origins whose pages may use the service, without the service's own.
    pub fn allowed_origins(&self) -> &[String] {
        &self.0.allowed_origins
    }
}

/// A router's state that has a [`Core`]. The routes of a slice require nothing else of the state.
pub trait ServiceState: Clone + Send + Sync + 'static {
    /// Returns the parts that all slices use.
    fn core(&self) -> &Core;
}

impl<S: ServiceState> FromRef<S> for Core {
    fn from_ref(state: &S) -> Self {
        state.core().clone()
    }
}
