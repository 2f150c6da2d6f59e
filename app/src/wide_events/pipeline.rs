//! What happens to an event at its end: finalize, snapshot, redact the copy, validate, sample, emit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use super::config::WideEventConfig;
use super::event::{End, Gathered, Unit};
use super::fields::{Fields, Text, Value};
use super::ids::{RequestIds, hex};
use super::json;
use super::outcome::Outcome;
use super::own;
use super::sampling::{Decision, Ended};
use super::sink::Sink;

/// Room for the layer's own fields.
const CORE_FIELDS: usize = 32;
/// Most lines of a few fields are shorter.
const USUAL_LINE_BYTES: usize = 1024;
/// What a field adds to a line, usually.
const USUAL_FIELD_BYTES: usize = 32;

/// Where events come together: what makes them lines, and counts them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WideEvents(Arc<Pipeline>);

#[derive(Debug)]
struct Pipeline {
    config: WideEventConfig,
    sink: Sink,
    received: AtomicU64,
    sampled_out: AtomicU64,
    ended: [AtomicU64; Outcome::ALL.len()],
}

/// What became of all events. At rest, `received = emitted + sampled_out + dropped`; else the difference is `open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WideEventCounts {
    /// Begun: requests that reached the layer, sockets, late events.
    pub received: u64,
    /// Written.
    pub emitted: u64,
    /// Left out by their rate.
    pub sampled_out: u64,
    /// Lost, because whoever reads the lines is too slow or gone.
    pub dropped: u64,
    /// Not ended, or still waiting to be written.
    pub open: u64,
}

impl WideEvents {
    /// A place for events, with a thread that writes them.
    pub fn new(mut config: WideEventConfig) -> Self {
        let sink = config.sink.take().unwrap_or_else(Sink::stdout);
        Self(Arc::new(Pipeline {
            config,
            sink,
            received: AtomicU64::new(0),
            sampled_out: AtomicU64::new(0),
            ended: Default::default(),
        }))
    }

    /// What became of all events so far.
    pub fn counts(&self) -> WideEventCounts {
        // Ends before beginnings, so that none has ended that hasn't begun.
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

    /// How many events ended in which way, emitted or not.
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let count = |(outcome, count): (Outcome, &AtomicU64)| (outcome, count.load(Ordering::Relaxed));
        Outcome::ALL.into_iter().zip(&self.0.ended).map(count)
    }

    /// Writes what waits, no longer than `patience`, and takes nothing more. Blocks its thread.
    pub fn close(&self, patience: Duration) -> WideEventCounts {
        self.0.sink.close(patience);
        self.counts()
    }

    /// Runs work that no request has begun (a job's attempt) as a unit: one event at its end. Inside, it is the
    /// current one.
    pub fn unit<F: Future>(
        &self,
        kind: &'static str,
        ids: RequestIds,
        work: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        Unit::new(self.clone(), kind, ids, None).run(work)
    }

    pub(super) fn config(&self) -> &WideEventConfig {
        &self.0.config
    }

    pub(super) fn receive(&self) {
        self.0.received.fetch_add(1, Ordering::AcqRel);
    }

    /// The end of a unit.
    pub(super) fn emit(&self, unit: &Unit, end: End, gathered: Gathered) {
        // What was said by hand, unless the end itself says more: a client that left, a panic.
        let outcome = match (end.outcome, gathered.outcome) {
            (Outcome::Success | Outcome::ClientError | Outcome::Error, Some(said)) => said,
            (Outcome::Success, None) if gathered.error.is_some() => Outcome::Error,
            (outcome, _) => outcome,
        };
        let lasted = unit.began.elapsed();
        let mut fields = self.core(unit, unit.kind, gathered.fields.len());
        if let Some(status) = end.status {
            fields.push("status_code", u64::from(status));
        }
        fields.push("outcome", outcome);
        fields.push("duration_ms", milliseconds(lasted));
        if let Some(after) = end.streamed_after {
            fields.push("headers_ms", milliseconds(after));
        }
        if unit.head.is_some() {
            fields.push("bytes_in", unit.bytes_in.load(Ordering::Relaxed));
            fields.push("bytes_out", end.bytes_out);
        }
        let ended = Ended {
            outcome,
            status: end.status,
            has_error: gathered.error.is_some(),
            answered_after: end.streamed_after.unwrap_or(lasted),
            route: unit.head.as_ref().and_then(|head| head.route()),
            trace_id: unit.ids.correlation_id,
        };
        self.count(outcome);
        let exempt = fields.len();
        let problems = self.fill(unit, &mut fields, gathered);
        self.send(fields, exempt, problems, |event, problems| {
            let choice = catch_unwind(AssertUnwindSafe(|| self.0.config.sampling.decide(&ended, event)));
            choice.unwrap_or_else(|_| {
                problems.push("the function that samples panicked".to_owned());
                Decision {
                    keep: true,
                    rate: 1.0,
                    reason: "error",
                }
            })
        });
    }

