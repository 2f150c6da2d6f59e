//! The registered jobs of a program.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use graphile_worker::{Crontab, JobDefinition};

use crate::error::{Error, Result};

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
    /// Adds a job.
    ///
    /// # Errors
    /// [`Error::Internal`] if another job has the name.
    pub(super) fn add(&mut self, name: &'static str, definition: JobDefinition, max_attempts: i16) -> Result<()> {
        let definitions = &mut Arc::make_mut(&mut self.0).definitions;
        if definitions.insert(name, (definition, max_attempts)).is_some() {
            return Err(Error::internal(format!("two jobs have the name {name}")));
        }
        Ok(())
    }

    /// Adds a schedule of a registered job.
    pub(super) fn add_schedule(&mut self, name: &'static str, crontab: Crontab) {
        Arc::make_mut(&mut self.0).schedules.push((name, crontab));
    }

    /// Returns the jobs' names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.definitions.keys().copied()
    }

    /// Checks that a job is registered.
    ///
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

    /// Returns a job's name as the queue needs it, and its maximum number of attempts; `None` for an unknown job.
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
