//! Memory that one request leaves to the next: what an event's fields and its line need is needed again at once.

use std::cell::Cell;

use super::fields::Fields;

/// What is kept of a line's memory, at most: a long one was an exception.
const MAX_LINE_BYTES: usize = 16 * 1024;

thread_local! {
    static FIELDS: Cell<Option<Fields>> = const { Cell::new(None) };
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An empty object with some room.
pub(super) fn fields() -> Fields {
    let spare = FIELDS.try_with(Cell::take).ok().flatten();
    spare.unwrap_or_else(Fields::roomy)
}

/// Leaves an object's memory to the next request of this thread.
pub(super) fn leave(mut fields: Fields) {
    fields.clear();
    // A thread that ends keeps nothing.
    let _ = FIELDS.try_with(|spare| spare.set(Some(fields)));
}

/// Does `work` with an empty line.
pub(super) fn with_line<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut line = LINE.try_with(Cell::take).unwrap_or_default();
    line.clear();
    let done = work(&mut line);
    if line.capacity() <= MAX_LINE_BYTES {
        let _ = LINE.try_with(|spare| spare.set(line));
    }
    done
}