    /// What was added after the end of a unit, as an event of its own.
    pub(super) fn emit_late(&self, unit: &Unit, gathered: Gathered) {
        let outcome = match &gathered.error {
            Some(_) => Outcome::Error,
            None => gathered.outcome.unwrap_or(Outcome::Success),
        };
        let mut fields = self.core(unit, "late", gathered.fields.len());
        fields.push("outcome", outcome);
        fields.push("duration_ms", milliseconds(unit.began.elapsed()));
        self.count(outcome);
        let exempt = fields.len();
        let problems = self.fill(unit, &mut fields, gathered);
        self.send(fields, exempt, problems, |_, _| Decision {
            keep: true,
            rate: 1.0,
            reason: "late",
        });
    }

    fn count(&self, outcome: Outcome) {
        if let Some(ended) = Outcome::ALL.iter().position(|of| *of == outcome) {
            if let Some(count) = self.0.ended.get(ended) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What can hold no secret, and is left as it is.
    fn core(&self, unit: &Unit, kind: &'static str, more: usize) -> Fields {
        let config = &self.0.config;
        let mut fields = Fields::with_capacity(CORE_FIELDS + more);
        let at = DateTime::<Utc>::from(unit.at).to_rfc3339_opts(SecondsFormat::Millis, true);
        fields.push("timestamp", at);
        fields.push("kind", kind);
        fields.push("service", Text::from(config.service.as_str()));
        let told = [
            ("version", &config.version),
            ("deployment_id", &config.deployment_id),
            ("region", &config.region),
        ];
        for (name, value) in told {
            if let Some(value) = value {
                fields.push(name, Text::from(value.as_str()));
            }
        }
        let ids = &unit.ids;
        fields.push("request_id", Text::from(ids.request_id.as_str()));
        fields.push("trace_id", simple(ids.correlation_id));
        let (span_id, parent_span_id) = match kind {
            // The unit's own part has ended: this is one that it has caused.
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
        if let Some(head) = &unit.head {
            head.plain_fields(&mut fields);
        }
        fields
    }

    /// What comes from outside or was added by hand.
    fn fill(&self, unit: &Unit, fields: &mut Fields, gathered: Gathered) -> Vec<String> {
        let mut problems = gathered.problems;
        if let Some(head) = &unit.head {
            head.free_fields(fields);
        }
        for (name, value) in gathered.fields.into_entries() {
            match own::whose(&name) {
                own::Whose::Anybodys => fields.push(name, value),
                own::Whose::Shared => fields.overlay(name, value),
                own::Whose::Layers => problems.push(format!("{name} is the layer's own field and was not set")),
            }
        }
        if let Some(error) = gathered.error {
            fields.push("error", error);
        }
        problems
    }

    fn send(
        &self,
        mut fields: Fields,
        exempt: usize,
        mut problems: Vec<String>,
        sample: impl FnOnce(&Value, &mut Vec<String>) -> Decision,
    ) {
        let config = &self.0.config;
        config.redaction.apply(&mut fields, exempt);
        let mut event = Value::Object(fields);
        if let Some(schema) = &config.schema {
            problems.extend(schema.errors(&event));
        }
        let decision = sample(&event, &mut problems);
        if !decision.keep {
            self.0.sampled_out.fetch_add(1, Ordering::AcqRel);
            return;
        }
        let matters = !matches!(decision.reason, "default" | "route" | "chosen");
        let line = self.line(&mut event, exempt, decision, problems);
        self.0.sink.send(line, matters);
    }

    fn line(&self, event: &mut Value, exempt: usize, decision: Decision, mut problems: Vec<String>) -> Vec<u8> {
        let config = &self.0.config;
        complete(event, decision, &problems);
        if let (Some(format), Value::Object(fields)) = (&config.format, &*event) {
            if let Ok(line) = catch_unwind(AssertUnwindSafe(|| format(fields))) {
                return line.into_bytes();
            }
        }
        let line = line_of(event);
        if line.len() <= config.max_line_bytes {
            return line;
        }
        if let Value::Object(fields) = event {
            fields.truncate(exempt);
        }
        problems.push(format!(
            "the event was {} bytes long, more than {}; all fields but the layer's own are left out",
            line.len(),
            config.max_line_bytes
        ));
        complete(event, decision, &problems);
        line_of(event)
    }
}

/// Adds what is known last.
fn complete(event: &mut Value, decision: Decision, problems: &[String]) {
    let Value::Object(fields) = event else {
        return;
    };
    fields.push("sample_rate", decision.rate);
    fields.push("sample_reason", decision.reason);
    if !problems.is_empty() {
        let problems = problems.iter().cloned().map(Value::from).collect();
        fields.push("schema_errors", Value::Array(problems));
    }
}

fn line_of(event: &Value) -> Vec<u8> {
    let fields = event.as_fields().map_or(0, Fields::len);
    let mut line = Vec::with_capacity(USUAL_LINE_BYTES + fields * USUAL_FIELD_BYTES);
    json::write(event, &mut line);
    line
}

fn simple(id: Uuid) -> Text {
    Text::from(&*id.as_simple().encode_lower(&mut Uuid::encode_buffer()))
}

fn hyphenated(id: Uuid) -> Text {
    Text::from(&*id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
