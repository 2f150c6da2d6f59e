//! Access to a team: how it begins and how it ends.

mod consent;
mod erased_names;
mod keys;
mod names;
mod secrets;

use daybook_tests::http::{Client, TestApp};

/// Returns the recorded events about access, in short: `Ada: member.removed @bob`.
async fn access_events(app: &TestApp) -> Vec<String> {
    let events = app.team.events().await;
    let about_access = events.iter().filter(|event| {
        let object = event.object_type.as_str();
        matches!(object, "member" | "invitation" | "api_key")
    });
    about_access
        .map(|event| {
            format!(
                "{}: {} {}",
                event.actor.name(),
                event.event_name.as_deref().unwrap(),
                event.object_label
            )
        })
        .collect()
}

fn path(client: &Client) -> String {
    format!("/members/{}", client.id())
}
