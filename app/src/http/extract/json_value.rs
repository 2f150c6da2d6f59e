//! A serde deserializer for a JSON value that is stricter than serde_json's, and whose errors are [`ReadError`]s.
//!
//! serde's derived `Deserialize` also accepts a list of a struct's fields in order. No document promises this to
//! clients, and the meaning of such a list would change with the next field. So here a struct, or a variant with
//! fields, is read from an object only.
//!
//! serde reads types with `#[serde(flatten)]`, `untagged` or an internal `tag` through a buffer of its own. Structs
//! that are nested in such a buffer still accept lists.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, IntoDeserializer, Unexpected, Visitor};
use serde_json::Value;

use super::read_error::ReadError;
use super::strings::Text;

/// A JSON value.
#[derive(Clone, Copy)]
pub(super) struct JsonValue<'de>(pub(super) &'de Value);

impl<'de> IntoDeserializer<'de, ReadError> for JsonValue<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for JsonValue<'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.iter().map(JsonValue));
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Value::Object(fields) => {
                let mut fields =
                    MapDeserializer::new(fields.iter().map(|(name, value)| (Text(name), JsonValue(value))));
                let value = visitor.visit_map(&mut fields)?;
                fields.end()?;
                Ok(value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    /// Reads an object, also one with the fields of a variant.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0 {
            Value::Array(_) => Err(ReadError::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(StrDeserializer::new(name)),
            Value::Object(variant) if variant.len() == 1 => {
                let variant = variant.iter().map(|(name, value)| (Text(name), JsonValue(value)));
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(variant)))
            }
            _ => Err(ReadError::unknown_variant("", variants)),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Leaf {
        a: u8,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Pair(u8, Leaf);

    #[derive(Debug, Deserialize, PartialEq)]
    struct Wrapped(Leaf);

    #[derive(Debug, Deserialize, PartialEq)]
    enum Choice {
        Unit,
        Newtype(Leaf),
        Tuple(u8, u8),
        Struct { a: u8 },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Everything {
        leaf: Option<Leaf>,
        #[serde(default)]
        leaves: Vec<Leaf>,
        #[serde(default)]
        by_name: BTreeMap<String, Leaf>,
        #[serde(default)]
        by_number: BTreeMap<u32, Leaf>,
        pair: Option<Pair>,
        wrapped: Option<Wrapped>,
        choice: Option<Choice>,
        any: Option<Value>,
    }

    fn read<T: DeserializeOwned>(text: &str) -> Result<T, ReadError> {
        T::deserialize(JsonValue(&serde_json::from_str(text).unwrap()))
    }

    #[test]
    fn a_list_is_not_read_as_a_struct_at_any_level() {
        for text in [
            "[]",
            "[null]",
            r#"{"leaf":[1]}"#,
            r#"{"leaves":[{"a":1},[2]]}"#,
            r#"{"by_name":{"x":[1]}}"#,
            r#"{"pair":[1,[2]]}"#,
            r#"{"wrapped":[1]}"#,
            r#"{"choice":{"Newtype":[1]}}"#,
            r#"{"choice":{"Struct":[1]}}"#,
        ] {
            let error = read::<Everything>(text).unwrap_err();
            let expected = ReadError::Value("expected an object, found a list".to_owned());
            assert_eq!(error, expected, "{text}");
        }
    }

    #[test]
    fn lists_are_read_where_a_type_expects_them() {
        for text in [
            "{}",
            r#"{"leaf":{"a":1},"leaves":[{"a":1}],"by_name":{"x":{"a":1}},"pair":[1,{"a":2}],"wrapped":{"a":1}}"#,
            r#"{"by_number":{"7":{"a":1}},"choice":"Unit"}"#,
            r#"{"choice":{"Newtype":{"a":1}}}"#,
            r#"{"choice":{"Tuple":[1,2]}}"#,
            r#"{"choice":{"Struct":{"a":1}},"any":[[1,{"x":[]}]]}"#,
        ] {
            read::<Everything>(text).unwrap();
        }
        assert_eq!(read::<(u8, Leaf)>(r#"[1,{"a":2}]"#).unwrap(), (1, Leaf { a: 2 }));
        let any = r#"[{"x":1,"y":[-1,0.5,18446744073709551615,null,true,"z"]}]"#;
        assert_eq!(read::<Value>(any).unwrap().to_string(), any);
    }

    #[test]
    fn an_invalid_value_is_described_by_what_is_expected() {
        for (text, detail) in [
            (r#"{"leaf":{"a":300}}"#, "expected a whole number from 0 to 255"),
            (
                r#"{"leaf":{"a":0.5}}"#,
                "expected a whole number from 0 to 255, found a decimal number",
            ),
            (
                r#"{"leaf":{"a":"S3cret, expected"}}"#,
                "expected a whole number from 0 to 255, found a string",
            ),
            (
                r#"{"choice":"S3cret"}"#,
                "expected one of `Unit`, `Newtype`, `Tuple`, `Struct`",
            ),
            (
                r#"{"choice":{"Unit":null,"S3cret":1}}"#,
                "expected one of `Unit`, `Newtype`, `Tuple`, `Struct`",
            ),
            (r#"{"by_name":7}"#, "expected an object, found a whole number"),
        ] {
            let error = read::<Everything>(text).unwrap_err();
            assert_eq!(error, ReadError::Value(detail.to_owned()), "{text}");
        }
    }
}
