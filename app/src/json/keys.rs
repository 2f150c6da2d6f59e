//! The keys of JSON objects while their text is scanned: whether one of them comes twice.

use std::borrow::Cow;
use std::ops::Range;

/// Up to this number a new key is compared with the others of its object; the keys of larger objects are sorted at the
/// object's end, so that the time grows little faster than the text.
const MAX_COMPARED: usize = 16;

/// The keys of the objects that are open.
#[derive(Default)]
pub(super) struct OpenKeys<'a> {
    keys: Vec<Key<'a>>,
    /// For each depth whether the container there is an object.
    objects: u128,
    /// A string that comes next is a key.
    in_key: bool,
}

struct Key<'a> {
    depth: usize,
    /// The place behind it.
    end: usize,
    /// Without quotes and escapes.
    name: Cow<'a, [u8]>,
}

impl<'a> OpenKeys<'a> {
    /// A container begins. The depth is below 128.
    pub(super) fn open(&mut self, depth: usize, is_object: bool) {
        let bit = 1_u128 << depth;
        self.objects = if is_object {
            self.objects | bit
        } else {
            self.objects & !bit
        };
        self.in_key = is_object;
    }

    /// A comma.
    pub(super) fn next_field(&mut self, depth: usize) {
        self.in_key = depth > 0 && (self.objects >> depth) & 1 == 1;
    }

    /// Whether a string that begins here is a key.
    pub(super) fn are_next(&self, depth: usize) -> bool {
        self.in_key && depth > 0
    }

    /// Adds the key that stands at `place` with its quotes. Returns the place behind it if its object has it already.
    pub(super) fn add(&mut self, depth: usize, text: &'a [u8], place: Range<usize>) -> Option<usize> {
        self.in_key = false;
        let end = place.end;
        let name = name_of(text.get(place).unwrap_or_default());
        let mut same_object = self.keys.iter().rev().take_while(|key| key.depth == depth);
        let is_doubled = same_object.by_ref().take(MAX_COMPARED).any(|key| key.name == name);
        self.keys.push(Key { depth, end, name });
        is_doubled.then_some(end)
    }

    /// A container ends. Returns the place behind a key that it has twice.
    pub(super) fn close(&mut self, depth: usize) -> Option<usize> {
        self.in_key = false;
        let count = self.keys.iter().rev().take_while(|key| key.depth == depth).count();
        let first = self.keys.len() - count;
        let doubled = match self.keys.get_mut(first..) {
            Some(keys) if count > MAX_COMPARED => {
                keys.sort_unstable_by(|a, b| (&a.name, a.end).cmp(&(&b.name, b.end)));
                let mut pairs = keys.windows(2);
                pairs.find_map(|pair| match pair {
                    [a, b] if a.name == b.name => Some(b.end),
                    _ => None,
                })
            }
            _ => None,
        };
        self.keys.truncate(first);
        doubled
    }
}

fn name_of(quoted: &[u8]) -> Cow<'_, [u8]> {
    let inside = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if memchr::memchr(b'\\', inside).is_none() {
        return Cow::Borrowed(inside);
    }
    // What can't be decoded is for the parser to refuse.
    match serde_json::from_slice::<String>(quoted) {
        Ok(name) => Cow::Owned(name.into_bytes()),
        Err(_) => Cow::Borrowed(inside),
    }
}
