//! Every limit that the OpenAPI document states is enforced: a value outside it gets 422, which names the field.

use axum::http::{Method, StatusCode};
use daybook::jobs::{SessionSpec, with_job_session};
use daybook::tenancy::{Context, Role};
use daybook_tests::http::{Client, TestApp};
use serde_json::{Map, Value, json};

/// Follows references, and takes the first schema that is not null where there are several.
fn resolved(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).unwrap();
        return resolved(document, target);
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(schemas) = schema[several].as_array() {
            let first = schemas.iter().find(|one| one["type"] != "null").unwrap();
            let mut first = resolved(document, first);
            for (name, value) in schema.as_object().unwrap().iter().filter(|(name, _)| *name != several) {
                first[name] = value.clone();
            }
            return first;
        }
    }
    schema.clone()
}

/// The type of a resolved schema that is not null.
fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null")
            .unwrap(),
        kind => kind.as_str().unwrap_or_default(),
    }
}

/// A value that the schema allows.
fn sample(document: &Value, schema: &Value) -> Value {
    let schema = resolved(document, schema);
    if !schema["example"].is_null() {
        return schema["example"].clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    match (kind(&schema), schema["format"].as_str()) {
        ("object", _) => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let fields = required.iter().map(|name| {
                let name = name.as_str().unwrap();
                (name.to_owned(), sample(document, &schema["properties"][name]))
            });
            Value::Object(fields.collect())
        }
        ("array", _) => json!(vec![sample(document, &schema["items"])]),
        ("integer" | "number", _) => schema["minimum"].as_i64().map_or(json!(1), |least| json!(least)),
        ("boolean", _) => json!(true),
        (_, Some("uuid")) => json!("0198c0de-0000-7000-8000-000000000000"),
        (_, Some("date-time")) => json!("2026-01-01T00:00:00Z"),
        _ => json!("abc"),
    }
}

/// Values of a schema with one limit broken in each, and the name of the field that breaks it; empty for the value itself.
fn values_outside(document: &Value, schema: &Value) -> Vec<(String, Value)> {
    let schema = resolved(document, schema);
    let length = |limit: &str| schema[limit].as_u64().and_then(|length| usize::try_from(length).ok());
    let mut broken = Vec::new();
    let mut add = |value: Value| broken.push((String::new(), value));
    if let Some(least) = schema["minimum"].as_i64() {
        add(json!(least - 1));
    }
    if let Some(most) = schema["maximum"].as_i64() {
        add(json!(most + 1));
    }
    if let Some(least) = length("minLength").filter(|least| *least > 0) {
        add(json!("x".repeat(least - 1)));
    }
    if let Some(most) = length("maxLength") {
        add(json!("x".repeat(most + 1)));
    }
    if schema["pattern"].is_string() {
        add(json!("!"));
    }
    if let Some(least) = length("minItems").filter(|least| *least > 0) {
        add(json!(vec![sample(document, &schema["items"]); least - 1]));
    }
    if let Some(most) = length("maxItems") {
        add(json!(vec![sample(document, &schema["items"]); most + 1]));
    }
    if kind(&schema) == "array" {
        let items = values_outside(document, &schema["items"]);
        broken.extend(items.into_iter().map(|(field, item)| (field, json!([item]))));
    }
    for (name, property) in schema["properties"].as_object().unwrap_or(&Map::new()) {
        for (field, value) in values_outside(document, property) {
            let mut whole = sample(document, &schema);
            whole[name] = value;
            let field = if field.is_empty() { name.clone() } else { field };
            broken.push((field, whole));
        }
    }
    broken
}

