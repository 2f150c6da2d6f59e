//! The registered jobs of a program.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use graphile_worker::{Crontab, JobDefinition};
use serde_json::json;

use super::job::Job;
use super::queue::Attempt;
use super::schedule;
use super::spec::is_name;
use crate::error::{Error, Result};
use crate::json::refuse_too_deep;

/// The registered jobs of a program, by name. Cheap to clone.
#[derive(Clone, Default)]
pub struct Jobs(Arc<Registered>);

#[derive(Clone, Default)]
struct Registered {
    definitions: BTreeMap<&'static str, (JobDefinition, i16)>,
    schedules: Vec<(&'static str, Crontab)>,
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.definitions.keys()).finish()
    }
}

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
        let definitions = &mut Arc::make_mut(&mut self.0).definitions;
        let definition = (JobDefinition::of::<Attempt<J>>(), J::MAX_ATTEMPTS);
        if definitions.insert(J::NAME, definition).is_some() {
            return Err(Error::internal(format!("two jobs have the name {}", J::NAME)));
        }
        Ok(self)
    }

    /// Schedules `job` with a crontab expression (UTC). It runs as the service's own work, in the system team.
    ///
    /// # Errors
    /// [`Error::Internal`] for a schedule with an invalid field or that would never run, and for a job that is not
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
            Arc::make_mut(&mut self.0).schedules.push((J::NAME, crontab));
        }
        Ok(self)
    }

    /// Returns the jobs' names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.definitions.keys().copied()
    }

    /// # Errors
    /// [`Error::Internal`] if the job is not registered; the message says how to register it.
    pub(super) fn registered(&self, name: &str) -> Result<()> {
        if self.0.definitions.contains_key(name) {
            return Ok(());
        }
        Err(Error::internal(format!(
            "the job {name} is not registered, so no worker would run it: add .job::<…>() to the program's App"
        )))
    }

    /// Returns the queue's name of this job, and its maximum number of attempts.
    pub(super) fn task(&self, name: &str) -> Option<(&'static str, i16)> {
        let (name, (_, attempts)) = self.0.definitions.get_key_value(name)?;
        Some((name, *attempts))
    }

    pub(super) fn definitions(&self) -> impl Iterator<Item = JobDefinition> + '_ {
        self.0.definitions.values().map(|(definition, _)| definition.clone())
    }

    pub(super) fn crontabs(&self) -> impl Iterator<Item = Crontab> + '_ {
        self.0.schedules.iter().map(|(_, crontab)| crontab.clone())
    }
}
