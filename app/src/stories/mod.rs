//! Stories. A story is everything with one correlation id: the events that a request recorded, the jobs that these
//! started, the events that the jobs recorded, and the runs whose logs they wrote.
//!
//! Each step refers to the step that caused it, if that is part of the story. `daybook story` prints the tree.

mod routes;
mod store;

pub use routes::routes;
pub use store::{Caused, Step, Story, StoryStep, story};
