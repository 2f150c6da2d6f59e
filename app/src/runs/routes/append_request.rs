//! A request that appends lines to a run, and whether its caller may do that.

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use daybook_run_log::RunKey;

use crate::auth::AuthParts;
use crate::error::Result;
use crate::http::Team;
use crate::runs::registry::Runs;
use crate::runs::store;
use crate::tenancy::{Claim, Database};

/// A request that appends lines to a run.
pub(super) struct AppendRequest<'a> {
    pub(super) runs: &'a Runs,
    pub(super) database: &'a Database,
    pub(super) team: &'a Team,
    pub(super) parts: &'a Parts,
    pub(super) run: RunKey,
}

impl AppendRequest<'_> {
    /// Checks that the caller may write in this team. The result is cached for a second, because a transaction for each
    /// line would cost more than the line. A cached result needs no check of the run's team: the key of a log contains
    /// the team.
    pub(super) async fn allowed(&self) -> Result<()> {
        self.team.check_not_expired()?;
        let credential = self
            .parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let credential = credential.unwrap_or_default();
        // An Idempotency-Key is recorded in a transaction.
        let must_ask = self.parts.extensions.get::<Claim>().is_some();
        let epoch = AuthParts::of(self.database)?.access.of(self.run.team_id);
        if !must_ask && self.runs.is_admitted(credential, self.run.team_id, epoch) {
            return Ok(());
        }
        // Boxed, because this is rare, and the future of each request should stay small.
        let check = async {
            let tx = self.team.begin().await?;
            store::get(&tx, self.run.run_id).await?;
            tx.commit().await
        };
        Box::pin(check).await?;
        self.runs.admit(credential, self.run.team_id, epoch);
        Ok(())
    }
}
