//! The pipeline that an event passes at its end: finalize, snapshot, redact the copy, validate, sample, emit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use super::buffer_pool;
use super::config::WideEventConfig;
use super::draft::EventDraft;
use super::event::{EventScope, ScopeEnd};
use super::fields::{Fields, Text, Value};
use super::ids::{RequestIds, hex};
use super::json;
use super::machine_time;
use super::outcome::Outcome;
use super::sampling::{SamplingDecision, SamplingInput};
use super::sink::Sink;

/// The pipeline that turns events into lines and counts them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WideEvents(Arc<Pipeline>);

#[derive(Debug)]
struct Pipeline {
    config: WideEventConfig,
    sink: Sink,
    received: AtomicU64,
    sampled_out: AtomicU64,
    outcome_counts: [AtomicU64; Outcome::ALL.len()],
}

/// Counts of all events. While no event is in progress, `received = emitted + sampled_out + dropped`. Otherwise `open`
/// is the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WideEventCounts {
    /// Events that have begun: requests that reached the layer, sockets, late events.
    pub received: u64,
    /// Events that were written.
    pub emitted: u64,
    /// Events that were left out by their sample rate.
    pub sampled_out: u64,
    /// Events that were lost, because the reader of the output was too slow or had disconnected.
    pub dropped: u64,
    /// Events that have not ended, or are not written yet.
    pub open: u64,
}

impl WideEvents {
    /// Creates a pipeline, with a thread that writes its events unless the configuration has a sink.
    pub fn new(mut config: WideEventConfig) -> Self {
        let sink = config.sink.take().unwrap_or_else(Sink::stdout);
        Self(Arc::new(Pipeline {
            config,
            sink,
            received: AtomicU64::new(0),
            sampled_out: AtomicU64::new(0),
            outcome_counts: Default::default(),
        }))
    }

    /// Returns the counts of all events so far.
    pub fn counts(&self) -> WideEventCounts {
        // Read `received` last, so that the other counts never exceed it.
        let sink = self.0.sink.counts();
        let sampled_out = self.0.sampled_out.load(Ordering::Acquire);
        let received = self.0.received.load(Ordering::Acquire);
        WideEventCounts {
            received,
            emitted: sink.emitted,
            sampled_out,
            dropped: sink.dropped,
            open: received.saturating_sub(sink.emitted + sampled_out + sink.dropped),
        }
    }