/// The paths of the document, each filled with objects that are there.
struct PathFiller(Vec<(&'static str, String)>);

impl PathFiller {
    async fn with_objects(app: &TestApp, ada: &Client) -> Self {
        let grace = app.member("grace", Role::Member).await;
        let (campaign, thread) = ada.campaign_with_thread("Spring").await;
        grace.put(&format!("{thread}/follow")).await.ok();
        ada.put(&format!("{thread}/follow")).await.ok();
        grace.comment(&thread, "hello").await;
        ada.comment(&thread, "hello").await;
        let (_, key) = ada.make_key("robot", "viewer").await;
        let notification = ada.inbox().await["items"][0]["id"].as_str().unwrap().to_owned();
        let run = ada.post("/runs", json!({"name": "import"})).await.ok();
        let spec = SessionSpec::new("sync").context(Context::system(app.team.id, "test"));
        let session = with_job_session(&app.database, spec, async |session| Ok(session.id()))
            .await
            .unwrap();
        let of = |path: String| path.rsplit('/').next().unwrap().to_owned();
        Self(vec![
            ("{team_id}", app.team.id.to_string()),
            ("/api-keys/{id}", format!("/api-keys/{key}")),
            ("/campaigns/{id}", format!("/campaigns/{}", of(campaign.path))),
            ("/notifications/{id}", format!("/notifications/{notification}")),
            ("/threads/{id}", thread),
            ("{seq}", "3".to_owned()),
            ("{run_id}", run["id"].as_str().unwrap().to_owned()),
            ("{session_id}", session.to_string()),
            ("{user_id}", grace.id().to_string()),
            ("{correlation_id}", run["correlation_id"].as_str().unwrap().to_owned()),
            ("{event_type}", "CREATED".to_owned()),
            ("{object_type}", "campaign".to_owned()),
        ])
    }

    fn fill(&self, path: &str) -> String {
        self.0
            .iter()
            .fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
    }
}

fn names(errors: &Value, field: &str) -> bool {
    let errors = errors.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut fields = errors.iter().filter_map(|error| error["field"].as_str());
    fields.any(|named| named.split(['.', '[', ']']).any(|part| part == field))
}

#[tokio::test]
async fn every_limit_of_the_document_is_enforced_by_name() {
    let app = TestApp::start().await;
    let ada = app.member("ada", Role::Owner).await;
    let paths = PathFiller::with_objects(&app, &ada).await;
    let document = app.openapi().await;
    let (mut tried, mut wrong) = (0, Vec::new());
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let mut requested = Vec::new();
            for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
                let name = parameter["name"].as_str().unwrap();
                for (_, value) in values_outside(&document, &parameter["schema"]) {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    let path = match parameter["in"].as_str() {
                        Some("query") => format!("{}?{name}={value}", paths.fill(path)),
                        Some("path") => paths.fill(&path.replace(&format!("{{{name}}}"), &value)),
                        _ => continue,
                    };
                    requested.push((name.to_owned(), path, None));
                }
            }
            let contents = operation["requestBody"]["content"].as_object();
            let content = contents.and_then(|types| types.iter().find(|(name, _)| name.ends_with("json")));
            if let Some((_, content)) = content {
                for (field, body) in values_outside(&document, &content["schema"]) {
                    requested.push((field, paths.fill(path), Some(body)));
                }
            }
            for (field, path, body) in requested {
                tried += 1;
                let shown: String = body
                    .iter()
                    .map(Value::to_string)
                    .collect::<String>()
                    .chars()
                    .take(200)
                    .collect();
                let mut request = ada.request(method.clone(), &path).if_match("*");
                if let Some(body) = body {
                    request = request.json(body);
                }
                let answer = request.await;
                // The tests' service takes smaller bodies than a list of the greatest length.
                if answer.status == StatusCode::PAYLOAD_TOO_LARGE {
                    continue;
                }
                let errors = if answer.status == StatusCode::UNPROCESSABLE_ENTITY {
                    answer.json()["errors"].clone()
                } else {
                    Value::Null
                };
                if !names(&errors, &field) {
                    wrong.push(format!("{method} {path} {field} {shown}: {}", answer.text()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 40, "{tried}");
}
