//! Which events are emitted: decided at the end, when it is known how a request went.
//!
//! **Invariant:** what went wrong is kept, whatever the rates: failures, clients that left, 408 and 429, what was
//! slow, and whatever marked an error. For the rest the trace id decides, so that all of a trace is kept or none of
//! it, in every service that samples in this way. The rate is in the event: counts are weighted by `1 / sample_rate`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::fields::Fields;
use super::outcome::Outcome;

/// Decides an event's rate from all that it holds, after redaction; `None` leaves it to the configuration.
type Choose = dyn Fn(&Fields) -> Option<f64> + Send + Sync;

/// What is emitted. By default everything.
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
    /// Rate 1, no route excluded, slow from two seconds on.
    fn default() -> Self {
        Self {
            rate: 1.0,
            routes: Vec::new(),
            slow: Duration::from_secs(2),
            choose: None,
        }
    }
}

/// What the sampler looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended<'a> {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) has_error: bool,
    /// Until the answer began: a stream that lasts is not slow.
    pub(super) answered_after: Duration,
    pub(super) route: Option<&'a str>,
    pub(super) trace_id: Uuid,
}

/// The rate that was used, and where it came from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Decision {
    pub(super) keep: bool,
    pub(super) rate: f64,
    pub(super) reason: &'static str,
}

impl Sampling {
    /// The share that is emitted of what has no rate of its own, from 0 to 1.
    #[must_use]
    pub fn rate(mut self, rate: f64) -> Self {
        self.rate = rate;
        self
    }

    /// A route's own rate: `/healthz`, or everything that begins alike: `/internal/*`.
    #[must_use]
    pub fn route(mut self, route: impl Into<String>, rate: f64) -> Self {
        self.routes.push((route.into(), rate));
        self
    }

    /// What takes this long until its answer begins is kept.
    #[must_use]
    pub fn slow(mut self, slow: Duration) -> Self {
        self.slow = slow;
        self
    }

    /// Lets a function decide the rate: `Some(1.0)` for customers of a plan, `None` for what it has no opinion on.
    #[must_use]
    pub fn choose(mut self, choose: impl Fn(&Fields) -> Option<f64> + Send + Sync + 'static) -> Self {
        self.choose = Some(Arc::new(choose));
        self
    }

    pub(super) fn decide(&self, ended: &Ended<'_>, event: &Fields) -> Decision {
        if let Some(reason) = self.always(ended) {
            return Decision {
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
            .or_else(|| Some((self.rate_of_route(ended.route?)?, "route")))
            .unwrap_or((self.rate, "default"));
        // What is no number keeps everything: better too much than nothing.
        let rate = if rate.is_nan() { 1.0 } else { rate.clamp(0.0, 1.0) };
        Decision {
            keep: position(ended.trace_id) < rate,
            rate,
            reason,
        }
    }

    fn always(&self, ended: &Ended<'_>) -> Option<&'static str> {
        match ended.outcome {
            Outcome::Panic => return Some("panic"),
            Outcome::Timeout => return Some("timeout"),
            Outcome::Error => return Some("error"),
            outcome if outcome.is_abort() || outcome == Outcome::Cancelled => return Some("aborted"),
            _ => {}
        }
        match ended.status {
            Some(408) => return Some("timeout"),
            Some(429) => return Some("too_many_requests"),
            Some(500..) => return Some("error"),
            // A client's error is told by its status; one that is marked beside a success is a failure.
            Some(..400) | None if ended.has_error => return Some("error"),
            _ => {}
        }
        (ended.answered_after >= self.slow).then_some("slow")
    }

    fn rate_of_route(&self, route: &str) -> Option<f64> {
        let matching = self.routes.iter().find(|(pattern, _)| match pattern.strip_suffix('*') {
            Some(beginning) => route.starts_with(beginning),
            None => pattern == route,
        });
        matching.map(|(_, rate)| *rate)
    }
}

/// Where in [0, 1) a trace lies: the same in every process, and evenly spread even if ids are counted up.
fn position(trace_id: Uuid) -> f64 {
    let (high, low) = trace_id.as_u64_pair();
    let mixed = mix(high ^ mix(low));
    // The upper 53 bits are what a float holds.
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
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

    fn ended(trace_id: u128) -> Ended<'static> {
        Ended {
            outcome: Outcome::Success,
            status: Some(200),
            has_error: false,
            answered_after: Duration::from_millis(3),
            route: Some("/healthz"),
            trace_id: Uuid::from_u128(trace_id),
        }
    }

    fn decide(sampling: &Sampling, ended: &Ended<'_>) -> Decision {
        sampling.decide(ended, &Fields::default())
    }

    #[test]
    fn everything_is_kept_by_default() {
        let decision = decide(&Sampling::default(), &ended(1));
        assert_eq!((decision.keep, decision.rate, decision.reason), (true, 1.0, "default"));
    }

    #[test]
    fn what_went_wrong_is_kept_at_rate_zero() {
        let none = Sampling::default()
            .rate(0.0)
            .route("/healthz", 0.0)
            .choose(|_| Some(0.0));
        assert!(!decide(&none, &ended(1)).keep);
        let with = |change: &dyn Fn(&mut Ended<'static>)| {
            let mut ended = ended(1);
            change(&mut ended);
            let decision = decide(&none, &ended);
            assert_eq!((decision.keep, decision.rate), (true, 1.0), "{ended:?}");
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
        let kept = |sampling: &Sampling, id| decide(sampling, &ended(id)).keep;
        // Ids that are counted up, as a careless client might make them.
        let share = (0..20_000).filter(|id| kept(&tenth, *id)).count();
        assert!((1_800..2_200).contains(&share), "{share}");
        let half = Sampling::default().rate(0.5);
        for id in 0..1_000 {
            assert_eq!(kept(&tenth, id), kept(&tenth.clone(), id));
            assert!(!kept(&tenth, id) || kept(&half, id), "what a tenth keeps, a half keeps");
        }
    }

    #[test]
    fn a_function_beats_a_route_and_a_route_the_default() {
        let sampling = Sampling::default()
            .rate(0.25)
            .route("/health*", 0.5)
            .choose(|event| event.get("plan").and_then(Value::as_str).map(|_| 1.0));
        let of = |route, event: Fields| {
            let ended = Ended { route, ..ended(1) };
            let decision = sampling.decide(&ended, &event);
            (decision.rate, decision.reason)
        };
        let mut paying = Fields::default();
        paying.push("plan", "pro");
        assert_eq!(of(Some("/healthz"), paying), (1.0, "chosen"));
        assert_eq!(of(Some("/healthz"), Fields::default()), (0.5, "route"));
        assert_eq!(of(Some("/v1/me"), Fields::default()), (0.25, "default"));
        assert_eq!(of(None, Fields::default()), (0.25, "default"));
        let mad = Sampling::default().choose(|_| Some(f64::NAN));
        assert_eq!(decide(&mad, &ended(1)).rate, 1.0);
    }
}
