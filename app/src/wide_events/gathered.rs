//! What is added to an event by hand, before its end.

use std::borrow::Cow;
use std::fmt;

use super::error::EventError;
use super::fields::{Fields, Full, MAX_FIELDS, MAX_PATH_NAMES, Value};
use super::outcome::Outcome;
use super::own;
use super::spare;

/// How many remarks on one event are kept, of those that say what was wrong with it.
const MAX_PROBLEMS: usize = 16;
/// How many characters of a remark are kept.
const MAX_PROBLEM_LENGTH: usize = 200;

/// What was added by hand.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) fields: Fields,
    pub(super) error: Option<EventError>,
    pub(super) outcome: Option<Outcome>,
    /// What went wrong with the event itself.
    problems: Problems,
}

/// Remarks on an event, each once.
#[derive(Default)]
struct Problems(Vec<String>);

impl Gathered {
    /// The place at `path`, unless it is the layer's, or there is none.
    pub(super) fn at(&mut self, path: Cow<'static, str>) -> Option<&mut Value> {
        let end = path.bytes().position(|letter| letter == b'.').unwrap_or(path.len());
        let Self { fields, problems, .. } = self;
        if !may_set(path.get(..end).unwrap_or_default(), problems) {
            return None;
        }
        if path.bytes().filter(|letter| *letter == b'.').count() >= MAX_PATH_NAMES {
            problems.add(format_args!(
                "{path} has more than {MAX_PATH_NAMES} names and was not set"
            ));
            return None;
        }
        make_room(fields);
        fields.at(path).map_err(|Full| problems.full()).ok()
    }

    /// Puts all of `more` in but what is the layer's.
    pub(super) fn merge(&mut self, mut more: Fields) {
        let Self { fields, problems, .. } = self;
        more.retain(|name| may_set(name, problems));
        make_room(fields);
        if fields.merge(more).is_err() {
            problems.full();
        }
    }

    /// Notes what is wrong with the event itself.
    pub(super) fn problem(&mut self, told: fmt::Arguments<'_>) {
        self.problems.add(told);
    }

    /// What was wrong with it.
    pub(super) fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems.0)
    }
}

impl Problems {
    fn add(&mut self, told: fmt::Arguments<'_>) {
        let told: String = told.to_string().chars().take(MAX_PROBLEM_LENGTH).collect();
        if self.0.len() < MAX_PROBLEMS && !self.0.contains(&told) {
            self.0.push(told);
        }
    }

    fn full(&mut self) {
        self.add(format_args!("an object has {MAX_FIELDS} fields; more were left out"));
    }
}

fn may_set(name: &str, problems: &mut Problems) -> bool {
    let may = !own::is_layers(name);
    if !may {
        problems.add(format_args!("{name} is the layer's own field and was not set"));
    }
    may
}

fn make_room(fields: &mut Fields) {
    if fields.is_bare() {
        *fields = spare::fields();
    }
}
