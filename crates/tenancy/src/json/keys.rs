//! Finds duplicate keys of JSON objects while their text is scanned.

use std::borrow::Cow;
use std::ops::Range;

/// The number of keys of an object with which a new key is compared directly. The keys of larger objects are sorted at
/// the object's end, so that the time is not quadratic.
const MAX_COMPARED: usize = 16;

/// The keys of all objects that contain the current position.
#[derive(Default)]
pub(super) struct OpenKeys<'a> {
    keys: Vec<Key<'a>>,
    /// One bit for each depth: whether the container at this depth is an object.
    objects: u128,
    /// Whether the next string is a key.
    in_key: bool,
}

struct Key<'a> {
    depth: usize,
    /// The offset of the key's end.
    end: usize,
    /// The key without quotes and escapes.
    name: Cow<'a, [u8]>,
}

impl<'a> OpenKeys<'a> {
    /// Records the beginning of a container. The depth must be below 128.
    pub(super) fn open(&mut self, depth: usize, is_object: bool) {
        let bit = 1_u128 << depth;
        self.objects = if is_object {
            self.objects | bit
        } else {
            self.objects & !bit
        };
        self.in_key = is_object;
    }

    /// Records a comma.
    pub(super) fn next_field(&mut self, depth: usize) {
        self.in_key = depth > 0 && (self.objects >> depth) & 1 == 1;
    }

    /// Returns whether a string at the current position is a key.
    pub(super) fn is_key_next(&self, depth: usize) -> bool {
        self.in_key && depth > 0
    }

    /// Adds the key at `range`, which includes its quotes. Returns the offset of its end if the key is a duplicate.
    pub(super) fn add(&mut self, depth: usize, text: &'a [u8], range: Range<usize>) -> Option<usize> {
        self.in_key = false;
        let end = range.end;
        let name = name_of(text.get(range).unwrap_or_default());
        let mut same_object = self.keys.iter().rev().take_while(|key| key.depth == depth);
        let is_doubled = same_object.by_ref().take(MAX_COMPARED).any(|key| key.name == name);
        self.keys.push(Key { depth, end, name });
        is_doubled.then_some(end)
    }

    /// Records the end of a container. Returns the offset of the end of a duplicate key, if there is one.
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
    // If it can't be decoded, the parser will refuse it.
    match serde_json::from_slice::<String>(quoted) {
        Ok(name) => Cow::Owned(name.into_bytes()),
        Err(_) => Cow::Borrowed(inside),
    }
}
