//! Identifies the run of a request.

use daybook_run_log::RunKey;
use uuid::Uuid;

use crate::http::Team;
use crate::wide_events::WideEvent;

/// Returns the key of the run that a request names, and adds the run to the request's wide event.
pub(super) fn key(team: &Team, run_id: Uuid) -> RunKey {
    WideEvent::current().set("run.id", run_id);
    RunKey {
        team_id: team.id(),
        run_id,
    }
}
