//! Errors as HTTP answers (feature `http`): problem documents, and answers that are sent again for an
//! `Idempotency-Key`.

mod problem;
mod stored_answer;

pub use problem::{Problem, set_request_id};
pub use stored_answer::StoredAnswer;
