//! Registers and schedules jobs.

use graphile_worker::{Crontab, JobDefinition};
use serde_json::json;

use super::job::Job;
use super::queue::Attempt;
use super::registry::Jobs;
use super::schedule;
use super::spec::is_name;
use crate::error::{Error, Result};
use crate::json::refuse_too_deep;

impl Jobs {
    /// Registers a job.
    ///
    /// # Errors
    /// [`Error::Internal`] for an invalid name, or one that another job has.
    pub fn with<J: Job>(mut self) -> Result<Self> {
        if !is_name(J::NAME) {
            return Err(Error::internal(format!(
                "the job name {:?} is invalid: it must be 1 to 63 of a-z, 0-9, '_', '-', '.', beginning with a letter",
                J::NAME
            )));
        }
        self.add(J::NAME, JobDefinition::of::<Attempt<J>>(), J::MAX_ATTEMPTS)?;
        Ok(self)
    }

    /// Schedules `job` with a crontab expression (UTC). It runs as the service's own work, in the system team.
    ///
    /// # Errors
    /// [`Error::Internal`] for a schedule that has an invalid field or would never run, and for a job that is not
    /// registered; [`Error::Invalid`] for an input that is nested too deeply.
    pub fn scheduled<J: Job>(mut self, schedule: &str, job: &J) -> Result<Self> {
        self.registered(J::NAME)?;
        let input = serde_json::to_value(job)?;
        refuse_too_deep("input", &input)?;
        let timers = schedule::timers(schedule)
            .map_err(|why| Error::internal(format!("the schedule {schedule:?} of {}: {why}", J::NAME)))?;
        for (index, timer) in timers.into_iter().enumerate() {
            let mut crontab = Crontab::new(timer, J::NAME);
            crontab.payload = Some(json!({ "input": input }));
            // The queue identifies a schedule by this name. Names of jobs contain no colon.
            crontab.options.id = (index > 0).then(|| format!("{}:{index}", J::NAME));
            self.add_schedule(J::NAME, crontab);
        }
        Ok(self)
    }
}
