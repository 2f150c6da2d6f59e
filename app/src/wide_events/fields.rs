//! What an event holds: JSON, in the order in which it was written, with names that are mostly `'static`.
//!
//! `serde_json::Value` would allocate every name anew for each request, and its map sorts. An event's objects are
//! short, so a list that is searched from its front is both smaller and faster.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Number;

/// A field's name.
pub(super) type Name = Cow<'static, str>;

/// How many fields one object may have. More are left out, and the event says so.
pub const MAX_FIELDS: usize = 256;

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
    String(Cow<'static, str>),
    /// A list.
    Array(Vec<Value>),
    /// An object.
    Object(Fields),
}

/// An object: its fields in the order in which they were first written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields(Vec<(Name, Value)>);

/// A field that found no place: its object has [`MAX_FIELDS`] already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Value {
    /// What `value` is as JSON.
    ///
    /// # Errors
    /// If its `Serialize` fails, or a map's keys are no texts.
    pub fn of(value: impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::to_value(value).map(Self::from)
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
        Self(Vec::with_capacity(capacity))
    }

    /// How many there are, not counting what is inside of them.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(of, _)| of == name).map(|(_, value)| value)
    }

    pub(super) fn entries(&self) -> &[(Name, Value)] {
        &self.0
    }

    pub(super) fn entries_mut(&mut self) -> &mut [(Name, Value)] {
        &mut self.0
    }

    pub(super) fn into_entries(self) -> Vec<(Name, Value)> {
        self.0
    }

    /// Adds a field that isn't there yet.
    pub(super) fn push(&mut self, name: impl Into<Name>, value: impl Into<Value>) {
        self.0.push((name.into(), value.into()));
    }

    /// Puts `value` at `path`; what was there is replaced, and whatever stood in its way is no more.
    pub(super) fn set(&mut self, path: Name, value: Value) -> Result<(), Full> {
        *self.at(path)? = value;
        Ok(())
    }

    /// The place at `path`, made if need be.
    pub(super) fn at(&mut self, path: Name) -> Result<&mut Value, Full> {
        let dot = path.find('.');
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
        for (name, value) in other.0 {
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

    /// Lays `value` over what is at `name`: objects are merged, anything else is replaced.
    pub(super) fn overlay(&mut self, name: Name, value: Value) {
        let one = Self(vec![(name, value)]);
        // Few enough are laid over that there is always a place.
        let _ = self.merge(one);
    }

    pub(super) fn truncate(&mut self, fields: usize) {
        self.0.truncate(fields);
    }

    fn own(&mut self, name: Name) -> Result<&mut Value, Full> {
        let place = self.0.iter().position(|(of, _)| *of == name);
        let place = match place {
            Some(place) => place,
            None if self.0.len() >= MAX_FIELDS => return Err(Full),
            None => {
                self.0.push((name, Value::Null));
                self.0.len() - 1
            }
        };
        self.0.get_mut(place).map(|(_, value)| value).ok_or(Full)
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::Number(number),
            serde_json::Value::String(text) => Self::String(Cow::Owned(text)),
            serde_json::Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(map) => Self::Object(Fields(
                map.into_iter()
                    .map(|(name, value)| (Cow::Owned(name), value.into()))
                    .collect(),
            )),
        }
    }
}

impl From<&Value> for serde_json::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::String(text.clone().into_owned()),
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Object(fields) => Self::Object(
                fields
                    .0
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.into()))
                    .collect(),
            ),
        }
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::String(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(Cow::Owned(text))
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
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
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
        event.set("cart.items".into(), 3.0.into()).unwrap();
        event.set("cart.items".into(), 4_u64.into()).unwrap();
        event.set("user".into(), "ada".into()).unwrap();
        event.set("user.id".to_owned().into(), 7_u64.into()).unwrap();
        let written = serde_json::to_string(&event).unwrap();
        assert_eq!(written, r#"{"cart":{"items":4},"user":{"id":7}}"#);
        assert_eq!(event.get("user.id").and_then(Value::as_u64), Some(7));
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
            event.set(format!("f{n}").into(), Value::Null).unwrap();
        }
        assert_eq!(event.set("one_more".into(), Value::Null), Err(Full));
        assert_eq!(event.set("f0".into(), true.into()), Ok(()));
        assert_eq!(event.len(), MAX_FIELDS);
    }
}
