//! What happens to an event at its end: finalize, snapshot, redact the copy, validate, sample, emit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use super::config::WideEventConfig;
use super::event::{End, Unit};
use super::fields::{Fields, Text, Value};
use super::gathered::Gathered;
use super::ids::{RequestIds, hex};
use super::json;
use super::outcome::Outcome;
use super::sampling::{Decision, Ended};
use super::sink::Sink;
use super::spare;

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

    /// How many requests ended in which way, their events emitted or not.
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
        Unit::new(self.clone(), kind, SystemTime::now(), ids, None).run(work)
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
        let ended = Ended {
            outcome,
            status: end.status,
            has_error: gathered.error.is_some(),
            // A socket that lasts isn't slow.
            answered_after: match unit.is_request() {
                true => end.streamed_after.unwrap_or(lasted),
                false => Duration::ZERO,
            },
            route: unit.head.as_ref().and_then(|head| head.route()),
            trace_id: unit.ids.correlation_id,
        };
        if unit.is_request() {
            self.count(outcome);
        }
        let event = self.finalize(unit, unit.kind, gathered, |fields| {
            if let Some(status) = end.status {
                fields.push("status_code", u64::from(status));
            }
            fields.push("outcome", outcome);
            fields.push("duration_ms", milliseconds(lasted));
            if let Some(after) = end.streamed_after {
                fields.push("headers_ms", milliseconds(after));
            }
            if unit.is_request() {
                fields.push("bytes_in", unit.bytes_in.load(Ordering::Relaxed));
                fields.push("bytes_out", end.bytes_out);
            }
        });
        self.send(event, |event, problems| {
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
        let event = self.finalize(unit, "late", gathered, |fields| {
            fields.push("outcome", outcome);
            fields.push("duration_ms", milliseconds(unit.began.elapsed()));
        });
        self.send(event, |_, _| Decision {
            keep: true,
            rate: 1.0,
            reason: "late",
        });
    }

    fn count(&self, outcome: Outcome) {
        for (of, ended) in Outcome::ALL.iter().zip(&self.0.ended) {
            if *of == outcome {
                ended.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Adds to what was gathered what the layer knows. It comes after it, so that nothing has to move, and is written
    /// before it.
    fn finalize(
        &self,
        unit: &Unit,
        kind: &'static str,
        mut gathered: Gathered,
        ending: impl FnOnce(&mut Fields),
    ) -> Finalized {
        let problems = gathered.take_problems();
        let mut fields = gathered.fields;
        if fields.is_bare() {
            fields = spare::fields();
        }
        if let Some(error) = gathered.error {
            fields.push("error", error);
        }
        let by_hand = fields.len();
        if let Some(head) = &unit.head {
            head.free_fields(&mut fields);
        }
        let free = fields.len();
        self.core(unit, kind, &mut fields);
        ending(&mut fields);
        let core = fields.len();
        Finalized {
            event: Value::Object(fields),
            layout: Layout { by_hand, free, core },
            problems,
        }
    }

    /// What can hold no secret, and is left as it is.
    fn core(&self, unit: &Unit, kind: &'static str, fields: &mut Fields) {
        let config = &self.0.config;
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
            head.plain_fields(fields);
        }
    }

    fn send(&self, finalized: Finalized, sample: impl FnOnce(&Fields, &mut Vec<String>) -> Decision) {
        let config = &self.0.config;
        let Finalized {
            mut event,
            layout,
            mut problems,
        } = finalized;
        if let Value::Object(fields) = &mut event {
            config.redaction.apply(fields, layout.free);
        }
        if let Some(schema) = &config.schema {
            problems.extend(schema.errors(&event));
        }
        // An object, as it was made.
        let Value::Object(mut fields) = event else {
            return;
        };
        let decision = sample(&fields, &mut problems);
        if decision.keep {
            self.write(&mut fields, layout, decision, problems);
        } else {
            self.0.sampled_out.fetch_add(1, Ordering::AcqRel);
        }
        spare::leave(fields);
    }

    /// Hands the line over.
    fn write(&self, fields: &mut Fields, layout: Layout, decision: Decision, mut problems: Vec<String>) {
        let config = &self.0.config;
        let matters = !matches!(decision.reason, "default" | "route" | "chosen");
        add_decision(fields, decision, &problems);
        if let Some(format) = &config.format
            && let Ok(line) = catch_unwind(AssertUnwindSafe(|| format(fields)))
        {
            return self.0.sink.send(line.as_bytes(), matters);
        }
        let Layout { by_hand, free, core } = layout;
        spare::with_line(|line| {
            json::write_event(
                fields,
                &[free..core, by_hand..free, 0..by_hand, core..fields.len()],
                line,
            );
            if line.len() > config.max_line_bytes {
                problems.push(format!(
                    "the event was {} bytes long, more than {}; what was added by hand is left out",
                    line.len(),
                    config.max_line_bytes
                ));
                // The error is the last of it.
                let has_error = fields
                    .entries()
                    .get(..by_hand)
                    .and_then(<[_]>::last)
                    .is_some_and(|(name, error)| name == "error" && error.size() <= config.max_line_bytes / 2);
                fields.keep(by_hand - usize::from(has_error)..core);
                add_decision(fields, decision, &problems);
                line.clear();
                json::write_event(fields, std::slice::from_ref(&(0..fields.len())), line);
            }
            self.0.sink.send(line, matters);
        });
    }
}

/// An event that nobody else can reach any more.
struct Finalized {
    event: Value,
    layout: Layout,
    problems: Vec<String>,
}

/// How an event's fields lie: those added by hand, what the client chose freely, and the layer's own.
#[derive(Clone, Copy)]
struct Layout {
    /// Where those added by hand end.
    by_hand: usize,
    /// Where those end that may hold secrets.
    free: usize,
    /// Where the layer's own end.
    core: usize,
}

/// Adds what is known last.
fn add_decision(fields: &mut Fields, decision: Decision, problems: &[String]) {
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

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
