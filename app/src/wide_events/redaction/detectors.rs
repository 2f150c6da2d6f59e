//! What looks like something that must not leave, wherever in a text it stands.
//!
//! Regular expressions say exactly where it is; one pass over the bytes says first that none of them needs to look,
//! which is so for nearly every text.

use std::net::IpAddr;
use std::sync::LazyLock;

use percent_encoding::percent_decode_str;
use regex::{Captures, Regex};
use serde_json::Number;

use super::{HashKey, REDACTED, Treatment, mask};

/// Something that is recognised by its look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detector {
    /// `Bearer` and `Basic` credentials.
    BearerToken,
    /// A JSON Web Token, signed or not.
    Jwt,
    /// An e-mail address.
    Email,
    /// What follows the name of a secret and `=`, as in an address within a text: `next=/login?token=…`.
    SecretParameter,
    /// A payment card's number: an issuer's first digits, 13 to 19 of them, and the check digit (Luhn) right.
    Card,
    /// An IPv4 or IPv6 address.
    IpAddress,
}

impl Detector {
    /// Every one, in the order in which they look.
    pub const ALL: [Self; 6] = [
        Self::BearerToken,
        Self::Jwt,
        Self::SecretParameter,
        Self::Email,
        Self::Card,
        Self::IpAddress,
    ];

    /// Credentials are dropped, the others masked.
    pub(super) fn usual_treatment(self) -> Treatment {
        match self {
            Self::BearerToken | Self::Jwt | Self::SecretParameter => Treatment::Drop,
            Self::Email | Self::Card | Self::IpAddress => Treatment::Mask,
        }
    }

    fn place(self) -> usize {
        match self {
            Self::BearerToken => 0,
            Self::Jwt => 1,
            Self::Email => 2,
            Self::Card => 3,
            Self::IpAddress => 4,
            Self::SecretParameter => 5,
        }
    }

    fn pattern(self) -> &'static Regex {
        PATTERNS.get(self.place()).unwrap_or(&NEVER)
    }

    /// Whether a match is one indeed.
    fn is(self, found: &str) -> bool {
        match self {
            Self::Card => card_in(found).is_some(),
            Self::IpAddress => address(found).is_some(),
            _ => true,
        }
    }

    fn mask(self, found: &str) -> String {
        match self {
            Self::Email => mask::email(&found.replace("%40", "@")),
            Self::Card => match card_in(found) {
                Some(card) => found.replacen(card, &mask::card(card), 1),
                None => REDACTED.to_owned(),
            },
            Self::IpAddress => address(found).map_or_else(|| REDACTED.to_owned(), |address| mask::ip(&address)),
            Self::BearerToken | Self::Jwt | Self::SecretParameter => mask::text(found),
        }
    }
}

// Each begins where a word does, and ends where it does; `regex` has no look-around, so that the character before is
// part of the match, and group 1 is what counts.
static PATTERNS: LazyLock<[Regex; 6]> = LazyLock::new(|| {
    [
        compiled(r"(?i-u:\b(?:bearer|basic))[ \t:]+([A-Za-z0-9._~+/=|-]{6,})"),
        compiled(r"(?:^|[^A-Za-z0-9_-])(eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*)"),
        compiled(r#"([^\s@<>"'(),:;/?=&]+(?:@|%40)[^\s@<>"'(),:;/?=&.]+(?:\.[^\s@<>"'(),:;/?=&.]+)+)"#),
        compiled(r"(?:^|[^A-Za-z0-9.])([0-9](?:[ -]?[0-9]){12,})(?-u:\b)"),
        compiled(concat!(
            r"(?:^|[^A-Za-z0-9.])((?:[0-9A-Fa-f:]*:)?[0-9]{1,3}(?:\.[0-9]{1,3}){3}",
            r"|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?-u:\b)"
        )),
        compiled(concat!(
            r"(?i-u:(?:passw(?:or)?d|passphrase|pwd|secret|token|ticket|api[_-]?key|access[_-]?key|signature|jwt))",
            r"=([^&\s]+)"
        )),
    ]
});
static NEVER: LazyLock<Regex> = LazyLock::new(|| compiled("a^"));

#[expect(clippy::expect_used, reason = "constants of this file, all compiled by its tests")]
fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of this file")
}

