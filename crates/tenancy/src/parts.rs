//! What a [`Database`] carries beside its pool: tenancy's own parts, and one struct of parts for each layer above.
//!
//! Code that has a [`Database`] or a [`TeamTx`] needs parts of several layers: `events` its consumers, `jobs` its
//! notifier. Tenancy can't name their types, so it keeps the layers' structs by type. A layer declares one struct whose
//! documented fields are its parts, and attaches and reads it in one file, `parts.rs`. No other code calls
//! [`Database::layer_parts`]. `App::equip` attaches all structs. If a struct is missing, the result is an error that
//! names it, never a default: with a default, events would be recorded and no consumer would be called.

use std::any::{Any, TypeId};
use std::sync::Arc;

use super::{Database, Deferred, ForgottenCommits, SignalSink, TeamTx, WorkerDatabase};
use crate::error::{Error, Result};

/// The parts of a layer above tenancy: a struct with a field for each part.
pub trait LayerParts: Any + Send + Sync {
    /// The struct's name, for the error if it is missing.
    const NAME: &'static str;
    /// What attaches it to a database, for the same error.
    const ATTACHED_BY: &'static str;
}

/// What a [`Database`] carries beside its pool.
#[derive(Clone, Default)]
pub(super) struct DatabaseParts {
    /// Receives the signals of committed transactions. `None` on a database without an App, whose signals nobody
    /// receives.
    signal_sink: Option<SignalSink>,
    /// The rows that wait for the end of the work's transactions. Only the database of a job session has them.
    deferred: Option<Deferred>,
    /// The reaction to a forgotten commit.
    forgotten_commits: ForgottenCommits,
    /// The workers' connections, in a process with workers.
    workers: Option<WorkerDatabase>,
    /// The structs of the layers above.
    layers: TypeMap,
    /// The program's own values.
    extensions: TypeMap,
}

impl Database {
    /// Adds a value of the program's own, such as a client for another service, which code that has this database reads
    /// with [`Database::extension`]. It replaces an earlier value of the same type. A program adds its values with
    /// `App::extension`; this function is for a database without an App. Daybook's own parts are not kept here.
    #[must_use]
    pub fn with_extension<T: Clone + Send + Sync + 'static>(self, value: T) -> Self {
        self.with(|parts| parts.extensions.insert(value))
    }

    /// Adds all of a program's values, in place of those of the same types.
    #[must_use]
    pub fn with_extensions(self, extensions: &Extensions) -> Self {
        self.with(|parts| parts.extensions.insert_all(&extensions.0))
    }

    /// Returns the program's value of this type, if one was added.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.parts.extensions.get()
    }

    /// Sets the reaction to a forgotten commit.
    #[must_use]
    pub fn with_forgotten_commits(self, policy: ForgottenCommits) -> Self {
        self.with(|parts| parts.forgotten_commits = policy)
    }

    /// Returns the reaction to a forgotten commit.
    pub fn forgotten_commits(&self) -> ForgottenCommits {
        self.parts.forgotten_commits
    }

    /// Adds the workers' connections, for a process that runs jobs.
    #[must_use]
    pub fn with_workers(self, workers: WorkerDatabase) -> Self {
        self.with(|parts| parts.workers = Some(workers))
    }

    /// Returns the workers' connections, or `None` in a process without workers.
    pub(super) fn worker_database(&self) -> Option<&WorkerDatabase> {
        self.parts.workers.as_ref()
    }

    /// Sets what receives the signals of this database's transactions.
    #[must_use]
    pub fn with_signal_sink(self, sink: SignalSink) -> Self {
        self.with(|parts| parts.signal_sink = Some(sink))
    }

    pub(super) fn signal_sink(&self) -> Option<&SignalSink> {
        self.parts.signal_sink.as_ref()
    }

    /// Makes rows wait for the end of the transactions that begin on this database.
    #[must_use]
    pub fn with_deferred(self, deferred: Deferred) -> Self {
        self.with(|parts| parts.deferred = Some(deferred))
    }

    /// Returns the rows that wait for the end of this database's transactions. Only the database of a job session has
    /// them.
    pub fn deferred(&self) -> Option<&Deferred> {
        self.parts.deferred.as_ref()
    }

    /// Attaches a layer's parts, in place of those that it had.
    #[must_use]
    pub fn with_layer_parts<P: LayerParts>(self, layer_parts: P) -> Self {
        self.with(|parts| parts.layers.insert(layer_parts))
    }

    /// Returns a layer's parts.
    ///
    /// # Errors
    /// [`Error::Internal`] that names the parts if this database doesn't have them.
    pub fn layer_parts<P: LayerParts>(&self) -> Result<&P> {
        self.parts.layers.get().ok_or_else(|| {
            let (name, attached_by) = (P::NAME, P::ATTACHED_BY);
            Error::internal(format!("this database has no {name}, which {attached_by} attaches"))
        })
    }

    fn with(mut self, change: impl FnOnce(&mut DatabaseParts)) -> Self {
        change(Arc::make_mut(&mut self.parts));
        self
    }
}

