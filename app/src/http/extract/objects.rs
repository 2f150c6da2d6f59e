//! Objects are objects: serde's derived `Deserialize` also takes a list of a struct's fields in order, which no client is
//! promised, and which would change its meaning with the next field.
//!
//! [`ObjectsOnly`] wraps a deserializer, and all that is read through it, so that a struct, or a variant with fields, is
//! read from an object alone. Lists stay lists where a type asks for one.
//!
//! serde reads some types by way of a buffer of its own: those with `#[serde(flatten)]`, `untagged` or an internal `tag`.
//! What is nested in such a buffer is out of reach here.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};

/// A deserializer, an access or a seed whose structs are read from objects alone.
pub(super) struct ObjectsOnly<T>(pub(super) T);

/// A visitor of what is read.
struct Watched<V> {
    visitor: V,
    /// It reads a struct.
    wants_object: bool,
}

fn any<V>(visitor: V) -> Watched<V> {
    Watched {
        visitor,
        wants_object: false,
    }
}

fn object<V>(visitor: V) -> Watched<V> {
    Watched {
        visitor,
        wants_object: true,
    }
}

macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* any(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectsOnly<D> {
    type Error = D::Error;

    forward! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_string()
        deserialize_bytes() deserialize_byte_buf() deserialize_option() deserialize_unit()
        deserialize_unit_struct(name: &'static str) deserialize_newtype_struct(name: &'static str) deserialize_seq()
        deserialize_tuple(len: usize) deserialize_tuple_struct(name: &'static str, len: usize) deserialize_map()
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) deserialize_identifier()
        deserialize_ignored_any()
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, object(visitor))
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($type:ty))*) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.visitor.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watched<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    visit! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128) visit_u8(u8)
        visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128) visit_f32(f32) visit_f64(f64) visit_char(char)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String) visit_bytes(&[u8])
        visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(ObjectsOnly(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(ObjectsOnly(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        if self.wants_object {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        self.visitor.visit_seq(ObjectsOnly(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(ObjectsOnly(fields))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(ObjectsOnly(data))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for ObjectsOnly<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(ObjectsOnly(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for ObjectsOnly<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(ObjectsOnly(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for ObjectsOnly<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(ObjectsOnly(seed))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(ObjectsOnly(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for ObjectsOnly<A> {
    type Error = A::Error;
    type Variant = ObjectsOnly<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (variant, access) = self.0.variant_seed(ObjectsOnly(seed))?;
        Ok((variant, ObjectsOnly(access)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for ObjectsOnly<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(ObjectsOnly(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, object(visitor))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;
    use serde_json::Value;
    use serde_json::value::RawValue;

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
        pair: Option<Pair>,
        wrapped: Option<Wrapped>,
        choice: Option<Choice>,
        any: Option<Value>,
    }

    fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        T::deserialize(ObjectsOnly(&mut deserializer)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_is_no_struct_at_any_level() {
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
            let refused = read::<Everything>(text).unwrap_err();
            assert!(
                refused.starts_with("invalid type: sequence, expected struct"),
                "{text}: {refused}"
            );
        }
    }

    #[test]
    fn what_is_a_list_stays_one() {
        for text in [
            "{}",
            r#"{"leaf":{"a":1},"leaves":[{"a":1}],"by_name":{"x":{"a":1}},"pair":[1,{"a":2}],"wrapped":{"a":1}}"#,
            r#"{"choice":"Unit"}"#,
            r#"{"choice":{"Newtype":{"a":1}}}"#,
            r#"{"choice":{"Tuple":[1,2]}}"#,
            r#"{"choice":{"Struct":{"a":1}},"any":[[1,{"x":[]}]]}"#,
        ] {
            read::<Everything>(text).unwrap();
        }
        assert_eq!(read::<(u8, Leaf)>(r#"[1,{"a":2}]"#).unwrap(), (1, Leaf { a: 2 }));
        assert_eq!(read::<Box<RawValue>>(r#"{"x": [1]}"#).unwrap().get(), r#"{"x": [1]}"#);
        assert_eq!(read::<Value>(r#"[{"x":1}]"#).unwrap(), serde_json::json!([{"x": 1}]));
    }
}