    /// Returns the number of requests for each outcome, whether or not their events were emitted.
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let count = |(outcome, count): (Outcome, &AtomicU64)| (outcome, count.load(Ordering::Relaxed));
        Outcome::ALL.into_iter().zip(&self.0.outcome_counts).map(count)
    }

    /// Writes the buffered events, at most for `timeout`, and stops accepting events. Blocks the calling thread.
    pub fn close(&self, timeout: Duration) -> WideEventCounts {
        self.0.sink.close(timeout);
        self.counts()
    }

    /// Runs work that no request has started, such as an attempt at a job, as a unit with its own event. The event is
    /// emitted when the work ends. Inside `work`, it is the current event.
    pub fn unit<F: Future>(
        &self,
        kind: &'static str,
        ids: RequestIds,
        work: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        EventScope::new(self.clone(), kind, machine_time::time_of_day(), ids, None).run(work)
    }

    pub(super) fn config(&self) -> &WideEventConfig {
        &self.0.config
    }

    pub(super) fn receive(&self) {
        self.0.received.fetch_add(1, Ordering::AcqRel);
    }

    /// Emits the event of a scope that has ended.
    pub(super) fn emit(&self, scope: &EventScope, end: ScopeEnd, draft: EventDraft) {
        // The outcome that code has marked is used, unless the end is more specific: a disconnected client, a panic.
        let outcome = match (end.outcome, draft.outcome) {
            (Outcome::Success | Outcome::ClientError | Outcome::Error, Some(marked)) => marked,
            (Outcome::Success, None) if draft.error.is_some() => Outcome::Error,
            (outcome, _) => outcome,
        };
        let duration = scope.elapsed();
        let input = SamplingInput {
            outcome,
            status: end.status,
            has_error: draft.error.is_some(),
            // Only requests can be slow: a socket is meant to stay open.
            answered_after: match scope.is_request() {
                true => end.headers_after.unwrap_or(duration),
                false => Duration::ZERO,
            },
            route: scope.head.as_ref().and_then(|head| head.route()),
            trace_id: scope.ids.correlation_id,
        };
        if scope.is_request() {
            self.count(outcome);
        }
        let event = self.finalize(scope, scope.kind, draft, |fields| {
            if let Some(status) = end.status {
                fields.push("status_code", u64::from(status));
            }
            fields.push("outcome", outcome);
            fields.push("duration_ms", milliseconds(duration));
            if let Some(after) = end.headers_after {
                fields.push("headers_ms", milliseconds(after));
            }
            if scope.is_request() {
                fields.push("bytes_in", scope.bytes_in.load(Ordering::Relaxed));
                fields.push("bytes_out", end.bytes_out);
            }
        });
        self.send(event, |event, problems| {
            let choice = catch_unwind(AssertUnwindSafe(|| self.0.config.sampling.decide(&input, event)));
            choice.unwrap_or_else(|_| {
                problems.push("the sampling function panicked".to_owned());
                SamplingDecision {
                    keep: true,
                    rate: 1.0,
                    reason: "error",
                }
            })
        });
    }

    /// Emits fields that were added after the end of a scope as a `late` event.
    pub(super) fn emit_late(&self, scope: &EventScope, draft: EventDraft) {
        let outcome = match &draft.error {
            Some(_) => Outcome::Error,
            None => draft.outcome.unwrap_or(Outcome::Success),
        };
        let event = self.finalize(scope, "late", draft, |fields| {
            fields.push("outcome", outcome);
            fields.push("duration_ms", milliseconds(scope.elapsed()));
        });
        self.send(event, |_, _| SamplingDecision {
            keep: true,
            rate: 1.0,
            reason: "late",
        });
    }

    fn count(&self, outcome: Outcome) {
        for (counted, count) in Outcome::ALL.iter().zip(&self.0.outcome_counts) {
            if *counted == outcome {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Adds the layer's fields to the draft. In memory they come after the custom fields, so that nothing has to move;
    /// in the line they come first.
    fn finalize(
        &self,
        scope: &EventScope,
        kind: &'static str,
        mut draft: EventDraft,
        ending: impl FnOnce(&mut Fields),
    ) -> FinalizedEvent {
        let problems = draft.take_problems();
        let mut fields = draft.fields;
        if fields.has_no_capacity() {
            fields = buffer_pool::take_fields();
        }
        if let Some(error) = draft.error {
            fields.push("error", error);
        }
        let custom_end = fields.len();
        if let Some(head) = &scope.head {
            head.add_client_fields(&mut fields);
        }
        let client_end = fields.len();
        self.add_core_fields(scope, kind, &mut fields);
        ending(&mut fields);
        let core_end = fields.len();
        FinalizedEvent {
            event: Value::Object(fields),
            layout: Layout {
                custom_end,
                client_end,
                core_end,
            },
            problems,
        }
    }

    /// Adds the layer's fields that can't contain a secret, and are not redacted.
    fn add_core_fields(&self, scope: &EventScope, kind: &'static str, fields: &mut Fields) {
        let config = &self.0.config;
        let at = DateTime::<Utc>::from(scope.at).to_rfc3339_opts(SecondsFormat::Millis, true);
        fields.push("timestamp", at);
        fields.push("kind", kind);
        fields.push("service", Text::from(config.service.as_str()));
        let configured = [
            ("version", &config.version),
            ("deployment_id", &config.deployment_id),
            ("region", &config.region),
        ];
        for (name, value) in configured {
            if let Some(value) = value {
                fields.push(name, Text::from(value.as_str()));
            }
        }
        let ids = &scope.ids;
        fields.push("request_id", Text::from(ids.request_id.as_str()));
        fields.push("trace_id", simple(ids.correlation_id));
        let (span_id, parent_span_id) = match kind {
            // The scope's own span has ended: a late event is a child span of it.
            "late" => (rand::random::<u64>() | 1, Some(ids.span_id)),
            _ => (ids.span_id, ids.parent_span_id),
        };
        fields.push("span_id", hex(span_id));
        if let Some(parent) = parent_span_id {
            fields.push("parent_span_id", hex(parent));
        }
        fields.push("correlation_id", hyphenated(ids.correlation_id));
        let replaced = [
            ("x-request-id", ids.replaced.request_id),
            ("traceparent", ids.replaced.traceparent),
        ];
        if replaced.iter().any(|(_, replaced)| *replaced) {
            let names = replaced
                .iter()
                .filter(|(_, replaced)| *replaced)
                .map(|(name, _)| Value::from(*name));
            fields.push("replaced_ids", Value::Array(names.collect()));
        }
        if let Some(head) = &scope.head {
            head.add_safe_fields(fields);
        }
    }

    fn send(&self, finalized: FinalizedEvent, sample: impl FnOnce(&Fields, &mut Vec<String>) -> SamplingDecision) {
        let config = &self.0.config;
        let FinalizedEvent {
            mut event,
            layout,
            mut problems,
        } = finalized;
        if let Value::Object(fields) = &mut event {
            config.redaction.apply(fields, layout.client_end);
        }
        #[cfg(feature = "schema")]
        if let Some(schema) = &config.schema {
            problems.extend(schema.errors(&event));
        }
        // Always an object: `finalize` creates it as one.
        let Value::Object(mut fields) = event else {
            return;
        };
        let decision = sample(&fields, &mut problems);
        if decision.keep {
            self.write(&mut fields, layout, decision, problems);
        } else {
            self.0.sampled_out.fetch_add(1, Ordering::AcqRel);
        }
        buffer_pool::recycle_fields(fields);
    }

    /// Passes the event's line to the sink.
    fn write(&self, fields: &mut Fields, layout: Layout, decision: SamplingDecision, mut problems: Vec<String>) {
        let config = &self.0.config;
        let important = !matches!(decision.reason, "default" | "route" | "chosen");
        add_decision(fields, decision, &problems);
        if let Some(format) = &config.format
            && let Ok(line) = catch_unwind(AssertUnwindSafe(|| format(fields)))
        {
            return self.0.sink.send(line.as_bytes(), important);
        }
        let Layout {
            custom_end,
            client_end,
            core_end,
        } = layout;
        buffer_pool::with_line_buffer(|line| {
            json::write_event(
                fields,
                &[
                    client_end..core_end,
                    custom_end..client_end,
                    0..custom_end,
                    core_end..fields.len(),
                ],
                line,
            );
            if line.len() > config.max_line_bytes {
                problems.push(format!(
                    "the event was {} bytes long, more than {}; its custom fields were left out",
                    line.len(),
                    config.max_line_bytes
                ));
                // The error is the last custom field.
                let has_error = fields
                    .entries()
                    .get(..custom_end)
                    .and_then(<[_]>::last)
                    .is_some_and(|(name, error)| name == "error" && error.size() <= config.max_line_bytes / 2);
                fields.keep_range(custom_end - usize::from(has_error)..core_end);
                add_decision(fields, decision, &problems);
                line.clear();
                json::write_event(fields, std::slice::from_ref(&(0..fields.len())), line);
            }
            self.0.sink.send(line, important);
        });
    }
}

/// A complete event that no other code can change.
struct FinalizedEvent {
    event: Value,
    layout: Layout,
    problems: Vec<String>,
}

/// The positions of an event's fields: first the custom fields, then those with text from the client, then the other
/// fields of the layer.
#[derive(Clone, Copy)]
struct Layout {
    /// The end of the custom fields.
    custom_end: usize,
    /// The end of the fields that may contain secrets.
    client_end: usize,
    /// The end of the layer's fields.
    core_end: usize,
}

/// Adds the sampling decision and the problems, which are known last.
fn add_decision(fields: &mut Fields, decision: SamplingDecision, problems: &[String]) {
    fields.push("sample_rate", decision.rate);
    fields.push("sample_reason", decision.reason);
    if !problems.is_empty() {
        let problems = problems.iter().cloned().map(Value::from).collect();
        fields.push("schema_errors", Value::Array(problems));
    }
}

fn simple(id: Uuid) -> Text {
    Text::from(&*id.as_simple().encode_lower(&mut Uuid::encode_buffer()))
}

fn hyphenated(id: Uuid) -> Text {
    Text::from(&*id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

/// Converts to milliseconds, with a precision of one microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
