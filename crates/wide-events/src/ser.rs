//! Serializes any type to a [`Value`], without an intermediate `serde_json::Value`. The names of a struct's fields are
//! not copied, and short strings need no allocation.

use std::fmt::{self, Display};

use serde::ser::{self, Serialize, Serializer};
use serde_json::Number;

use super::fields::{Fields, MAX_DEPTH, MAX_FIELDS, Name, Text, TooManyFields, Value};

/// The reason why a value can't be serialized as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotJson(String);

impl Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotJson {}

impl ser::Error for NotJson {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl From<TooManyFields> for NotJson {
    fn from(_: TooManyFields) -> Self {
        Self(format!("an object has more than {MAX_FIELDS} fields"))
    }
}

type SerializeResult = Result<Value, NotJson>;

/// A serializer whose output is a [`Value`] with at most `levels` levels.
#[derive(Clone, Copy)]
pub(super) struct ValueSerializer {
    levels: usize,
}

impl ValueSerializer {
    /// Creates a serializer for at most [`MAX_DEPTH`] levels.
    pub(super) fn new() -> Self {
        Self { levels: MAX_DEPTH }
    }

    /// Returns the serializer for the content of a list, an object or a variant.
    fn inside(self) -> Result<Self, NotJson> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self { levels }),
            None => Err(NotJson(format!("it is nested more than {MAX_DEPTH} levels deep"))),
        }
    }
}

/// A list that is being serialized. The list of an enum variant becomes an object with the variant's name.
pub(super) struct ListSerializer {
    items: Vec<Value>,
    variant: Option<&'static str>,
    inside: ValueSerializer,
}

/// An object that is being serialized.
pub(super) struct ObjectSerializer {
    fields: Fields,
    name: Option<Name>,
    variant: Option<&'static str>,
    inside: ValueSerializer,
}

fn wrap_in_variant(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        None => value,
        Some(variant) => {
            let mut fields = Fields::default();
            fields.push(variant, value);
            fields.into()
        }
    }
}

impl Serializer for ValueSerializer {
    type Ok = Value;
    type Error = NotJson;
    type SerializeSeq = ListSerializer;
    type SerializeTuple = ListSerializer;
    type SerializeTupleStruct = ListSerializer;
    type SerializeTupleVariant = ListSerializer;
    type SerializeMap = ObjectSerializer;
    type SerializeStruct = ObjectSerializer;
    type SerializeStructVariant = ObjectSerializer;

    fn serialize_bool(self, value: bool) -> SerializeResult {
        Ok(Value::Bool(value))
    }

