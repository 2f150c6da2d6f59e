//! A serde deserializer for named strings: the captures of a path, the parameters of a query.
//!
//! It parses each scalar from its text. A type may take the strings as one value, as a tuple in their order, or as a
//! struct or a map by their names. A string itself has no structure.
//!
//! The deserializers of `serde_urlencoded` and similar crates read queries, but no tuples, and report an invalid number
//! with the text of Rust's parser. axum's deserializer for paths can't leave out the team's id, which comes before a
//! handler's own captures.

use serde::de::value::{BorrowedStrDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};

use super::read_error::ReadError;

/// Strings with their names, in order.
#[derive(Clone, Copy)]
pub(super) struct Strings<'de> {
    pub(super) strings: &'de [(String, String)],
    /// Returns whether a string of this name is left out if the type doesn't know it.
    pub(super) may_be_left_out: fn(&str) -> bool,
}

/// One string.
#[derive(Clone, Copy)]
pub(super) struct Text<'de>(pub(super) &'de str);

impl<'de> Strings<'de> {
    /// Returns the only string.
    fn single(self) -> Result<Text<'de>, ReadError> {
        self.exactly(1)?;
        let text = self.strings.first().map(|(_, text)| Text(text));
        text.ok_or_else(|| ReadError::Misuse("no captures".to_owned()))
    }

    /// Checks the number of strings.
    fn exactly(self, count: usize) -> Result<Self, ReadError> {
        match self.strings.len() {
            found if found == count => Ok(self),
            found => Err(ReadError::Misuse(format!(
                "{found} captures, and the handler takes {count}"
            ))),
        }
    }

    /// Returns the strings for a type with these fields.
    fn by_name(self, fields: &'static [&'static str]) -> impl Iterator<Item = (&'de str, Text<'de>)> {
        self.strings
            .iter()
            .map(|(name, text)| (name.as_str(), Text(text)))
            .filter(move |(name, _)| fields.contains(name) || !(self.may_be_left_out)(name))
    }
}

/// Reads a scalar from the only string.
macro_rules! from_the_single_string {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.single()?.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Strings<'de> {
    type Error = ReadError;

    from_the_single_string! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_identifier
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.single()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.strings {
            [] => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.exactly(0)?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_seq(SeqDeserializer::new(self.strings.iter().map(|(_, text)| Text(text))))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.exactly(len)?.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_map(MapDeserializer::new(self.by_name(fields)))
    }
}

impl<'de> IntoDeserializer<'de, ReadError> for Text<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match self.0.parse::<$type>() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(ReadError::expected(stringify!($type))),
            }
        })*
    };
}

macro_rules! never_in_a_string {
    ($($method:ident ($($argument:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $argument,)* _: V) -> Result<V::Value, ReadError> {
            Err(ReadError::Misuse(format!("a string has no structure: {}", stringify!($method))))
        })*
    };
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = ReadError;

    parsed! {
        deserialize_bool visit_bool bool
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_i128 visit_i128 i128
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
        deserialize_u128 visit_u128 u128
        deserialize_f32 visit_f32 f32
        deserialize_f64 visit_f64 f64
        deserialize_char visit_char char
    }

    never_in_a_string! {
        deserialize_bytes() deserialize_byte_buf() deserialize_unit() deserialize_unit_struct(&'static str)
        deserialize_seq() deserialize_tuple(usize) deserialize_tuple_struct(&'static str, usize) deserialize_map()
        deserialize_struct(&'static str, &'static [&'static str])
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_enum(BorrowedStrDeserializer::new(self.0))
    }

    serde::forward_to_deserialize_any! { str string identifier ignored_any }
}
