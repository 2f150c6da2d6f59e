//! A serde deserializer for named strings: the captures of a path, the parameters of a query.
//!
//! Everything in a URL is text, so each scalar is parsed from it. A type may take the strings as one value,
//! as a tuple in their order, or as a struct or map by their names; a string itself holds no structure.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};

/// Why strings are no `T`.
#[derive(Debug)]
pub(super) enum StringsError {
    /// A string isn't what it should be: the client's doing.
    Value(String),
    /// A name is missing, unknown or doubled: the client's doing in a query, ours in a path.
    Names(String),
    /// `T` can't be read from strings like these: always our doing.
    Misuse(String),
}

impl fmt::Display for StringsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(message) | Self::Names(message) | Self::Misuse(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for StringsError {}

impl serde::de::Error for StringsError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Value(message.to_string())
    }

    fn invalid_length(length: usize, expected: &dyn serde::de::Expected) -> Self {
        Self::Misuse(format!("{length} captures, and the handler takes {expected}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        // serde's own words, by way of an error that is nothing but words.
        let words = <serde::de::value::Error as serde::de::Error>::unknown_field(field, expected);
        Self::Names(words.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Names(format!("missing field `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Names(format!("duplicate field `{field}`"))
    }
}

/// Strings with their names, in order.
#[derive(Clone, Copy)]
pub(super) struct Strings<'de> {
    strings: &'de [(String, String)],
    /// Those that a type may not know, which are then left out.
    may_be_left_out: fn(&str) -> bool,
}

/// One string.
#[derive(Clone, Copy)]
struct Text<'de>(&'de str);

impl<'de> Strings<'de> {
    /// All of them.
    pub(super) fn all(strings: &'de [(String, String)]) -> Self {
        Self::with_optional(strings, |_| false)
    }

    /// All but those that a type doesn't know and need not.
    pub(super) fn with_optional(strings: &'de [(String, String)], may_be_left_out: fn(&str) -> bool) -> Self {
        Self {
            strings,
            may_be_left_out,
        }
    }

    /// The string where there is but one.
    fn single(self) -> Result<Text<'de>, StringsError> {
        match self.strings {
            [(_, text)] => Ok(Text(text)),
            several => Err(StringsError::Misuse(format!(
                "{} captures, and the handler takes one value",
                several.len()
            ))),
        }
    }

    fn in_order(self) -> impl Iterator<Item = Text<'de>> {
        self.strings.iter().map(|(_, text)| Text(text))
    }

    /// Those of a type with these fields.
    fn by_name(self, fields: &'static [&'static str]) -> impl Iterator<Item = (&'de str, Text<'de>)> {
        self.strings
            .iter()
            .map(|(name, text)| (name.as_str(), Text(text)))
            .filter(move |(name, _)| fields.contains(name) || !(self.may_be_left_out)(name))
    }

    fn exactly(self, count: usize) -> Result<Self, StringsError> {
        if self.strings.len() == count {
            return Ok(self);
        }
        Err(StringsError::Misuse(format!(
            "{} captures, and the handler takes {count}",
            self.strings.len()
        )))
    }
}

/// What takes a single value takes the only string.
macro_rules! of_the_single_string {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StringsError> {
            self.single()?.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Strings<'de> {
    type Error = StringsError;

    of_the_single_string! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StringsError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StringsError> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StringsError> {
        if self.strings.is_empty() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StringsError> {
        self.exactly(0)?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, StringsError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, StringsError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StringsError> {
        visitor.visit_seq(SeqDeserializer::new(self.in_order()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, StringsError> {
        self.exactly(len)?.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, StringsError> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StringsError> {
        visitor.visit_map(MapDeserializer::new(self.by_name(&[])))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, StringsError> {
        visitor.visit_map(MapDeserializer::new(self.by_name(fields)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, StringsError> {
        self.single()?.deserialize_enum(name, variants, visitor)
    }
}

impl<'de> IntoDeserializer<'de, StringsError> for Text<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $expected:literal)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StringsError> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(StringsError::Value(format!("must be {}, and is {:?}", $expected, self.0))),
            }
        })*
    };
}

macro_rules! text {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StringsError> {
            visitor.visit_borrowed_str(self.0)
        })*
    };
}

macro_rules! never_in_a_string {
    ($($method:ident ($($argument:ty),*) $what:literal)*) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $argument,)* _: V) -> Result<V::Value, StringsError> {
            Err(StringsError::Misuse(concat!("a string can't be read as ", $what).to_owned()))
        })*
    };
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = StringsError;

    parsed! {
        deserialize_bool visit_bool "true or false"
        deserialize_i8 visit_i8 "a whole number from -128 to 127"
        deserialize_i16 visit_i16 "a whole number from -32768 to 32767"
        deserialize_i32 visit_i32 "a whole number of 32 bits"
        deserialize_i64 visit_i64 "a whole number of 64 bits"
        deserialize_i128 visit_i128 "a whole number of 128 bits"
        deserialize_u8 visit_u8 "a whole number from 0 to 255"
        deserialize_u16 visit_u16 "a whole number from 0 to 65535"
        deserialize_u32 visit_u32 "a whole number of 32 bits, not below 0"
        deserialize_u64 visit_u64 "a whole number of 64 bits, not below 0"
        deserialize_u128 visit_u128 "a whole number of 128 bits, not below 0"
        deserialize_f32 visit_f32 "a number"
        deserialize_f64 visit_f64 "a number"
        deserialize_char visit_char "a single character"
    }

    text! { deserialize_any deserialize_str deserialize_string deserialize_identifier }

    never_in_a_string! {
        deserialize_bytes () "bytes"
        deserialize_byte_buf () "bytes"
        deserialize_unit () "nothing"
        deserialize_unit_struct (&'static str) "nothing"
        deserialize_seq () "a list"
        deserialize_tuple (usize) "a tuple"
        deserialize_tuple_struct (&'static str, usize) "a tuple"
        deserialize_map () "a map"
        deserialize_struct (&'static str, &'static [&'static str]) "a struct"
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StringsError> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, StringsError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, StringsError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, StringsError> {
        visitor.visit_enum(serde::de::value::BorrowedStrDeserializer::new(self.0))
    }
}
