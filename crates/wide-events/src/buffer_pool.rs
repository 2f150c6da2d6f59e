//! Buffers for an event's fields and its line that each thread reuses, to save an allocation for every request.

use std::cell::Cell;

use super::fields::Fields;

/// Maximum capacity of a line buffer that is kept. Longer lines are rare.
const MAX_KEPT_LINE_BYTES: usize = 16 * 1024;

thread_local! {
    static FIELDS: Cell<Option<Fields>> = const { Cell::new(None) };
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Returns an empty object with capacity for an event's fields.
pub(super) fn take_fields() -> Fields {
    let spare = FIELDS.try_with(Cell::take).ok().flatten();
    spare.unwrap_or_else(Fields::for_event)
}

/// Keeps an object's memory for the next event of this thread.
pub(super) fn recycle_fields(mut fields: Fields) {
    fields.clear();
    // Fails only while the thread ends.
    let _ = FIELDS.try_with(|spare| spare.set(Some(fields)));
}

/// Calls `work` with an empty line buffer.
pub(super) fn with_line_buffer<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut line = LINE.try_with(Cell::take).unwrap_or_default();
    line.clear();
    let done = work(&mut line);
    if line.capacity() <= MAX_KEPT_LINE_BYTES {
        let _ = LINE.try_with(|spare| spare.set(line));
    }
    done
}
