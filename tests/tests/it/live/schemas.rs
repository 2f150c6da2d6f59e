//! The shape of every frame: what a client may rely on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use daybook::live::{ClientFrame, ServerFrame};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::schema::assert_golden;

/// The frames of a kind by their `type`, each as a JSON Schema of its own.
pub fn frames<F: ToSchema>() -> BTreeMap<String, Value> {
    let mut named: Vec<(String, RefOr<Schema>)> = Vec::new();
    F::schemas(&mut named);
    let definitions: Map<String, Value> = named
        .into_iter()
        .map(|(name, schema)| (name, local(serde_json::to_value(schema).unwrap())))
        .collect();
    let all = local(serde_json::to_value(F::schema()).unwrap());
    let variants = all["oneOf"].as_array().unwrap_or_else(|| panic!("{all}"));
    variants
        .iter()
        .map(|variant| {
            let name = type_of(variant).unwrap_or_else(|| panic!("no type: {variant}"));
            let mut schema = variant.clone();
            let used = reachable(variant, &definitions);
            schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
            schema["title"] = json!(name);
            schema["$defs"] = definitions
                .iter()
                .filter(|(name, _)| used.contains(*name))
                .map(|(name, schema)| (name.clone(), schema.clone()))
                .collect::<Map<_, _>>()
                .into();
            (name, schema)
        })
        .collect()
}

/// References as they are in a document of their own.
fn local(schema: Value) -> Value {
    let text = schema.to_string().replace("#/components/schemas/", "#/$defs/");
    serde_json::from_str(&text).unwrap()
}

fn type_of(variant: &Value) -> Option<String> {
    let own = variant["properties"]["type"]["enum"][0].as_str();
    let parts = variant["allOf"].as_array().into_iter().flatten();
    own.map(str::to_owned).or_else(|| parts.filter_map(type_of).next())
}

fn reachable(schema: &Value, definitions: &Map<String, Value>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut texts = vec![schema.to_string()];
    while let Some(text) = texts.pop() {
        for name in definitions.keys() {
            if text.contains(&format!("#/$defs/{name}\"")) && found.insert(name.clone()) {
                texts.push(definitions[name].to_string());
            }
        }
    }
    found
}

#[test]
fn the_frames_have_these_schemas_and_there_are_no_others() {
    let mut files = BTreeSet::new();
    for (side, frames) in [("client", frames::<ClientFrame>()), ("server", frames::<ServerFrame>())] {
        for (name, schema) in frames {
            let schema = serde_json::to_string_pretty(&schema).unwrap();
            let file = format!("{side}.{}.json", name.replace(':', "."));
            assert_golden(&format!("live/{file}"), &format!("{schema}\n"));
            files.insert(file);
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/live");
    let kept = std::fs::read_dir(folder).unwrap();
    let kept: BTreeSet<_> = kept
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(kept, files);
}

/// What `docs/live.md` shows: each a frame as the service takes or says it.
#[test]
fn the_examples_in_the_documentation_are_frames() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/live.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (said, heard) = text.split_once("## What you hear").unwrap();
    let (client, server) = (frames::<ClientFrame>(), frames::<ServerFrame>());
    let mut shown = BTreeSet::new();
    for example in examples(said) {
        serde_json::from_value::<ClientFrame>(example.clone()).unwrap_or_else(|error| panic!("{example}: {error}"));
        shown.insert(example["type"].as_str().unwrap().to_owned());
    }
    assert!(shown.iter().eq(client.keys()), "{shown:?}");
    for example in examples(heard) {
        let schema = &server[example["type"].as_str().unwrap()];
        let known = properties(schema, schema);
        for name in example.as_object().unwrap().keys() {
            assert!(known.contains(name), "{name} is not in {schema}");
        }
    }
    for name in server.keys() {
        assert!(
            heard.contains(&format!("`{name}`")) || heard.contains(&format!(r#""type": "{name}""#)),
            "{name}"
        );
    }
}

/// The JSON of a text's examples, one or several a block.
fn examples(text: &str) -> Vec<Value> {
    let blocks = text
        .split("```json\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap());
    blocks
        .flat_map(|block| serde_json::Deserializer::from_str(block).into_iter::<Value>())
        .map(|example| example.unwrap())
        .collect()
}

fn properties(schema: &Value, root: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Some(name) = schema["$ref"].as_str() {
        names.extend(properties(&root["$defs"][name.trim_start_matches("#/$defs/")], root));
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        names.extend(properties(part, root));
    }
    names.extend(
        schema["properties"]
            .as_object()
            .into_iter()
            .flat_map(|own| own.keys().cloned()),
    );
    names
}
