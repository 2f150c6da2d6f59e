//! Anything that serialises, as a [`Value`], without a `serde_json::Value` between: a struct's names are kept as they
//! are, and short texts need no memory of their own.

use std::fmt::{self, Display};

use serde::ser::{self, Serialize, Serializer};
use serde_json::Number;

use super::fields::{Fields, Full, MAX_DEPTH, MAX_FIELDS, Name, Text, Value};

/// Why something is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoJson(String);

impl Display for NoJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoJson {}

impl ser::Error for NoJson {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl From<Full> for NoJson {
    fn from(_: Full) -> Self {
        Self(format!("an object has more than {MAX_FIELDS} fields"))
    }
}

type Outcome = Result<Value, NoJson>;

/// Makes a [`Value`] of at most so many levels.
#[derive(Clone, Copy)]
pub(super) struct ToValue {
    levels: usize,
}

impl ToValue {
    /// A value of at most [`MAX_DEPTH`] levels.
    pub(super) fn whole() -> Self {
        Self { levels: MAX_DEPTH }
    }

    /// For what is inside of a list, an object or a variant.
    fn inside(self) -> Result<Self, NoJson> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self { levels }),
            None => Err(NoJson(format!("it is nested more than {MAX_DEPTH} levels deep"))),
        }
    }
}

/// A list on its way, in an object of its variant's name if it has one.
pub(super) struct ListToValue {
    items: Vec<Value>,
    variant: Option<&'static str>,
    inside: ToValue,
}

/// An object on its way.
pub(super) struct ObjectToValue {
    fields: Fields,
    name: Option<Name>,
    variant: Option<&'static str>,
    inside: ToValue,
}

fn of_variant(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        None => value,
        Some(variant) => {
            let mut fields = Fields::default();
            fields.push(variant, value);
            fields.into()
        }
    }
}

impl Serializer for ToValue {
    type Ok = Value;
    type Error = NoJson;
    type SerializeSeq = ListToValue;
    type SerializeTuple = ListToValue;
    type SerializeTupleStruct = ListToValue;
    type SerializeTupleVariant = ListToValue;
    type SerializeMap = ObjectToValue;
    type SerializeStruct = ObjectToValue;
    type SerializeStructVariant = ObjectToValue;

    fn serialize_bool(self, value: bool) -> Outcome {
        Ok(Value::Bool(value))
    }

    fn serialize_i8(self, value: i8) -> Outcome {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Outcome {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Outcome {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Outcome {
        Ok(Value::Number(value.into()))
    }

    fn serialize_i128(self, value: i128) -> Outcome {
        Number::from_i128(value)
            .map(Value::Number)
            .ok_or_else(|| NoJson(format!("{value} is out of range")))
    }

    fn serialize_u8(self, value: u8) -> Outcome {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Outcome {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Outcome {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Outcome {
        Ok(Value::Number(value.into()))
    }

    fn serialize_u128(self, value: u128) -> Outcome {
        Number::from_u128(value)
            .map(Value::Number)
            .ok_or_else(|| NoJson(format!("{value} is out of range")))
    }

    fn serialize_f32(self, value: f32) -> Outcome {
        Ok(f64::from(value).into())
    }

    fn serialize_f64(self, value: f64) -> Outcome {
        Ok(value.into())
    }

    fn serialize_char(self, value: char) -> Outcome {
        Ok(Value::String(Text::from_iter([value])))
    }

    fn serialize_str(self, value: &str) -> Outcome {
        Ok(Value::String(Text::from(value)))
    }

    fn serialize_bytes(self, value: &[u8]) -> Outcome {
        Ok(Value::Array(value.iter().map(|byte| u64::from(*byte).into()).collect()))
    }

    fn serialize_none(self) -> Outcome {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Outcome {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Outcome {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Outcome {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Outcome {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Outcome {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Outcome {
        Ok(of_variant(Some(variant), value.serialize(self.inside()?)?))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<ListToValue, NoJson> {
        Ok(ListToValue {
            // What a type says of its length is no promise.
            items: Vec::with_capacity(length.unwrap_or(0).min(MAX_FIELDS)),
            variant: None,
            inside: self.inside()?,
        })
    }

    fn serialize_tuple(self, length: usize) -> Result<ListToValue, NoJson> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<ListToValue, NoJson> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<ListToValue, NoJson> {
        Ok(ListToValue {
            variant: Some(variant),
            ..self.inside()?.serialize_seq(Some(length))?
        })
    }

    fn serialize_map(self, length: Option<usize>) -> Result<ObjectToValue, NoJson> {
        Ok(ObjectToValue {
            fields: Fields::with_capacity(length.unwrap_or(0).min(MAX_FIELDS)),
            name: None,
            variant: None,
            inside: self.inside()?,
        })
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<ObjectToValue, NoJson> {
        self.serialize_map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<ObjectToValue, NoJson> {
        Ok(ObjectToValue {
            variant: Some(variant),
            ..self.inside()?.serialize_map(Some(length))?
        })
    }
}

impl ListToValue {
    fn add<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NoJson> {
        self.items.push(item.serialize(self.inside)?);
        Ok(())
    }

    fn made(self) -> Value {
        of_variant(self.variant, Value::Array(self.items))
    }
}

impl ObjectToValue {
    fn made(self) -> Value {
        of_variant(self.variant, self.fields.into())
    }
}

impl ser::SerializeSeq for ListToValue {
    type Ok = Value;
    type Error = NoJson;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NoJson> {
        self.add(item)
    }

    fn end(self) -> Outcome {
        Ok(self.made())
    }
}

impl ser::SerializeTuple for ListToValue {
    type Ok = Value;
    type Error = NoJson;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NoJson> {
        self.add(item)
    }

    fn end(self) -> Outcome {
        Ok(self.made())
    }
}

impl ser::SerializeTupleStruct for ListToValue {
    type Ok = Value;
    type Error = NoJson;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NoJson> {
        self.add(item)
    }

    fn end(self) -> Outcome {
        Ok(self.made())
    }
}

impl ser::SerializeTupleVariant for ListToValue {
    type Ok = Value;
    type Error = NoJson;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NoJson> {
        self.add(item)
    }

    fn end(self) -> Outcome {
        Ok(self.made())
    }
}

impl ser::SerializeMap for ObjectToValue {
    type Ok = Value;
    type Error = NoJson;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), NoJson> {
        // Texts, numbers and truths are names in JSON; all else is none.
        self.name = Some(match name.serialize(self.inside)? {
            Value::String(text) => Name::Owned(text.into_string()),
            Value::Number(number) => Name::Owned(number.to_string()),
            Value::Bool(truth) => Name::Owned(truth.to_string()),
            _ => return Err(NoJson("a key must be a text".to_owned())),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoJson> {
        let name = self.name.take().unwrap_or_default();
        self.fields.put(name, value.serialize(self.inside)?)?;
        Ok(())
    }

    fn end(self) -> Outcome {
        Ok(self.made())
    }
}

impl ser::SerializeStruct for ObjectToValue {
    type Ok = Value;
    type Error = NoJson;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), NoJson> {
        self.fields.put(name, value.serialize(self.inside)?)?;
        Ok(())
    }

    fn end(self) -> Outcome {
        Ok(self.made())
    }
}

impl ser::SerializeStructVariant for ObjectToValue {
    type Ok = Value;
    type Error = NoJson;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), NoJson> {
        ser::SerializeStruct::serialize_field(self, name, value)
    }

    fn end(self) -> Outcome {
        Ok(self.made())
    }
}

#[cfg(test)]
mod tests;
