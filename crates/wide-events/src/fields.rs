//! The JSON values of events. Objects keep the order in which fields were added, and most names are `'static`.
//!
//! `serde_json::Value` would allocate every name for each request, and its map sorts the names. An event's objects are
//! small, so a list with a linear search is both smaller and faster.

use std::borrow::Cow;
use std::ops::Range;

use compact_str::CompactString;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Number;

use super::ser::{NotJson, ValueSerializer};

/// The name of a field.
pub(super) type Name = Cow<'static, str>;
/// A string that is `'static`, stored inline up to 24 bytes, or on the heap.
pub(super) type Text = CompactString;

/// Maximum number of fields in one object. Further fields are left out, and `schema_errors` records this.
pub const MAX_FIELDS: usize = 256;

/// Maximum number of nested objects and lists in a value. Deeper values are left out, and `schema_errors` records this.
pub const MAX_DEPTH: usize = 100;
/// Maximum number of names in a path. Together with [`MAX_DEPTH`] it keeps an event within the depth that JSON parsers
/// accept.
pub(super) const MAX_PATH_NAMES: usize = 16;

/// Initial capacity of an event: the layer's own fields and some more.
const EVENT_CAPACITY: usize = 64;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `null`
    #[default]
    Null,
    /// `true`, `false`
    Bool(bool),
    /// An integer or a float.
    Number(Number),
    /// A string.
    String(CompactString),
    /// A list.
    Array(Vec<Value>),
    /// An object.
    Object(Fields),
}

/// A JSON object that keeps the order in which its fields were first added.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields {
    entries: Vec<(Name, Value)>,
    /// A Bloom filter with one hash: one bit for each name. For most new names it shows, without a search, that the
    /// object doesn't have them yet.
    seen: u128,
}

/// The error for a field that can't be added, because its object already has [`MAX_FIELDS`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyFields;

impl Value {
    /// Serializes `value`.
    ///
    /// # Errors
    /// If its `Serialize` fails, if a map has a key that can't be a string, or if it has more than [`MAX_DEPTH`]
    /// levels.
    pub fn of(value: impl Serialize) -> Result<Self, NotJson> {
        value.serialize(ValueSerializer::new())
    }

    /// Returns the string, if the value is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the number, if the value is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    /// Returns the non-negative integer, if the value is one.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// Estimates the length of the value as JSON, in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 8,
            Self::String(text) => text.len() + 2,
            Self::Array(items) => items.iter().map(|item| item.size() + 1).sum(),
            Self::Object(fields) => fields.iter().map(|(name, value)| name.len() + value.size() + 4).sum(),
        }
    }

    /// Returns the object, if the value is one.
    pub fn as_fields(&self) -> Option<&Fields> {
        match self {
            Self::Object(fields) => Some(fields),
            _ => None,
        }
    }
}

impl Fields {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            entries: Vec::with_capacity(capacity),
            seen: 0,
        }
    }

    /// Creates an empty object with capacity for an event.
    pub(super) fn for_event() -> Self {
        Self::with_capacity(EVENT_CAPACITY)
    }

    /// Removes all fields and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.seen = 0;
    }

    /// Returns whether no memory is allocated.
    pub(super) fn has_no_capacity(&self) -> bool {
        self.entries.capacity() == 0
    }

    /// Returns the number of fields, without nested ones.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the value at a path of names, separated by dots: `cart.items`.
    pub fn get(&self, path: &str) -> Option<&Value> {
        match path.split_once('.') {
            None => self.field(path),
            Some((name, rest)) => self.field(name)?.as_fields()?.get(rest),
        }
    }

    /// Returns all fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(name, value)| (name.as_ref(), value))
    }

    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.entries.get(self.index_of(name)?).map(|(_, value)| value)
    }

    pub(super) fn entries(&self) -> &[(Name, Value)] {
        &self.entries
    }

    pub(super) fn entries_mut(&mut self) -> &mut [(Name, Value)] {
        &mut self.entries
    }

    /// Adds a field. The object must not have its name yet.
    pub(super) fn push(&mut self, name: impl Into<Name>, value: impl Into<Value>) {
        let name = name.into();
        self.seen |= bit(&name);
        self.entries.push((name, value.into()));
    }

    /// Returns the value at `path`, and creates it and its parent objects if they are missing. A parent that is not an
    /// object is replaced.
    pub(super) fn at_path(&mut self, path: Name) -> Result<&mut Value, TooManyFields> {
        let dot = path.bytes().position(|byte| byte == b'.');
        let Some(dot) = dot else {
            return self.entry(path);
        };
        let (name, rest) = match path {
            Cow::Borrowed(path) => (Cow::Borrowed(&path[..dot]), Cow::Borrowed(&path[dot + 1..])),
            Cow::Owned(path) => (
                Cow::Owned(path[..dot].to_owned()),
                Cow::Owned(path[dot + 1..].to_owned()),
            ),
        };
        let value = self.entry(name)?;
        if !matches!(value, Value::Object(_)) {
            *value = Value::Object(Self::default());
        }
        match value {
            Value::Object(fields) => fields.at_path(rest),
            // Unreachable: the value was made an object above.
            _ => Err(TooManyFields),
        }
    }

    /// Merges `other` into this object. Objects are merged; other values are replaced.
    pub(super) fn merge(&mut self, other: Self) -> Result<(), TooManyFields> {
        let mut left_out = Ok(());
        for (name, value) in other.entries {
            let merged = match (self.entry(name), value) {
                (Ok(Value::Object(fields)), Value::Object(more)) => fields.merge(more),
                (Ok(existing), value) => {
                    *existing = value;
                    Ok(())
                }
                (Err(full), _) => Err(full),
            };
            left_out = left_out.and(merged);
        }
        left_out
    }

    /// Sets the field `name`, in which a dot has no meaning.
    pub(super) fn put(&mut self, name: impl Into<Name>, value: Value) -> Result<(), TooManyFields> {
        *self.entry(name.into())? = value;
        Ok(())
    }

    /// Adds a field unless the object has its name already.
    pub(super) fn push_if_absent(&mut self, name: &'static str, value: impl Into<Value>) {
        if self.index_of(name).is_none() {
            self.push(name, value);
        }
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.entries.retain(|(name, _)| keep(name));
    }

    /// Removes all fields outside a range of positions.
    pub(super) fn keep_range(&mut self, range: Range<usize>) {
        self.entries.truncate(range.end);
        self.entries.drain(..range.start.min(self.entries.len()));
    }

    fn entry(&mut self, name: Name) -> Result<&mut Value, TooManyFields> {
        let index = match self.index_of(&name) {
            Some(index) => index,
            None if self.entries.len() >= MAX_FIELDS => return Err(TooManyFields),
            None => {
                self.push(name, Value::Null);
                self.entries.len() - 1
            }
        };
        self.entries.get_mut(index).map(|(_, value)| value).ok_or(TooManyFields)
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        if self.seen & bit(name) == 0 {
            return None;
        }
        self.entries.iter().position(|(of, _)| of == name)
    }
}