/// What is looked for, and what happens to it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Detectors([Option<Treatment>; 6]);

impl Detectors {
    pub(super) fn set(&mut self, detector: Detector, treatment: Option<Treatment>) {
        if let Some(place) = self.0.get_mut(detector.place()) {
            *place = treatment;
        }
    }

    fn treatment(&self, detector: Detector) -> Option<Treatment> {
        self.0.get(detector.place()).copied().flatten()
    }

    /// `text` without what was found in it; none if nothing was. What is percent-encoded is looked at decoded, too.
    pub(super) fn redact(&self, text: &str, key: Option<&HashKey>) -> Option<String> {
        let redacted = self.redact_as_it_is(text, key);
        if redacted.is_some() || !text.contains('%') {
            return redacted;
        }
        // Twice: an address within an address is encoded twice.
        let mut decoded = text.to_owned();
        for _ in 0..2 {
            decoded = percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
            if let Some(redacted) = self.redact_as_it_is(&decoded, key) {
                return Some(redacted);
            }
        }
        None
    }

    fn redact_as_it_is(&self, text: &str, key: Option<&HashKey>) -> Option<String> {
        let look = Look::at(text);
        let mut redacted: Option<String> = None;
        for detector in Detector::ALL {
            let Some(treatment) = self.treatment(detector) else {
                continue;
            };
            if !look.may_be(detector) {
                continue;
            }
            let now = redacted.as_deref().unwrap_or(text);
            let mut found = false;
            let replaced = detector.pattern().replace_all(now, |captures: &Captures<'_>| {
                let whole = captures.get(0).map_or("", |whole| whole.as_str());
                let Some(part) = captures.get(1).filter(|part| detector.is(part.as_str())) else {
                    return whole.to_owned();
                };
                found = true;
                let new = match (treatment, key) {
                    (Treatment::Mask, _) => detector.mask(part.as_str()),
                    (Treatment::Hash, Some(key)) => key.hash(part.as_str().as_bytes()),
                    (Treatment::Drop, _) | (Treatment::Hash, None) => REDACTED.to_owned(),
                };
                whole.replacen(part.as_str(), &new, 1)
            });
            if found {
                redacted = Some(replaced.into_owned());
            }
        }
        redacted
    }

    /// What happens to a number that is a card's.
    pub(super) fn of_number(&self, number: &Number) -> Option<Treatment> {
        let treatment = self.treatment(Detector::Card)?;
        let number = number.as_u64().filter(|number| *number >= 1_000_000_000_000)?;
        is_card(&number.to_string()).then_some(treatment)
    }
}

/// What a text has of the characters that matter.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    classes: u8,
    dots: usize,
    /// The most digits in a row, spaces and hyphens between them not counted.
    longest_number: usize,
    /// A space after a letter that `Bearer` or `Basic` ends with.
    ends_a_scheme: bool,
}

const DIGIT: u8 = 1;
const SEPARATOR: u8 = 2;
const DOT: u8 = 4;
const COLON: u8 = 8;
/// What every e-mail address has, also in a URL (`%40`).
const AT: u8 = 16;
/// What every JSON Web Token has in its third place.
const UPPER_J: u8 = 32;

/// `Basic` and six letters of a credential; every card's number is longer.
const SHORTEST_CREDENTIAL: usize = 12;

/// What stands between a parameter's name and its value.
const EQUALS: u8 = 64;

