//! Decides which events are emitted. The decision is made at the end of a request, when its outcome is known.
//!
//! **Invariant:** events that matter are kept, whatever the rates are: failures, clients that disconnected, 408 and
//! 429, slow requests, and requests with a marked error. For all others the trace id decides, so that a trace is kept
//! completely or not at all, in every service that samples in this way. The rate is in the event, so that counts can be
//! weighted by `1 / sample_rate`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::fields::Fields;
use super::outcome::Outcome;

/// A function that returns an event's rate from all of its fields, after redaction. On `None` the configured rates
/// apply.
type Choose = dyn Fn(&Fields) -> Option<f64> + Send + Sync;

/// The rules that decide which events are emitted. By default, all are.
#[derive(Clone)]
pub struct Sampling {
    rate: f64,
    routes: Vec<(String, f64)>,
    slow: Duration,
    choose: Option<Arc<Choose>>,
}

impl fmt::Debug for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampling")
            .field("rate", &self.rate)
            .field("routes", &self.routes)
            .field("slow", &self.slow)
            .finish_non_exhaustive()
    }
}

impl Default for Sampling {
    /// Emits all events (rate 1), has no rates for routes, and counts requests of two seconds or more as slow.
    fn default() -> Self {
        Self {
            rate: 1.0,
            routes: Vec::new(),
            slow: Duration::from_secs(2),
            choose: None,
        }
    }
}

/// The properties of an ended scope on which the decision depends.
#[derive(Debug, Clone, Copy)]
pub(super) struct SamplingInput<'a> {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) has_error: bool,
    /// The time until the answer began. The duration of a stream doesn't make its request slow.
    pub(super) answered_after: Duration,
    pub(super) route: Option<&'a str>,
    pub(super) trace_id: Uuid,
}

/// Whether an event is kept, with the rate that was used and the reason.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SamplingDecision {
    pub(super) keep: bool,
    pub(super) rate: f64,
    pub(super) reason: &'static str,
}

impl Sampling {
    /// Sets the share of events that are emitted, from 0 to 1, for requests without a more specific rate.
    #[must_use]
    pub fn rate(mut self, rate: f64) -> Self {
        self.rate = rate;
        self
    }

    /// Sets the rate for a route (`/healthz`), or for all routes with the same beginning (`/internal/*`).
    #[must_use]
    pub fn route(mut self, route: impl Into<String>, rate: f64) -> Self {
        self.routes.push((route.into(), rate));
        self
    }

    /// Sets the time until the beginning of the answer from which a request counts as slow. Slow requests are always
    /// kept.
    #[must_use]
    pub fn slow(mut self, slow: Duration) -> Self {
        self.slow = slow;
        self
    }

    /// Sets a function that decides the rate: for example `Some(1.0)` for customers of a plan, and `None` to apply the
    /// configured rates.
    #[must_use]
    pub fn choose(mut self, choose: impl Fn(&Fields) -> Option<f64> + Send + Sync + 'static) -> Self {
        self.choose = Some(Arc::new(choose));
        self
    }

    pub(super) fn decide(&self, input: &SamplingInput<'_>, event: &Fields) -> SamplingDecision {
        if let Some(reason) = self.forced_reason(input) {
            return SamplingDecision {
                keep: true,
                rate: 1.0,
                reason,
            };
        }
        let chosen = self
            .choose
            .as_ref()
            .and_then(|choose| choose(event))
            .map(|rate| (rate, "chosen"));
        let (rate, reason) = chosen
            .or_else(|| Some((self.rate_of_route(input.route?)?, "route")))
            .unwrap_or((self.rate, "default"));
        // NaN keeps everything: too many events are better than none.
        let rate = if rate.is_nan() { 1.0 } else { rate.clamp(0.0, 1.0) };
        SamplingDecision {
            keep: trace_fraction(input.trace_id) < rate,
            rate,
            reason,
        }
    }

