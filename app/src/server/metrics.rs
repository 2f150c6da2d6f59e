//! `/metrics`: the process's metrics as OpenMetrics text, which Prometheus reads.
//!
//! A request reads each counter from its owner, so no value is counted in two places.

use std::fmt::Error as FmtError;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder, text::encode};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::AppState;
use super::connections::ConnectionCounts;
use crate::error::{Error, Result};
use crate::events::stray_events;
use crate::jobs::{JobsParts, QueueState};
use crate::json::unreadable_reads;
use crate::runs::Runs;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Returns this process's metrics as OpenMetrics text. They don't contain team or person names.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
async fn metrics(State(state): State<AppState>) -> Result<impl IntoResponse> {
    // If the database is unavailable, the other metrics are even more useful.
    let strays = stray_events(state.database()).await.ok();
    let mut registry = Registry::with_prefix("daybook");
    let queue_state = JobsParts::of(state.database())
        .ok()
        .and_then(|parts| parts.last_queue_state.get());
    registry.register_collector(Box::new(ProcessMetrics {
        state,
        strays,
        queue_state,
    }));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(Error::internal)?;
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text))
}

#[derive(Debug)]
struct ProcessMetrics {
    state: AppState,
    strays: Option<u64>,
    /// The state of the queue, in a process with workers.
    queue_state: Option<QueueState>,
}

/// One label of a metric.
#[derive(Debug)]
struct Label(&'static str, &'static str);

