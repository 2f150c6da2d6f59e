//! A run as a tracked object: changes of its status are events, so that they appear in threads and notifications.

use super::entity as run;
use serde_json::Value;

use crate::events::{Event, EventData, FieldPolicy, Sentence, Tracked};

impl Tracked for run::Model {
    const OBJECT_TYPE: &'static str = "run";

    fn label(&self) -> String {
        self.name.clone()
    }

    fn field_policy(column: &run::Column) -> FieldPolicy {
        use run::Column as C;
        match column {
            C::Name | C::ConfigurationId | C::Status => FieldPolicy::Track,
            C::Id
            | C::TeamId
            | C::ExitCode
            | C::Failure
            | C::CreatedAt
            | C::StartedAt
            | C::CompletedAt
            | C::InputFileCount
            | C::TableCount
            | C::RowCount
            | C::MaxValidationSeverity
            | C::EventsPath
            | C::OutputPaths
            | C::LogState
            | C::LogDegraded
            | C::LogLines
            | C::LogBytes
            | C::Home
            | C::LostAfterSeconds
            | C::JobSessionId
            | C::CorrelationId
            | C::CausationId
            | C::UpdatedAt
            | C::TransactionId => FieldPolicy::Ignore,
        }
    }

    fn sentence(event: &Event) -> Option<Sentence> {
        let data = match event.data() {
            Ok(EventData::Created(_)) => return Some(Sentence::text("asked for ").object(event)),
            Ok(EventData::StateChanged(data)) => data,
            _ => return None,
        };
        Some(match data.state.new.as_str()? {
            "building" => Sentence::text("began to build ").object(event),
            "running" => Sentence::text("started ").object(event),
            "succeeded" => Sentence::text("finished ").object(event),
            "failed" => Sentence::text("ended ").object(event).and(" as failed"),
            "cancelled" => Sentence::text("cancelled ").object(event),
            _ => return None,
        })
    }
}

/// Returns why a run failed, as a text for people: the failure's message, or else the exit code.
pub(super) fn reason(exit_code: Option<i32>, failure: Option<&Value>) -> Option<String> {
    let message = failure
        .and_then(|failure| failure.get("message"))
        .and_then(Value::as_str);
    message
        .map(str::to_owned)
        .or_else(|| exit_code.map(|code| format!("exit code {code}")))
}
