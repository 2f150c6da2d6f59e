//! What an event holds: JSON, in the order in which it was written, with names that are mostly `'static`.
//!
//! `serde_json::Value` would allocate every name anew for each request, and its map sorts. An event's objects are
//! short, so a list that is searched from its front is both smaller and faster.

use std::borrow::Cow;
use std::ops::Range;

use compact_str::CompactString;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Number;

use super::ser::{NoJson, ToValue};

/// A field's name.
pub(super) type Name = Cow<'static, str>;
/// A text: `'static`, or kept in its place up to 24 bytes, or in memory of its own.
pub(super) type Text = CompactString;

/// How many fields one object may have. More are left out, and the event says so.
pub const MAX_FIELDS: usize = 256;

/// How many levels of objects and lists a value may have. Deeper ones are left out, which the event records.
pub const MAX_DEPTH: usize = 100;
/// How many names a path may have: with its value, an event is no deeper than what readers of JSON take.
pub(super) const MAX_PATH_NAMES: usize = 16;

/// Room for the layer's own fields and some more.
const USUAL_FIELDS: usize = 64;

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
    /// A text.
    String(CompactString),
    /// A list.
    Array(Vec<Value>),
    /// An object.
    Object(Fields),
}

/// An object: its fields in the order in which they were first written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields {
    entries: Vec<(Name, Value)>,
    /// A bit for each name that is there (a Bloom filter of one hash): most new names are seen to be new without a
    /// search.
    seen: u128,
}

/// A field that found no place: its object has [`MAX_FIELDS`] already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Value {
    /// What `value` is as JSON.
    ///
    /// # Errors
    /// If its `Serialize` fails, a map's keys are no texts, or it has more than [`MAX_DEPTH`] levels.
    pub fn of(value: impl Serialize) -> Result<Self, NoJson> {
        value.serialize(ToValue::whole())
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    /// The whole number from zero on, if it is one.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// About how many bytes it is as JSON.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 8,
            Self::String(text) => text.len() + 2,
            Self::Array(items) => items.iter().map(|item| item.size() + 1).sum(),
            Self::Object(fields) => fields.iter().map(|(name, value)| name.len() + value.size() + 4).sum(),
        }
    }

    /// The object, if it is one.
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

    /// An empty one with room for an event.
    pub(super) fn roomy() -> Self {
        Self::with_capacity(USUAL_FIELDS)
    }

    /// Empties it and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.seen = 0;
    }

    /// Whether it has no memory.
    pub(super) fn is_bare(&self) -> bool {
        self.entries.capacity() == 0
    }

    /// How many there are, not counting what is inside of them.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value at a path of names with dots between: `cart.items`.
    pub fn get(&self, path: &str) -> Option<&Value> {
        match path.split_once('.') {
            None => self.field(path),
            Some((name, rest)) => self.field(name)?.as_fields()?.get(rest),
        }
    }

    /// Every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(name, value)| (name.as_ref(), value))
    }

    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.entries.get(self.place(name)?).map(|(_, value)| value)
    }

    pub(super) fn entries(&self) -> &[(Name, Value)] {
        &self.entries
    }

    pub(super) fn entries_mut(&mut self) -> &mut [(Name, Value)] {
        &mut self.entries
    }

    /// Adds a field that isn't there yet.
    pub(super) fn push(&mut self, name: impl Into<Name>, value: impl Into<Value>) {
        let name = name.into();
        self.seen |= bit(&name);
        self.entries.push((name, value.into()));
    }

    /// The place at `path`, whose dots lead into objects, made if need be; whatever stands in its way is no more.
    pub(super) fn at(&mut self, path: Name) -> Result<&mut Value, Full> {
        let dot = path.bytes().position(|letter| letter == b'.');
        let Some(dot) = dot else {
            return self.own(path);
        };
        let (name, rest) = match path {
            Cow::Borrowed(path) => (Cow::Borrowed(&path[..dot]), Cow::Borrowed(&path[dot + 1..])),
            Cow::Owned(path) => (
                Cow::Owned(path[..dot].to_owned()),
                Cow::Owned(path[dot + 1..].to_owned()),
            ),
        };
        let value = self.own(name)?;
        if !matches!(value, Value::Object(_)) {
            *value = Value::Object(Self::default());
        }
        match value {
            Value::Object(fields) => fields.at(rest),
            // It was made one just above.
            _ => Err(Full),
        }
    }

    /// Puts all of `other` in: objects into objects, anything else in the place of what was there.
    pub(super) fn merge(&mut self, other: Self) -> Result<(), Full> {
        let mut left_out = Ok(());
        for (name, value) in other.entries {
            let merged = match (self.own(name), value) {
                (Ok(Value::Object(fields)), Value::Object(more)) => fields.merge(more),
                (Ok(place), value) => {
                    *place = value;
                    Ok(())
                }
                (Err(full), _) => Err(full),
            };
            left_out = left_out.and(merged);
        }
        left_out
    }

    /// Puts `value` at `name`, which may have dots.
    pub(super) fn put(&mut self, name: impl Into<Name>, value: Value) -> Result<(), Full> {
        *self.own(name.into())? = value;
        Ok(())
    }

    /// Adds a field unless it is there.
    pub(super) fn push_unless_there(&mut self, name: &'static str, value: impl Into<Value>) {
        if self.place(name).is_none() {
            self.push(name, value);
        }
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.entries.retain(|(name, _)| keep(name));
    }

    /// Forgets all but some.
    pub(super) fn keep(&mut self, places: Range<usize>) {
        self.entries.truncate(places.end);
        self.entries.drain(..places.start.min(self.entries.len()));
    }

    fn own(&mut self, name: Name) -> Result<&mut Value, Full> {
        let place = match self.place(&name) {
            Some(place) => place,
            None if self.entries.len() >= MAX_FIELDS => return Err(Full),
            None => {
                self.push(name, Value::Null);
                self.entries.len() - 1
            }
        };
        self.entries.get_mut(place).map(|(_, value)| value).ok_or(Full)
    }

    fn place(&self, name: &str) -> Option<usize> {
        if self.seen & bit(name) == 0 {
            return None;
        }
        self.entries.iter().position(|(of, _)| of == name)
    }
}

/// A name's bit, from its length and three of its letters: enough to tell apart what somebody has chosen.
fn bit(name: &str) -> u128 {
    let letters = name.as_bytes();
    let at = |place: usize| usize::from(letters.get(place).copied().unwrap_or_default());
    let length = letters.len();
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
    /// Neither NaN nor an infinity is a JSON number: both are `null`.
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
    fn a_path_makes_what_it_leads_through_and_the_last_write_holds() {
        let mut event = Fields::default();
        *event.at("cart.items".into()).unwrap() = 3.0.into();
        *event.at("cart.items".into()).unwrap() = 4_u64.into();
        *event.at("user".into()).unwrap() = "ada".into();
        *event.at("user.id".to_owned().into()).unwrap() = 7_u64.into();
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
    fn an_object_is_full_at_its_limit_and_still_takes_what_it_knows() {
        let mut event = Fields::default();
        for n in 0..MAX_FIELDS {
            event.at(format!("f{n}").into()).unwrap();
        }
        assert_eq!(event.at("one_more".into()).unwrap_err(), Full);
        assert!(event.at("f0.x".into()).is_ok());
        assert_eq!(event.len(), MAX_FIELDS);
    }
}
