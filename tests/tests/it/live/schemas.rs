//! Tests of the schemas of all frames, which clients rely on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use daybook::live::{ClientFrame, ServerFrame};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::schema::assert_golden;

/// Returns the frames of one side by `type`, each as a separate JSON Schema.
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

/// Changes references to those of a self-contained document.
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
fn the_frames_match_their_golden_schemas() {
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

/// The examples in `docs/live.md` are frames that the service accepts or sends.
#[test]
fn the_examples_in_the_documentation_are_valid_frames() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/live.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (client_part, server_part) = text.split_once("## Frames that the server sends").unwrap();
    let (client, server) = (frames::<ClientFrame>(), frames::<ServerFrame>());
    let mut shown = BTreeSet::new();
    for example in examples(client_part) {
        serde_json::from_value::<ClientFrame>(example.clone()).unwrap_or_else(|error| panic!("{example}: {error}"));
        shown.insert(example["type"].as_str().unwrap().to_owned());
    }
    assert!(shown.iter().eq(client.keys()), "{shown:?}");
    for example in examples(server_part) {
        let schema = &server[example["type"].as_str().unwrap()];
        let known = properties(schema, schema);
        for name in example.as_object().unwrap().keys() {
            assert!(known.contains(name), "{name} is not in {schema}");
        }
    }
    for name in server.keys() {
        assert!(
            server_part.contains(&format!("`{name}`")) || server_part.contains(&format!(r#""type": "{name}""#)),
            "{name}"
        );
    }
}

/// Returns the JSON examples of a text. A block has one or several.
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