    fn serialize_i8(self, value: i8) -> SerializeResult {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> SerializeResult {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> SerializeResult {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> SerializeResult {
        Ok(Value::Number(value.into()))
    }

    fn serialize_i128(self, value: i128) -> SerializeResult {
        Number::from_i128(value)
            .map(Value::Number)
            .ok_or_else(|| NotJson(format!("{value} is out of range")))
    }

    fn serialize_u8(self, value: u8) -> SerializeResult {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> SerializeResult {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> SerializeResult {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> SerializeResult {
        Ok(Value::Number(value.into()))
    }

    fn serialize_u128(self, value: u128) -> SerializeResult {
        Number::from_u128(value)
            .map(Value::Number)
            .ok_or_else(|| NotJson(format!("{value} is out of range")))
    }

    fn serialize_f32(self, value: f32) -> SerializeResult {
        Ok(f64::from(value).into())
    }

    fn serialize_f64(self, value: f64) -> SerializeResult {
        Ok(value.into())
    }

    fn serialize_char(self, value: char) -> SerializeResult {
        Ok(Value::String(Text::from_iter([value])))
    }

    fn serialize_str(self, value: &str) -> SerializeResult {
        Ok(Value::String(Text::from(value)))
    }

    fn serialize_bytes(self, value: &[u8]) -> SerializeResult {
        Ok(Value::Array(value.iter().map(|byte| u64::from(*byte).into()).collect()))
    }

    fn serialize_none(self) -> SerializeResult {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> SerializeResult {
        value.serialize(self)
    }

    fn serialize_unit(self) -> SerializeResult {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> SerializeResult {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> SerializeResult {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> SerializeResult {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> SerializeResult {
        Ok(wrap_in_variant(Some(variant), value.serialize(self.inside()?)?))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<ListSerializer, NotJson> {
        Ok(ListSerializer {
            // A type may return a wrong length, so the capacity is limited.
            items: Vec::with_capacity(length.unwrap_or(0).min(MAX_FIELDS)),
            variant: None,
            inside: self.inside()?,
        })
    }

    fn serialize_tuple(self, length: usize) -> Result<ListSerializer, NotJson> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<ListSerializer, NotJson> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<ListSerializer, NotJson> {
        Ok(ListSerializer {
            variant: Some(variant),
            ..self.inside()?.serialize_seq(Some(length))?
        })
    }

    fn serialize_map(self, length: Option<usize>) -> Result<ObjectSerializer, NotJson> {
        Ok(ObjectSerializer {
            fields: Fields::with_capacity(length.unwrap_or(0).min(MAX_FIELDS)),
            name: None,
            variant: None,
            inside: self.inside()?,
        })
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<ObjectSerializer, NotJson> {
        self.serialize_map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<ObjectSerializer, NotJson> {
        Ok(ObjectSerializer {
            variant: Some(variant),
            ..self.inside()?.serialize_map(Some(length))?
        })
    }
}

impl ListSerializer {
    fn add<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NotJson> {
        self.items.push(item.serialize(self.inside)?);
        Ok(())
    }

    fn finish(self) -> Value {
        wrap_in_variant(self.variant, Value::Array(self.items))
    }
}

impl ObjectSerializer {
    fn finish(self) -> Value {
        wrap_in_variant(self.variant, self.fields.into())
    }
}

impl ser::SerializeSeq for ListSerializer {
    type Ok = Value;
    type Error = NotJson;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NotJson> {
        self.add(item)
    }

    fn end(self) -> SerializeResult {
        Ok(self.finish())
    }
}

impl ser::SerializeTuple for ListSerializer {
    type Ok = Value;
    type Error = NotJson;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NotJson> {
        self.add(item)
    }

    fn end(self) -> SerializeResult {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleStruct for ListSerializer {
    type Ok = Value;
    type Error = NotJson;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NotJson> {
        self.add(item)
    }

    fn end(self) -> SerializeResult {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleVariant for ListSerializer {
    type Ok = Value;
    type Error = NotJson;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NotJson> {
        self.add(item)
    }

    fn end(self) -> SerializeResult {
        Ok(self.finish())
    }
}

impl ser::SerializeMap for ObjectSerializer {
    type Ok = Value;
    type Error = NotJson;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), NotJson> {
        // As in serde_json, strings, numbers and booleans can be keys.
        self.name = Some(match name.serialize(self.inside)? {
            Value::String(text) => Name::Owned(text.into_string()),
            Value::Number(number) => Name::Owned(number.to_string()),
            Value::Bool(value) => Name::Owned(value.to_string()),
            _ => return Err(NotJson("a key must be a string".to_owned())),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
        let name = self.name.take().unwrap_or_default();
        self.fields.put(name, value.serialize(self.inside)?)?;
        Ok(())
    }

    fn end(self) -> SerializeResult {
        Ok(self.finish())
    }
}

impl ser::SerializeStruct for ObjectSerializer {
    type Ok = Value;
    type Error = NotJson;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), NotJson> {
        self.fields.put(name, value.serialize(self.inside)?)?;
        Ok(())
    }

    fn end(self) -> SerializeResult {
        Ok(self.finish())
    }
}

impl ser::SerializeStructVariant for ObjectSerializer {
    type Ok = Value;
    type Error = NotJson;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), NotJson> {
        ser::SerializeStruct::serialize_field(self, name, value)
    }

    fn end(self) -> SerializeResult {
        Ok(self.finish())
    }
}

#[cfg(test)]
mod tests;