impl EncodeLabelSet for Label {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), FmtError> {
        [(self.0, self.1)].encode(encoder)
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), FmtError> {
        let events = self.state.wide_events();
        let counts = events.counts();
        let mut counter = |name: &str, help: &str, value: u64| count(&mut encoder, name, help, value);
        counter("wide_events_received", "Wide events that were started", counts.received)?;
        counter("wide_events_emitted", "Wide events written", counts.emitted)?;
        counter(
            "wide_events_sampled_out",
            "Wide events dropped by sampling",
            counts.sampled_out,
        )?;
        counter(
            "wide_events_dropped",
            "Wide events lost because stdout was blocked",
            counts.dropped,
        )?;
        counter(
            "unreadable_values_read",
            "Stored JSON values that could not be read: too deep, or out of range",
            unreadable_reads(),
        )?;
        let stats = self.state.database().stats();
        counter(
            "database_round_trips",
            "Round trips to the database",
            stats.round_trips(),
        )?;

        gauge(
            &mut encoder,
            "wide_events_open",
            "Wide events that are in progress or not written yet",
            counts.open as f64,
        )?;
        let (open, idle) = self.state.database().connections();
        gauge(
            &mut encoder,
            "database_connections",
            "Connections of the pool",
            f64::from(open),
        )?;
        gauge(
            &mut encoder,
            "database_connections_idle",
            "Idle connections of the pool",
            idle as f64,
        )?;
        gauge(
            &mut encoder,
            "live_sockets",
            "Live sockets that are open",
            self.state.live().open_sockets() as f64,
        )?;
        if let Some(connections) = self.state.connections() {
            encode_connections(&mut encoder, &connections.counts())?;
        }
        if let Ok(runs) = Runs::of(self.state.database()) {
            let help = "Open streams and downloads of run logs";
            gauge(&mut encoder, "log_readers", help, runs.open_readers() as f64)?;
        }
        if let Some(strays) = self.strays {
            let help = "Events outside any month's partition: a writer's clock is wrong";
            gauge(&mut encoder, "events_default_partition_rows", help, strays as f64)?;
        }

        if let Some(queue_state) = &self.queue_state {
            encode_queue(&mut encoder, queue_state, self.state.database().clock().now())?;
        }

        let waited = ConstCounter::new(stats.database_time().as_secs_f64());
        let metric = encoder.encode_descriptor(
            "database_time",
            "Time spent waiting for the database",
            Some(&Unit::Seconds),
            waited.metric_type(),
        )?;
        waited.encode(metric)?;

        let of = ConstCounter::new(0_u64);
        let mut family = encoder.encode_descriptor(
            "requests_ended",
            "Requests and other units of work, by outcome",
            None,
            of.metric_type(),
        )?;
        for (outcome, times) in events.outcomes() {
            let labels = Label("outcome", outcome.as_str());
            ConstCounter::new(times).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn encode_connections(encoder: &mut DescriptorEncoder<'_>, counts: &ConnectionCounts) -> Result<(), FmtError> {
    for (name, help, value) in [
        ("connections", "Open connections, including WebSockets", counts.open),
        (
            "connections_unauthenticated",
            "Open connections on which no request has entered a team yet",
            counts.unauthenticated,
        ),
        ("connections_limit", "Maximum number of connections", counts.limit),
    ] {
        gauge(encoder, name, help, value as f64)?;
    }
    for (name, help, value) in [
        (
            "connections_refused",
            "Connections refused because the limit was reached",
            counts.refused,
        ),
        (
            "connections_closed_for_room",
            "Unauthenticated connections closed to make room for newer ones",
            counts.closed_for_room,
        ),
        (
            "connections_timed_out",
            "Connections closed because their client sent no request, or did not read a response",
            counts.timed_out,
        ),
        (
            "accept_errors",
            "Failed attempts to accept a connection, for example without a free descriptor",
            counts.accept_errors,
        ),
    ] {
        count(encoder, name, help, value)?;
    }
    Ok(())
}

/// Encodes the state of the queue, in a process with workers.
fn encode_queue(
    encoder: &mut DescriptorEncoder<'_>,
    queue_state: &QueueState,
    now: DateTime<Utc>,
) -> Result<(), FmtError> {
    gauge(
        encoder,
        "jobs_due",
        "Jobs that are due and waiting for a worker",
        queue_state.jobs.due as f64,
    )?;
    gauge(
        encoder,
        "jobs_given_up",
        "Jobs that failed at their last allowed attempt",
        queue_state.jobs.given_up as f64,
    )?;
    let of = ConstGauge::new(0.0);
    let mut family = encoder.encode_descriptor("jobs", "Jobs by state", None, of.metric_type())?;
    for (state, jobs) in queue_state.jobs.named() {
        ConstGauge::new(jobs as f64).encode(family.encode_family(&Label("state", state))?)?;
    }
    gauge(
        encoder,
        "oldest_transaction_seconds",
        "Age of the oldest open transaction; durable consumers wait for its end",
        queue_state.oldest.as_ref().map_or(0.0, |oldest| oldest.seconds),
    )?;
    let of = ConstGauge::new(0.0);
    let help = "Events not yet delivered to a durable consumer";
    let mut family = encoder.encode_descriptor("consumer_lag_events", help, None, of.metric_type())?;
    for lag in &queue_state.lags {
        let labels = [("consumer", lag.consumer.as_str())];
        ConstGauge::new(lag.events as f64).encode(family.encode_family(&labels)?)?;
    }
    let help = "Age of the oldest event not yet delivered to a durable consumer";
    let mut family = encoder.encode_descriptor("consumer_lag_seconds", help, None, of.metric_type())?;
    for lag in &queue_state.lags {
        let age = lag.since.map_or(0.0, |since| (now - since).as_seconds_f64());
        let labels = [("consumer", lag.consumer.as_str())];
        ConstGauge::new(age.max(0.0)).encode(family.encode_family(&labels)?)?;
    }
    let help = "Jobs that deliver events to a durable consumer, by state";
    let mut family = encoder.encode_descriptor("consumer_jobs", help, None, of.metric_type())?;
    for lag in &queue_state.lags {
        for (state, jobs) in lag.jobs.named() {
            let labels = [("consumer", lag.consumer.as_str()), ("state", state)];
            ConstGauge::new(jobs as f64).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn count(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), FmtError> {
    let counter = ConstCounter::new(value);
    let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
    counter.encode(metric)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> Result<(), FmtError> {
    let gauge = ConstGauge::new(value);
    let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    gauge.encode(metric)
}
