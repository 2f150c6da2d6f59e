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
fn values_are_the_same_as_serde_jsons() {
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
        text: "a string that is too long to be stored inline".to_owned(),
        more: BTreeMap::from([("x".to_owned(), "y")]),
    };
    let value = everything.serialize(ValueSerializer::new()).unwrap();
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
fn values_that_are_not_json_are_refused() {
    let pairs = BTreeMap::from([((1, 2), 3)]);
    assert_eq!(Value::of(pairs).unwrap_err().to_string(), "a key must be a string");
    let many: BTreeMap<usize, ()> = (0..=MAX_FIELDS).map(|n| (n, ())).collect();
    assert!(
        Value::of(many)
            .unwrap_err()
            .to_string()
            .contains("more than 256 fields")
    );
    assert!(Value::of(u128::MAX).is_err());
}

#[derive(Serialize)]
enum Nested {
    Leaf,
    In(Box<Nested>),
}

#[test]
fn values_with_too_many_levels_are_refused() {
    let lists = |levels: usize| (0..levels).fold(json!(1), |inside, _| json!([inside]));
    let objects = |levels: usize| (0..levels).fold(json!(1), |inside, _| json!({ "a": inside }));
    let variants = |levels: usize| (0..levels).fold(Nested::Leaf, |inside, _| Nested::In(Box::new(inside)));
    assert!(Value::of(lists(MAX_DEPTH)).is_ok() && Value::of(objects(MAX_DEPTH)).is_ok());
    assert!(Value::of(variants(MAX_DEPTH)).is_ok());
    for refused in [
        Value::of(lists(MAX_DEPTH + 1)),
        Value::of(objects(MAX_DEPTH + 1)),
        Value::of(variants(MAX_DEPTH + 1)),
    ] {
        assert_eq!(
            refused.unwrap_err().to_string(),
            "it is nested more than 100 levels deep"
        );
    }
}
