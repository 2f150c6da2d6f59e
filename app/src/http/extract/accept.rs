//! The header `Accept` (RFC 9110 §12.5.1).
//!
//! It is parsed here because no crate does what is needed. `headers-accept` 0.3 refuses the whole header for one range
//! that it can't parse, such as the `*` of Java's HttpURLConnection. It reads only the first line of the header, and
//! ranks forms of the same quality by the client's order. The `mime` crate has no ranges.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// A form of an answer: its media type, and the handler's value for it.
pub(crate) type Acceptable<T> = (&'static str, T);

/// Returns the offered form that the client prefers; `None` if it accepts none of them.
///
/// Names are case-insensitive. The most specific range that matches a form decides its quality; `q=0` excludes it. Of
/// forms with the same quality, the one that matches a more specific range is preferred, then the one that is offered
/// first. The form that is offered first is also the result if there is no header, or if no range in it is valid.
pub(crate) fn accepted<T: Copy>(headers: &HeaderMap, offered: &[Acceptable<T>]) -> Option<T> {
    let ranges: Vec<Range> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| split(value, ','))
        .filter_map(Range::read)
        .collect();
    if ranges.is_empty() {
        return offered.first().map(|(_, form)| *form);
    }
    let mut best: Option<((u16, u8), T)> = None;
    for (media_type, form) in offered {
        let matching = ranges
            .iter()
            .filter_map(|range| Some((range.specificity(media_type)?, range.quality)))
            .max();
        let Some((specificity, quality)) = matching.filter(|(_, quality)| *quality > 0) else {
            continue;
        };
        let rank = (quality, specificity);
        if best.is_none_or(|(of_best, _)| rank > of_best) {
            best = Some((rank, *form));
        }
    }
    best.map(|(_, form)| form)
}

/// A range of media types: `text/html;level=1;q=0.5`, `text/*`, `*/*`.
struct Range {
    kind: String,
    subtype: String,
    /// In thousandths.
    quality: u16,
}

impl Range {
    /// Parses a range; `None` if it is invalid. Parameters other than `q` are ignored.
    fn read(text: &str) -> Option<Self> {
        let mut parts = split(text, ';');
        let media_type = parts.next()?.trim().to_ascii_lowercase();
        // Java's HttpURLConnection sends `*` in place of `*/*`.
        let (kind, subtype) = match media_type.as_str() {
            "*" => ("*", "*"),
            media_type => media_type.split_once('/')?,
        };
        let is_token =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if !is_token(kind) || !is_token(subtype) || (kind == "*" && subtype != "*") {
            return None;
        }
        let quality = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(Some(1_000), |(_, value)| quality(value.trim()))?;
        Some(Self {
            kind: kind.to_owned(),
            subtype: subtype.to_owned(),
            quality,
        })
    }

    /// Returns how specific the range is for a media type, from 0; `None` if it doesn't match.
    fn specificity(&self, media_type: &str) -> Option<u8> {
        let (kind, subtype) = media_type.split_once('/')?;
        match (self.kind.as_str(), self.subtype.as_str()) {
            ("*", "*") => Some(0),
            (of, "*") if of == kind => Some(1),
            (of, exactly) if of == kind && exactly == subtype => Some(2),
            _ => None,
        }
    }
}

/// Parses a weight from 0 to 1, in thousandths.
fn quality(text: &str) -> Option<u16> {
    let weight: f32 = text.parse().ok()?;
    // The result is from 0 to 1000.
    (0.0..=1.0).contains(&weight).then(|| (weight * 1_000.0).round() as u16)
}

/// Splits at each separator outside quoted strings.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |letter| {
        if escaped {
            escaped = false;
        } else if quoted && letter == '\\' {
            escaped = true;
        } else if letter == '"' {
            quoted = !quoted;
        }
        letter == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const OFFERED: [Acceptable<&str>; 4] = [
        ("application/json", "json"),
        ("text/event-stream", "sse"),
        ("application/x-ndjson", "ndjson"),
        ("application/jsonl", "ndjson"),
    ];

    fn of(values: &[&str]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        accepted(&headers, &OFFERED)
    }

    #[test]
    fn the_preferred_form_is_chosen() {
        for (accept, form) in [
            ("text/event-stream", "sse"),
            ("Text/Event-Stream", "sse"),
            ("TEXT/EVENT-STREAM;Q=1.0", "sse"),
            ("*/*", "json"),
            ("*", "json"),
            ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "json"),
            ("application/*", "json"),
            ("text/*", "sse"),
            ("text/*, application/json;q=0.9", "sse"),
            ("text/event-stream;q=0, application/x-ndjson", "ndjson"),
            ("text/event-stream;q=0.1, application/x-ndjson;q=0.2", "ndjson"),
            ("application/json;q=0.001, text/event-stream;q=0", "json"),
            ("*/*, text/event-stream;q=0, application/json;q=0", "ndjson"),
            ("application/x-ndjson, */*", "ndjson"),
            ("text/event-stream, */*;q=0.1", "sse"),
            ("application/jsonl", "ndjson"),
            ("application/json; charset=\"a,b;q=0\", text/event-stream;q=0.5", "json"),
            ("text/html, */*;q=0.8", "json"),
            ("nonsense", "json"),
            ("", "json"),
            ("text/event-stream;q=2, application/x-ndjson", "ndjson"),
        ] {
            assert_eq!(of(&[accept]), Some(form), "{accept}");
        }
        assert_eq!(of(&[]), Some("json"));
        assert_eq!(of(&["text/html", "text/event-stream"]), Some("sse"));
    }

    #[test]
    fn a_form_that_is_not_offered_or_is_excluded_is_not_chosen() {
        for accept in [
            "text/html",
            "text/event-streams",
            "application/json;q=0",
            "*/*;q=0",
            "text/*;q=0, image/*",
            "application/json-seq",
        ] {
            assert_eq!(of(&[accept]), None, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in "[ -~]{0,60}") {
            of(&[&value]);
        }
    }
}