/// A byte's class.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    classes[b'@' as usize] = AT;
    classes[b'%' as usize] = AT;
    classes[b'.' as usize] = DOT;
    classes[b':' as usize] = COLON;
    classes[b'J' as usize] = UPPER_J;
    classes[b'=' as usize] = EQUALS;
    classes[b' ' as usize] = SEPARATOR;
    classes[b'\t' as usize] = SEPARATOR;
    classes[b'-' as usize] = SEPARATOR;
    let mut digit = b'0';
    while digit <= b'9' {
        classes[digit as usize] = DIGIT;
        digit += 1;
    }
    classes
};

impl Look {
    fn at(text: &str) -> Self {
        let classes = text
            .bytes()
            .fold(0, |classes, byte| classes | CLASSES[usize::from(byte)]);
        let mut look = Self {
            classes,
            ..Self::default()
        };
        // Words and nothing else: most texts end here.
        if classes & !(SEPARATOR | DIGIT) == 0 && (classes == 0 || text.len() < SHORTEST_CREDENTIAL) {
            return look;
        }
        let (mut number, mut before) = (0, 0);
        for byte in text.bytes() {
            let class = CLASSES[usize::from(byte)];
            look.dots += usize::from(class == DOT);
            number = match class {
                DIGIT => number + 1,
                SEPARATOR | COLON => {
                    look.ends_a_scheme |= matches!(before, b'r' | b'R' | b'c' | b'C');
                    if class == COLON { 0 } else { number }
                }
                _ => 0,
            };
            before = byte;
            look.longest_number = look.longest_number.max(number);
        }
        look
    }

    fn has(self, class: u8) -> bool {
        self.classes & class != 0
    }

    fn may_be(self, detector: Detector) -> bool {
        match detector {
            Detector::BearerToken => self.ends_a_scheme,
            Detector::Jwt => self.has(UPPER_J) && self.dots >= 2,
            Detector::SecretParameter => self.has(EQUALS),
            Detector::Email => self.has(AT) && self.has(DOT),
            Detector::Card => self.longest_number >= 13,
            Detector::IpAddress => self.has(DIGIT) && (self.dots >= 3 || self.has(COLON)),
        }
    }
}

/// An issuer's first digits, as many digits as it gives out, and the check digit right.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let starts_as = match digits.as_slice() {
        [4, ..] => [13, 16, 19].contains(&digits.len()),
        [3, 4 | 7, ..] => digits.len() == 15,
        [3, ..] => (14..=19).contains(&digits.len()),
        [5, 1..=5, ..] | [2, 2..=7, ..] => digits.len() == 16,
        [5 | 6, ..] => (13..=19).contains(&digits.len()),
        _ => false,
    };
    starts_as && luhn(&digits)
}

