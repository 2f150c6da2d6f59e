//! What happened? A story is all that has one correlation id: the events that a request recorded, the jobs that those
//! started, what they recorded in turn, the runs whose logs they wrote.
//!
//! A step says by what it was caused, as far as that is in the story: `daybook story` draws the tree.

mod routes;
mod store;

pub use routes::routes;
pub use store::{Caused, Step, Story, StoryStep, story};