    fn forced_reason(&self, input: &SamplingInput<'_>) -> Option<&'static str> {
        match input.outcome {
            Outcome::Panic => return Some("panic"),
            Outcome::Timeout => return Some("timeout"),
            Outcome::Error => return Some("error"),
            outcome if outcome.is_abort() || outcome == Outcome::Cancelled => return Some("aborted"),
            _ => {}
        }
        match input.status {
            Some(408) => return Some("timeout"),
            Some(429) => return Some("too_many_requests"),
            Some(500..) => return Some("error"),
            // The status shows a client error. A marked error in an answer with a success is a failure.
            Some(..400) | None if input.has_error => return Some("error"),
            _ => {}
        }
        (input.answered_after >= self.slow).then_some("slow")
    }

    fn rate_of_route(&self, route: &str) -> Option<f64> {
        let matching = self.routes.iter().find(|(pattern, _)| match pattern.strip_suffix('*') {
            Some(beginning) => route.starts_with(beginning),
            None => pattern == route,
        });
        matching.map(|(_, rate)| *rate)
    }
}

/// Maps a trace id to a number in [0, 1): the same in every process, and evenly distributed even for consecutive ids.
fn trace_fraction(trace_id: Uuid) -> f64 {
    let (high, low) = trace_id.as_u64_pair();
    let mixed = mix(high ^ mix(low));
    // A float has 53 bits of precision.
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// Mixes the bits of a number with the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::fields::Value;
    use super::*;

    fn input(trace_id: u128) -> SamplingInput<'static> {
        SamplingInput {
            outcome: Outcome::Success,
            status: Some(200),
            has_error: false,
            answered_after: Duration::from_millis(3),
            route: Some("/healthz"),
            trace_id: Uuid::from_u128(trace_id),
        }
    }

    fn decide(sampling: &Sampling, input: &SamplingInput<'_>) -> SamplingDecision {
        sampling.decide(input, &Fields::default())
    }

    #[test]
    fn everything_is_kept_by_default() {
        let decision = decide(&Sampling::default(), &input(1));
        assert_eq!((decision.keep, decision.rate, decision.reason), (true, 1.0, "default"));
    }

    #[test]
    fn failures_and_slow_requests_are_kept_at_rate_zero() {
        let none = Sampling::default()
            .rate(0.0)
            .route("/healthz", 0.0)
            .choose(|_| Some(0.0));
        assert!(!decide(&none, &input(1)).keep);
        let with = |change: &dyn Fn(&mut SamplingInput<'static>)| {
            let mut input = input(1);
            change(&mut input);
            let decision = decide(&none, &input);
            assert_eq!((decision.keep, decision.rate), (true, 1.0), "{input:?}");
            decision.reason
        };
        assert_eq!(with(&|e| e.status = Some(503)), "error");
        assert_eq!(with(&|e| e.status = Some(408)), "timeout");
        assert_eq!(with(&|e| e.status = Some(429)), "too_many_requests");
        assert_eq!(with(&|e| e.has_error = true), "error");
        assert_eq!(with(&|e| e.answered_after = Duration::from_secs(2)), "slow");
        assert_eq!(with(&|e| e.outcome = Outcome::Panic), "panic");
        assert_eq!(with(&|e| e.outcome = Outcome::Timeout), "timeout");
        for outcome in Outcome::ALL.into_iter().filter(|outcome| outcome.is_abort()) {
            assert_eq!(with(&|e| e.outcome = outcome), "aborted");
        }
    }

    #[test]
    fn a_trace_is_kept_whole_or_not_at_all_and_the_share_is_the_rate() {
        let tenth = Sampling::default().rate(0.1);
        let kept = |sampling: &Sampling, id| decide(sampling, &input(id)).keep;
        // Consecutive ids, as a careless client might create them.
        let share = (0..20_000).filter(|id| kept(&tenth, *id)).count();
        assert!((1_800..2_200).contains(&share), "{share}");
        let half = Sampling::default().rate(0.5);
        for id in 0..1_000 {
            assert_eq!(kept(&tenth, id), kept(&tenth.clone(), id));
            assert!(
                !kept(&tenth, id) || kept(&half, id),
                "rate 0.5 must keep all that rate 0.1 keeps"
            );
        }
    }

    #[test]
    fn a_function_has_priority_over_a_route_and_a_route_over_the_default() {
        let sampling = Sampling::default()
            .rate(0.25)
            .route("/health*", 0.5)
            .choose(|event| event.get("plan").and_then(Value::as_str).map(|_| 1.0));
        let rate_of = |route, event: Fields| {
            let input = SamplingInput { route, ..input(1) };
            let decision = sampling.decide(&input, &event);
            (decision.rate, decision.reason)
        };
        let mut paying = Fields::default();
        paying.push("plan", "pro");
        assert_eq!(rate_of(Some("/healthz"), paying), (1.0, "chosen"));
        assert_eq!(rate_of(Some("/healthz"), Fields::default()), (0.5, "route"));
        assert_eq!(rate_of(Some("/v1/me"), Fields::default()), (0.25, "default"));
        assert_eq!(rate_of(None, Fields::default()), (0.25, "default"));
        let not_a_number = Sampling::default().choose(|_| Some(f64::NAN));
        assert_eq!(decide(&not_a_number, &input(1)).rate, 1.0);
    }
}