/// The card's number in a row of digits that may have others beside it, as a date has: whole groups of them.
fn card_in(row: &str) -> Option<&str> {
    let is_digit = |place: usize| row.as_bytes().get(place).is_some_and(u8::is_ascii_digit);
    let begins = (0..row.len()).filter(|place| is_digit(*place) && !(*place > 0 && is_digit(place - 1)));
    for begin in begins {
        let ends = (begin + 1..=row.len())
            .rev()
            .filter(|end| is_digit(end - 1) && !is_digit(*end));
        for part in ends.filter_map(|end| row.get(begin..end)) {
            if is_card(part) {
                return Some(part);
            }
        }
    }
    None
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit * 2) {
            (0, _) => *digit,
            (_, doubled @ 10..) => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// An address; `::` and times of day are none worth hiding.
fn address(text: &str) -> Option<IpAddr> {
    // After other words: `addr:203.0.113.7`.
    let alone = text.rsplit_once(':').map_or(text, |(_, last)| last);
    let address: IpAddr = text.parse().or_else(|_| alone.parse()).ok()?;
    let address = address.to_canonical();
    // Browsers have versions such as 120.0.0.0, which is a network and no host.
    let is_host = match address {
        IpAddr::V4(address) => !matches!(address.octets(), [_, _, 0, 0]),
        IpAddr::V6(address) => !address.is_unspecified(),
    };
    is_host.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> Detectors {
        let mut detectors = Detectors::default();
        for detector in Detector::ALL {
            detectors.set(detector, Some(detector.usual_treatment()));
        }
        detectors
    }

    fn redact(text: &str) -> Option<String> {
        usual().redact(text, None)
    }

    #[test]
    fn what_looks_like_it_is_found_wherever_it_stands() {
        for (text, left) in [
            ("ada@example.com", "a***@e***.com"),
            (
                "to <ada@example.com>, ada@mail.example.org",
                "to <a***@e***.com>, a***@m***.e***.org",
            ),
            ("/people/ada%40example.com/x", "/people/a***@e***.com/x"),
            ("4111111111111111", "4***1111"),
            ("card 4111-1111-1111-1111.", "card 4***1111."),
            ("Authorization: Bearer abcdef123456", "Authorization: Bearer [REDACTED]"),
            ("basic dXNlcjpwYXNz", "basic [REDACTED]"),
            ("t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl", "t=[REDACTED]"),
            ("from 203.0.113.7:4000", "from 203.0.113.***:4000"),
            ("from [2001:db8::7]:4000", "from [2001:db8:***]:4000"),
            ("/hosts/10.1.2.3", "/hosts/10.1.2.***"),
            ("addr:203.0.113.7", "addr:203.0.113.***"),
            ("::ffff:203.0.113.7", "203.0.113.***"),
            ("4111 1111 1111 1111 12/27", "4***1111 12/27"),
            ("4111111111111111 123", "4***1111 123"),
            ("2 4111111111111111", "2 4***1111"),
            ("card-4111111111111111", "card-4***1111"),
            ("next=/login?password=X&a=1", "next=/login?password=[REDACTED]&a=1"),
            ("https://x/?access_token=X y", "https://x/?access_token=[REDACTED] y"),
            ("Bearer:abcdefgh1234", "Bearer:[REDACTED]"),
            ("Bearer 12|abcdef", "Bearer [REDACTED]"),
            ("ada@münchen.de", "a***@m***.de"),
            ("/d/ada%40example%2ecom", "/d/a***@e***.com"),
            ("ada%2540example.com", "a***@e***.com"),
            ("/x/4111%201111%201111%201111", "/x/4***1111"),
            ("10.1.2.3 10.1.2.4,10.1.2.5", "10.1.2.*** 10.1.2.***,10.1.2.***"),
        ] {
            assert_eq!(redact(text).as_deref().unwrap_or(text), left);
        }
    }

    #[test]
    fn what_only_resembles_it_is_left() {
        for text in [
            "",
            "plain words and 42 numbers",
            "/v1/teams/019a9f51-3f4e-7b1c-8d0e-0123456789ab/threads",
            "4111111111111112",
            "1700000000000",
            "2026-11-21T06:13:23.123Z",
            "12:30:45",
            "version 1.2.3",
            "999.1.2.3",
            "a@b",
            "eyJ.x.y",
            "the bearer of this",
            "::",
            "Firefox/120.0.0.0",
            "2026-11-21 06:13",
            "unexpected token: x",
            "100%",
            "daybook::events::emit",
        ] {
            assert_eq!(redact(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_cards_too_and_each_look_can_be_left_alone() {
        let mut detectors = usual();
        assert_eq!(
            detectors.of_number(&4_111_111_111_111_111_u64.into()),
            Some(Treatment::Mask)
        );
        assert_eq!(detectors.of_number(&1_700_000_000_000_u64.into()), None);
        assert_eq!(detectors.of_number(&7.into()), None);
        detectors.set(Detector::Email, None);
        assert_eq!(detectors.redact("ada@example.com", None), None);
        detectors.set(Detector::Email, Some(Treatment::Hash));
        assert_eq!(detectors.redact("ada@example.com", None).as_deref(), Some("[REDACTED]"));
        let key = HashKey::new("k", &[7; 32]).unwrap();
        let hashed = detectors.redact("ada@example.com", Some(&key)).unwrap();
        assert!(hashed.starts_with("hmac-sha256:k:"), "{hashed}");
    }
}