/// The program's own values, before a database carries them.
#[derive(Clone, Default)]
pub struct Extensions(TypeMap);

impl Extensions {
    /// Adds a value, in place of the one of its type.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.insert(value);
    }
}

impl TeamTx {
    /// Returns the program's value of this type, if `App::extension` added one.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.database.extension()
    }

    /// Returns a layer's parts.
    ///
    /// # Errors
    /// [`Error::Internal`] that names the parts if the database doesn't have them.
    pub fn layer_parts<P: LayerParts>(&self) -> Result<&P> {
        self.database.layer_parts()
    }
}

/// Values by their type. There are few, so a list is searched faster than a hash map.
#[derive(Clone, Default)]
struct TypeMap(Vec<(TypeId, Arc<dyn Any + Send + Sync>)>);

impl TypeMap {
    /// Adds a value, in place of the one of its type.
    fn insert<T: Any + Send + Sync>(&mut self, value: T) {
        self.0.retain(|(id, _)| *id != TypeId::of::<T>());
        self.0.push((TypeId::of::<T>(), Arc::new(value)));
    }

    /// Adds all values of another map, in place of those of their types.
    fn insert_all(&mut self, values: &Self) {
        self.0
            .retain(|(id, _)| values.0.iter().all(|(replaced, _)| replaced != id));
        self.0.extend(values.0.iter().cloned());
    }

    fn get<T: Any>(&self) -> Option<&T> {
        let (_, value) = self.0.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clocks {
        offset: u32,
    }

    impl LayerParts for Clocks {
        const NAME: &'static str = "Clocks";
        const ATTACHED_BY: &'static str = "a test";
    }

    #[tokio::test]
    async fn missing_parts_are_an_error_that_names_them() {
        let database = Database::unconnected();
        let Err(Error::Internal(cause)) = database.layer_parts::<Clocks>() else {
            panic!("there are none");
        };
        assert_eq!(cause.to_string(), "this database has no Clocks, which a test attaches");
        let database = database.with_layer_parts(Clocks { offset: 1 });
        let later = database.clone().with_layer_parts(Clocks { offset: 2 });
        let offset = |database: &Database| database.layer_parts::<Clocks>().map(|clocks| clocks.offset).ok();
        assert_eq!((offset(&database), offset(&later)), (Some(1), Some(2)));
    }

    #[tokio::test]
    async fn a_programs_values_are_apart_from_the_parts_of_layers() {
        let database = Database::unconnected().with_extension("a value".to_owned());
        assert_eq!(database.extension::<String>().map(String::as_str), Some("a value"));
        assert!(database.extension::<u8>().is_none());
        assert!(
            database
                .with_layer_parts(Clocks { offset: 1 })
                .extension::<Clocks>()
                .is_none()
        );
    }

    #[tokio::test]
    async fn an_apps_values_replace_those_of_the_same_types() {
        let database = Database::unconnected().with_extension("kept").with_extension(1_u8);
        let mut extensions = Extensions::default();
        extensions.insert(2_u8);
        extensions.insert(3_u8);
        let database = database.with_extensions(&extensions);
        assert_eq!(
            (database.extension::<&str>(), database.extension::<u8>()),
            (Some(&"kept"), Some(&3))
        );
    }
}
