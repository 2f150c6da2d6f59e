//! The ids of a request: its own id, and the trace or story that it belongs to.
//!
//! A client may send its own `x-request-id`, and a W3C `traceparent` whose trace id becomes the correlation id of
//! everything that the request causes. An id that isn't well formed is replaced: ids are only for tracing, so an
//! invalid one is no reason to refuse the request. The event records this in `replaced_ids`, and the answer has the new
//! ids.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::{Builder, Uuid};

use super::fields::Text;
use super::machine_time;
use super::redaction::Redaction;

/// The header with the request's id, in requests and answers.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header of W3C Trace Context, in requests and answers.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const MAX_REQUEST_ID_BYTES: usize = 128;
/// The flag "sampled", for a trace that begins here.
const SAMPLED: u8 = 1;
/// Length of `00-` and of 32, 16 and 2 digits, separated by hyphens.
const TRACEPARENT_LENGTH: usize = 55;

/// The ids of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestIds {
    /// The client's `x-request-id` if it matches `^[A-Za-z0-9._:-]{1,128}$` and contains no credential, otherwise a new
    /// UUIDv7.
    pub request_id: String,
    /// The trace id of the client's `traceparent`, or a new UUIDv7. `trace_id` in the event is the same id without
    /// hyphens.
    pub correlation_id: Uuid,
    /// This request's own span in the trace. Never zero.
    pub span_id: u64,
    /// The span of the caller.
    pub parent_span_id: Option<u64>,
    /// The flags of `traceparent`.
    pub(super) flags: u8,
    /// The client's ids that could not be used.
    pub(super) replaced: ReplacedIds,
}

/// Which of a client's ids were not well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ReplacedIds {
    pub(super) request_id: bool,
    pub(super) traceparent: bool,
}

/// The parts of a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TraceParent {
    trace_id: u128,
    parent_id: u64,
    flags: u8,
}

impl RequestIds {
    /// Creates new ids, for work that no client has requested.
    pub fn new() -> Self {
        Self::of(&HeaderMap::new(), machine_time::time_of_day())
    }

    /// Creates ids for work that continues the story of an earlier request.
    pub fn of_story(request_id: Option<String>, correlation_id: Uuid) -> Self {
        let new = Self::new();
        Self {
            request_id: request_id.unwrap_or(new.request_id),
            correlation_id,
            ..new
        }
    }

    /// Takes the client's ids from a request's headers, and creates those that are missing or not well formed.
    pub(super) fn of(headers: &HeaderMap, at: SystemTime) -> Self {
        let given = headers.get(X_REQUEST_ID);
        let request_id = given.and_then(well_formed);
        let trace = trace_parent(headers);
        let replaced = ReplacedIds {
            request_id: given.is_some() && request_id.is_none(),
            traceparent: trace.is_none() && headers.contains_key(TRACEPARENT),
        };
        Self {
            request_id: request_id.unwrap_or_else(|| uuid_v7(at).to_string()),
            correlation_id: trace.map_or_else(|| uuid_v7(at), |trace| Uuid::from_u128(trace.trace_id)),
            span_id: new_span_id(),
            parent_span_id: trace.map(|trace| trace.parent_id),
            flags: trace.map_or(SAMPLED, |trace| trace.flags),
            replaced,
        }
    }

    /// Creates the ids of work that this request has started and that outlives it: a new span in the same trace.
    pub(super) fn child(&self) -> Self {
        Self {
            span_id: new_span_id(),
            parent_span_id: Some(self.span_id),
            replaced: ReplacedIds::default(),
            ..self.clone()
        }
    }

    /// Returns the `traceparent` for calls to other services: the same trace, with this request's span as parent.
    pub fn traceparent(&self) -> String {
        let mut text = String::with_capacity(TRACEPARENT_LENGTH);
        text.push_str("00-");
        text.push_str(self.correlation_id.as_simple().encode_lower(&mut Uuid::encode_buffer()));
        text.push('-');
        text.push_str(&hex(self.span_id));
        text.push('-');
        text.push_str(hex(self.flags.into()).get(14..).unwrap_or_default());
        text
    }

