//! A fast pre-check of a text that excludes the detectors that can't match it.

use super::Detector;

/// Properties of a text that show which detectors can't match it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Prefilter {
    classes: u16,
    dots: usize,
    /// The maximum number of consecutive digits, ignoring spaces and hyphens between them.
    longest_number: usize,
    /// Whether a separator follows the last letter of `Bearer` or `Basic`.
    may_have_scheme: bool,
}

const DIGIT: u16 = 1;
const SEPARATOR: u16 = 2;
const DOT: u16 = 4;
const COLON: u16 = 8;
/// In every e-mail address, also in a URL (`%40`).
const AT: u16 = 16;
/// The third character of every JSON Web Token.
const UPPER_J: u16 = 32;
/// Between the name and the value of a parameter.
const EQUALS: u16 = 64;
/// In Daybook's own keys, and in those of GitHub and Stripe.
const UNDERSCORE: u16 = 128;
/// The first character of keys of AWS and Google.
const UPPER_A: u16 = 256;
/// The first character of Slack's keys.
const LOWER_X: u16 = 512;
/// In `PRIVATE KEY`.
const UPPER_V: u16 = 1_024;
/// Around names and values in JSON.
const QUOTE: u16 = 2_048;

/// The length of `Basic`, a space and six characters. Every card number is longer.
const MIN_CREDENTIAL_BYTES: usize = 12;
/// The shortest key of a well-known service.
const MIN_KEY_BYTES: usize = 15;
/// If a text has one of these, a second pass counts dots and digits.
const NEEDS_COUNTS: u16 = DOT | COLON | AT | UPPER_J | EQUALS;

/// The class of each byte.
static CLASSES: [u16; 256] = {
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
    classes[b'_' as usize] = UNDERSCORE;
    classes[b'A' as usize] = UPPER_A;
    classes[b'x' as usize] = LOWER_X;
    classes[b'V' as usize] = UPPER_V;
    classes[b'"' as usize] = QUOTE;
    let mut digit = b'0';
    while digit <= b'9' {
        classes[digit as usize] = DIGIT;
        digit += 1;
    }
    classes
};

impl Prefilter {
    pub(super) fn scan(text: &str) -> Self {
        let classes = text
            .bytes()
            .fold(0, |classes, byte| classes | CLASSES[usize::from(byte)]);
        let mut prefilter = Self {
            classes,
            ..Self::default()
        };
        // Most texts have only words and return here.
        if classes & NEEDS_COUNTS == 0 && (classes & (SEPARATOR | DIGIT) == 0 || text.len() < MIN_CREDENTIAL_BYTES) {
            return prefilter;
        }
        let (mut number, mut before) = (0, 0);
        for byte in text.bytes() {
            let class = CLASSES[usize::from(byte)];
            prefilter.dots += usize::from(class == DOT);
            number = match class {
                DIGIT => number + 1,
                SEPARATOR | COLON => {
                    prefilter.may_have_scheme |= matches!(before, b'r' | b'R' | b'c' | b'C');
                    if class == COLON { 0 } else { number }
                }
                _ => 0,
            };
            before = byte;
            prefilter.longest_number = prefilter.longest_number.max(number);
        }
        prefilter
    }

    fn has(self, class: u16) -> bool {
        self.classes & class != 0
    }

    pub(super) fn may_match(self, detector: Detector, text: &str) -> bool {
        match detector {
            Detector::PrivateKey => self.has(UPPER_V) && text.contains("PRIVATE KEY"),
            Detector::UrlCredentials => self.has(AT) && self.has(COLON) && text.contains("://"),
            Detector::BearerToken => self.may_have_scheme,
            Detector::Jwt => self.has(UPPER_J) && self.dots >= 1,
            Detector::SecretParameter => self.has(EQUALS) || (self.has(QUOTE) && self.has(COLON)),
            Detector::DaybookKey => {
                self.has(UNDERSCORE) && text.len() >= MIN_KEY_BYTES && (text.contains("dbk_") || text.contains("dbt_"))
            }
            Detector::CloudKey => {
                text.len() >= MIN_KEY_BYTES
                    && (self.has(UNDERSCORE | UPPER_A | LOWER_X) || (self.has(SEPARATOR) && text.contains("sk-")))
            }
            Detector::Email => self.has(AT) && self.has(DOT),
            Detector::Card => self.longest_number >= 13,
            Detector::IpAddress => self.has(DIGIT) && (self.dots >= 3 || self.has(COLON)),
        }
    }
}
