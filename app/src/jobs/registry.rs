//! The jobs that a program has.

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

/// The jobs that a program has, by name: an extension of the [`Database`](crate::tenancy::Database). Cheap to clone.
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
    /// Adds a job.
    ///
    /// # Errors
    /// [`Error::Internal`] for a name that is no job's, or that another job has.
    pub fn with<J: Job>(mut self) -> Result<Self> {
        if !is_name(J::NAME) {
            return Err(Error::internal(format!(
                "a job is called {:?}: names are 1 to 63 of a-z, 0-9, '_', '-' and '.', beginning with a letter",
                J::NAME
            )));
        }
        let definitions = &mut Arc::make_mut(&mut self.0).definitions;
        let definition = (JobDefinition::of::<Attempt<J>>(), J::MAX_ATTEMPTS);
        if definitions.insert(J::NAME, definition).is_some() {
            return Err(Error::internal(format!("two jobs are called {}", J::NAME)));
        }
        Ok(self)
    }

    /// Runs `job` by a schedule as in crontab (UTC), as the service's own work: in the team `system`.
    ///
    /// # Errors
    /// [`Error::Internal`] for a schedule with a wrong field or that would never run, and for a job that is not registered;
    /// [`Error::Invalid`] for an input that is too deep.
    pub fn scheduled<J: Job>(mut self, schedule: &str, job: &J) -> Result<Self> {
        self.registered(J::NAME)?;
        let input = serde_json::to_value(job)?;
        refuse_too_deep("input", &input)?;
        let timers = schedule::timers(schedule)
            .map_err(|why| Error::internal(format!("the schedule {schedule:?} of {}: {why}", J::NAME)))?;
        for (place, timer) in timers.into_iter().enumerate() {
            let mut crontab = Crontab::new(timer, J::NAME);
            crontab.payload = Some(json!({ "input": input }));
            // The queue knows a schedule by its name: a job has no colon in its own.
            crontab.options.id = (place > 0).then(|| format!("{}:{place}", J::NAME));
            Arc::make_mut(&mut self.0).schedules.push((J::NAME, crontab));
        }
        Ok(self)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.definitions.keys().copied()
    }

    /// # Errors
    /// [`Error::Internal`] that says how to register a job.
    pub(super) fn registered(&self, name: &str) -> Result<()> {
        if self.0.definitions.contains_key(name) {
            return Ok(());
        }
        Err(Error::internal(format!(
            "the job {name} is not registered, so that no worker would run it: add .job::<…>() to the program's App"
        )))
    }

    /// The job of this name as the queue knows it, and how often it is tried.
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