    /// Writes both ids to an answer's headers.
    pub(super) fn write_to(&self, headers: &mut HeaderMap) {
        // Both are plain ASCII, so these conversions don't fail.
        if let Ok(value) = HeaderValue::from_str(&self.request_id) {
            headers.insert(X_REQUEST_ID, value);
        }
        if let Ok(value) = HeaderValue::try_from(self.traceparent()) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

/// Creates a UUIDv7 with the request's time, which was already read from the clock.
fn uuid_v7(at: SystemTime) -> Uuid {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
}

/// Formats a number as 16 hexadecimal digits.
pub(super) fn hex(number: u64) -> Text {
    let mut digits = [0; 16];
    for (digit, place) in digits.iter_mut().rev().zip(0..) {
        *digit = match (number >> (4 * place)) as u8 & 15 {
            letter @ 10.. => b'a' + letter - 10,
            number => b'0' + number,
        };
    }
    Text::from_utf8_lossy(&digits)
}

/// Creates a span id. Zero means "no span", so the lowest bit is always set.
fn new_span_id() -> u64 {
    rand::random::<u64>() | 1
}

/// Finds credentials, which a request id must not contain: it is written to every record of the request, and some of
/// these records are never deleted.
static CREDENTIALS: LazyLock<Redaction> = LazyLock::new(Redaction::credentials);

/// Returns the id if it matches `^[A-Za-z0-9._:-]{1,128}$` and contains no credential. Such an id is safe in a header,
/// a log line and a shell.
fn well_formed(id: &HeaderValue) -> Option<String> {
    let id = id.as_bytes();
    let well_formed = (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(byte));
    let id = well_formed.then(|| String::from_utf8_lossy(id).into_owned())?;
    (CREDENTIALS.text(&id) == id).then_some(id)
}

/// Parses `<version>-<32 hex>-<16 hex>-<2 hex>`, in lower case, with ids that aren't zero (W3C Trace Context §3.2).
/// Versions after 00 may have more fields at the end.
fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let text = values.next()?.to_str().ok()?.trim();
    // With two headers, neither is used.
    if values.next().is_some() {
        return None;
    }
    let (known, more) = text.split_at_checked(TRACEPARENT_LENGTH)?;
    let mut parts = known.split('-');
    let version = u8::from_str_radix(lower_hex(parts.next()?, 2)?, 16).ok()?;
    let fits = match version {
        0 => more.is_empty(),
        0xff => false,
        _ => more.is_empty() || more.starts_with('-'),
    };
    if !fits {
        return None;
    }
    let trace_id = u128::from_str_radix(lower_hex(parts.next()?, 32)?, 16).ok()?;
    let parent_id = u64::from_str_radix(lower_hex(parts.next()?, 16)?, 16).ok()?;
    let flags = u8::from_str_radix(lower_hex(parts.next()?, 2)?, 16).ok()?;
    (trace_id != 0 && parent_id != 0).then_some(TraceParent {
        trace_id,
        parent_id,
        flags,
    })
}

fn lower_hex(text: &str, digits: usize) -> Option<&str> {
    let right = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    right.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn of(pairs: &[(HeaderName, &str)]) -> RequestIds {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        RequestIds::of(&headers, machine_time::time_of_day())
    }

    #[test]
    fn a_clients_own_ids_are_kept() {
        let ids = of(&[(X_REQUEST_ID, "job:7.a_b-1"), (TRACEPARENT, TRACE)]);
        assert_eq!(ids.request_id, "job:7.a_b-1");
        assert_eq!(ids.correlation_id.to_string(), "4bf92f35-77b3-4da6-a3ce-929d0e0e4736");
        assert_eq!(ids.parent_span_id, Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!(ids.replaced, ReplacedIds::default());
        let next = ids.traceparent();
        assert_eq!(next.len(), TRACEPARENT_LENGTH);
        assert!(next.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && next.ends_with("-00"));
        assert!(!next.contains("00f067aa0ba902b7"), "the parent is this request: {next}");
    }

    #[test]
    fn unusable_ids_are_replaced_and_recorded() {
        for id in ["", "has space", "ä", &"x".repeat(129), "AKIAIOSFODNN7EXAMPLE"] {
            let ids = of(&[(X_REQUEST_ID, id)]);
            assert_eq!(Uuid::parse_str(&ids.request_id).unwrap().get_version_num(), 7, "{id}");
            assert!(ids.replaced.request_id && !ids.replaced.traceparent, "{id}");
        }
        assert_eq!(of(&[]).replaced, ReplacedIds::default());
        assert!(of(&[(TRACEPARENT, "00-x")]).replaced.traceparent);
    }

    #[test]
    fn only_well_formed_parents_are_followed() {
        let parse = |values: &[&str]| {
            let pairs: Vec<_> = values.iter().map(|value| (TRACEPARENT, *value)).collect();
            of(&pairs).parent_span_id
        };
        let parent = Some(0x00f0_67aa_0ba9_02b7);
        assert_eq!(parse(&[TRACE]), parent);
        // Future versions may have more fields.
        assert_eq!(parse(&[&TRACE.replacen("00-", "01-", 1)]), parent);
        assert_eq!(parse(&[&format!("{}-more", TRACE.replacen("00-", "cc-", 1))]), parent);
        assert_eq!(parse(&[TRACE, TRACE]), None);
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00x",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-000",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        ] {
            assert_eq!(parse(&[wrong]), None, "{wrong}");
        }
    }
}
