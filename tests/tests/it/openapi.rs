//! Tests that the document at `/openapi.json` is complete, and that the program has exactly the expected consumers.

use std::collections::BTreeSet;

use daybook::campaigns;
use daybook::events::Consumers;
use daybook_tests::http::TestApp;
use serde_json::Value;

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let document = TestApp::start().await.openapi().await;
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 10, "{references:?}");
    let dangling: Vec<_> = references
        .iter()
        .filter(|reference| document.pointer(reference.trim_start_matches('#')).is_none())
        .collect();
    assert!(dangling.is_empty(), "{dangling:?}");
}

#[tokio::test]
async fn no_two_operations_have_one_id() {
    let document = TestApp::start().await.openapi().await;
    let mut seen = BTreeSet::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for id in methods
            .as_object()
            .unwrap()
            .values()
            .filter_map(|m| m["operationId"].as_str())
        {
            assert!(seen.insert(id.to_owned()), "{id} is there twice");
        }
    }
}

#[tokio::test]
async fn every_operation_declares_its_errors_as_problems() {
    let document = TestApp::start().await.openapi().await;
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().iter();
        for (method, operation) in methods.filter(|(_, operation)| operation["responses"].is_object()) {
            let responses = operation["responses"].as_object().unwrap();
            for (status, response) in responses.iter().filter(|(status, _)| status.starts_with(['4', '5'])) {
                // An orchestrator reads the checks' body, also with 503.
                let expected = if path == "/readyz" {
                    "application/json"
                } else {
                    "application/problem+json"
                };
                let types: Vec<_> = response["content"]
                    .as_object()
                    .into_iter()
                    .flat_map(|types| types.keys())
                    .collect();
                assert_eq!(types, [expected], "{method} {path} {status}");
            }
            assert_eq!(
                responses.contains_key("4XX"),
                path.starts_with("/v1/"),
                "{method} {path}"
            );
        }
    }
}

/// The tests' consumers are linked into this binary too; their names are the tests' paths.
#[test]
fn daybook_has_these_consumers_and_no_others() {
    let _ = campaigns::routes();
    let linked = Consumers::linked().unwrap();
    let ours: Vec<_> = linked
        .names()
        .filter(|name| name.starts_with("daybook.") || name.starts_with("daybook::"))
        .collect();
    assert_eq!(ours, ["daybook.post_to_thread", "daybook.send_notifications"]);
}

fn collect(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                into.insert(reference.to_owned());
            }
            fields.values().for_each(|field| collect(field, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        _ => {}
    }
}
