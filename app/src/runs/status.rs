//! The status of a run, and the allowed transitions.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr};
use utoipa::ToSchema;

use crate::error::{Error, Result};

/// The status of a run.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, IntoStaticStr, ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = Error, parse_err_fn = unknown_status)]
#[schema(as = RunStatus)]
#[non_exhaustive]
pub enum RunStatus {
    /// The run was created and has not started.
    Queued,
    /// The program is being built.
    Building,
    /// The program runs.
    Running,
    /// The run has ended successfully.
    Succeeded,
    /// The run has failed.
    Failed,
    /// The run was cancelled.
    Cancelled,
}

impl RunStatus {
    /// Returns the value of the column `status`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns whether no other status can follow.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// Returns whether `next` may follow this status.
    pub fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Queued, Self::Building | Self::Running)
                | (Self::Building, Self::Running)
                | (
                    Self::Queued | Self::Building | Self::Running,
                    Self::Failed | Self::Cancelled
                )
                | (Self::Running, Self::Succeeded)
        )
    }

    /// Returns `next`, if it may follow this status.
    ///
    /// # Errors
    /// [`Error::Conflict`] with the run's status.
    pub fn moved_to(self, next: Self) -> Result<Self> {
        if self.may_become(next) {
            return Ok(next);
        }
        Err(match self.is_final() {
            true => Error::conflict("run-ended", format!("the run has already ended with the status {self}")),
            false => Error::conflict(
                "illegal-transition",
                format!("a run that is {self} can't become {next}"),
            ),
        })
    }
}

fn unknown_status(_: &str) -> Error {
    Error::invalid(
        "status",
        "must be queued, building, running, succeeded, failed or cancelled",
    )
}

#[cfg(test)]
mod tests {
    use super::RunStatus::{self, Building, Cancelled, Failed, Queued, Running, Succeeded};

    #[test]
    fn only_the_legal_transitions_are_allowed() {
        let all = [Queued, Building, Running, Succeeded, Failed, Cancelled];
        let legal: Vec<(RunStatus, RunStatus)> = all
            .iter()
            .flat_map(|from| all.iter().map(move |to| (*from, *to)))
            .filter(|(from, to)| from.may_become(*to))
            .collect();
        assert_eq!(
            legal,
            [
                (Queued, Building),
                (Queued, Running),
                (Queued, Failed),
                (Queued, Cancelled),
                (Building, Running),
                (Building, Failed),
                (Building, Cancelled),
                (Running, Succeeded),
                (Running, Failed),
                (Running, Cancelled),
            ]
        );
        assert_eq!(Succeeded.moved_to(Failed).unwrap_err().code(), "run-ended");
        assert_eq!(Building.moved_to(Succeeded).unwrap_err().code(), "illegal-transition");
    }
}