/// Returns a name's bit in the filter: a hash of its length and three of its bytes, which differ for most names.
fn bit(name: &str) -> u128 {
    let bytes = name.as_bytes();
    let at = |index: usize| usize::from(bytes.get(index).copied().unwrap_or_default());
    let length = bytes.len();
    let last = length.saturating_sub(1);
    let hash = length + at(0) * 7 + at(length / 2) * 31 + at(last) * 101;
    1 << (hash % 128)
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::Number(number),
            serde_json::Value::String(text) => Self::String(text.into()),
            serde_json::Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(map) => {
                let mut fields = Fields::with_capacity(map.len());
                for (name, value) in map {
                    fields.push(name, value);
                }
                Self::Object(fields)
            }
        }
    }
}

impl From<&Value> for serde_json::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::String(text.to_string()),
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Object(fields) => Self::Object(
                fields
                    .entries
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.into()))
                    .collect(),
            ),
        }
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::String(CompactString::const_new(text))
    }
}

impl From<CompactString> for Value {
    fn from(text: CompactString) -> Self {
        Self::String(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl From<f64> for Value {
    /// Converts a number. NaN and infinities become `null`, because they are not JSON numbers.
    fn from(number: f64) -> Self {
        Number::from_f64(number).map_or(Self::Null, Self::Number)
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Self::Object(fields)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(fields) => fields.serialize(serializer),
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (name, value) in &self.entries {
            map.serialize_entry(name.as_ref(), value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: serde_json::Value) -> Fields {
        match Value::from(value) {
            Value::Object(fields) => fields,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_path_creates_its_parents_and_the_last_write_counts() {
        let mut event = Fields::default();
        *event.at_path("cart.items".into()).unwrap() = 3.0.into();
        *event.at_path("cart.items".into()).unwrap() = 4_u64.into();
        *event.at_path("user".into()).unwrap() = "ada".into();
        *event.at_path("user.id".to_owned().into()).unwrap() = 7_u64.into();
        let written = serde_json::to_string(&event).unwrap();
        assert_eq!(written, r#"{"cart":{"items":4},"user":{"id":7}}"#);
        assert_eq!(event.get("user.id").and_then(Value::as_u64), Some(7));
        assert_eq!(event.get("user.name"), None);
    }

    #[test]
    fn merging_goes_into_objects_and_replaces_lists() {
        let mut event = fields(json!({"user": {"id": 1, "tags": [1, 2]}, "x": null}));
        event
            .merge(fields(json!({"user": {"plan": "pro", "tags": [3]}, "x": true})))
            .unwrap();
        assert_eq!(
            serde_json::Value::from(&Value::Object(event)),
            json!({"user": {"id": 1, "tags": [3], "plan": "pro"}, "x": true})
        );
    }

    #[test]
    fn a_full_object_accepts_only_its_existing_names() {
        let mut event = Fields::default();
        for n in 0..MAX_FIELDS {
            event.at_path(format!("f{n}").into()).unwrap();
        }
        assert_eq!(event.at_path("one_more".into()).unwrap_err(), TooManyFields);
        assert!(event.at_path("f0.x".into()).is_ok());
        assert_eq!(event.len(), MAX_FIELDS);
    }
}
