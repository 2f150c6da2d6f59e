//! Anything that serialises, as a [`Value`], without a `serde_json::Value` between: a struct's names are kept as they
//! are, and short texts need no memory of their own.

use std::fmt::{self, Display};

use serde::ser::{self, Serialize, Serializer};
use serde_json::Number;

use super::fields::{Fields, Full, MAX_FIELDS, Name, Text, Value};

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

/// Makes a [`Value`].
pub(super) struct ToValue;

/// A list on its way, in an object of its variant's name if it has one.
pub(super) struct ListToValue {
    items: Vec<Value>,
    variant: Option<&'static str>,
}

/// An object on its way.
pub(super) struct ObjectToValue {
    fields: Fields,
    name: Option<Name>,
    variant: Option<&'static str>,
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
        Ok(of_variant(Some(variant), value.serialize(self)?))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<ListToValue, NoJson> {
        Ok(ListToValue {
            // What a type says of its length is no promise.
            items: Vec::with_capacity(length.unwrap_or(0).min(MAX_FIELDS)),
            variant: None,
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
            ..self.serialize_seq(Some(length))?
        })
    }

    fn serialize_map(self, length: Option<usize>) -> Result<ObjectToValue, NoJson> {
        Ok(ObjectToValue {
            fields: Fields::with_capacity(length.unwrap_or(0).min(MAX_FIELDS)),
            name: None,
            variant: None,
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
            ..self.serialize_map(Some(length))?
        })
    }
}

impl ListToValue {
    fn add<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NoJson> {
        self.items.push(item.serialize(ToValue)?);
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
        self.name = Some(match name.serialize(ToValue)? {
            Value::String(text) => Name::Owned(text.into_string()),
            Value::Number(number) => Name::Owned(number.to_string()),
            Value::Bool(truth) => Name::Owned(truth.to_string()),
            _ => return Err(NoJson("a key must be a text".to_owned())),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoJson> {
        let name = self.name.take().unwrap_or_default();
        self.fields.put(name, value.serialize(ToValue)?)?;
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
        self.fields.put(name, value.serialize(ToValue)?)?;
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
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;
    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Unit,
        Newtype(u8),
        Tuple(i8, char),
        Struct { a: Option<f64>, b: () },
    }

    #[derive(Serialize)]
    struct Everything {
        kinds: Vec<Kind>,
        numbers: (u64, i64, f64, u128),
        map: BTreeMap<u8, Option<bool>>,
        bytes: Vec<u8>,
        text: String,
        #[serde(flatten)]
        more: BTreeMap<String, &'static str>,
    }

    #[test]
    fn values_are_what_serde_json_makes_of_them() {
        let everything = Everything {
            kinds: vec![
                Kind::Unit,
                Kind::Newtype(1),
                Kind::Tuple(-2, 'é'),
                Kind::Struct { a: Some(0.1), b: () },
            ],
            numbers: (u64::MAX, i64::MIN, f64::NAN, 7),
            map: BTreeMap::from([(1, Some(true)), (2, None)]),
            bytes: vec![1, 2],
            text: "a text that is longer than what is kept in its place".to_owned(),
            more: BTreeMap::from([("x".to_owned(), "y")]),
        };
        let value = everything.serialize(ToValue).unwrap();
        assert_eq!(
            serde_json::Value::from(&value),
            serde_json::to_value(&everything).unwrap()
        );
        assert_eq!(
            serde_json::to_string(&value).unwrap(),
            serde_json::to_string(&everything).unwrap()
        );
        assert_eq!(
            Value::of(json!({"a": [1, null]})).unwrap(),
            json!({"a": [1, null]}).into()
        );
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let pairs = BTreeMap::from([((1, 2), 3)]);
        assert_eq!(Value::of(pairs).unwrap_err().to_string(), "a key must be a text");
        let many: BTreeMap<usize, ()> = (0..=MAX_FIELDS).map(|n| (n, ())).collect();
        assert!(
            Value::of(many)
                .unwrap_err()
                .to_string()
                .contains("more than 256 fields")
        );
        assert!(Value::of(u128::MAX).is_err());
    }
}
