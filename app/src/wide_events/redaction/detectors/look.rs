//! A first look at a text: which detectors need not look at all.

use super::Detector;

/// What a text has of the characters that matter.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Look {
    classes: u16,
    dots: usize,
    /// The most digits in a row, spaces and hyphens between them not counted.
    longest_number: usize,
    /// A space after a letter that `Bearer` or `Basic` ends with.
    ends_a_scheme: bool,
}

const DIGIT: u16 = 1;
const SEPARATOR: u16 = 2;
const DOT: u16 = 4;
const COLON: u16 = 8;
/// What every e-mail address has, also in a URL (`%40`).
const AT: u16 = 16;
/// What every JSON Web Token has in its third place.
const UPPER_J: u16 = 32;
/// What stands between a parameter's name and its value.
const EQUALS: u16 = 64;
/// What our own keys have, and those of GitHub and Stripe.
const UNDERSCORE: u16 = 128;
/// What the keys of AWS and Google begin with.
const UPPER_A: u16 = 256;
/// What Slack's begin with.
const LOWER_X: u16 = 512;
/// `PRIVATE KEY` has one.
const UPPER_V: u16 = 1_024;
/// Around names and values in JSON.
const QUOTE: u16 = 2_048;

/// `Basic` and six letters of a credential; every card's number is longer.
const SHORTEST_CREDENTIAL: usize = 12;
/// The shortest key of a well-known service.
const SHORTEST_KEY: usize = 15;
/// For these a second pass counts.
const COUNTED: u16 = DOT | COLON | AT | UPPER_J | EQUALS;

/// A byte's class.
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

impl Look {
    pub(super) fn at(text: &str) -> Self {
        let classes = text
            .bytes()
            .fold(0, |classes, byte| classes | CLASSES[usize::from(byte)]);
        let mut look = Self {
            classes,
            ..Self::default()
        };
        // Words and nothing else: most texts end here.
        if classes & COUNTED == 0 && (classes & (SEPARATOR | DIGIT) == 0 || text.len() < SHORTEST_CREDENTIAL) {
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

    fn has(self, class: u16) -> bool {
        self.classes & class != 0
    }

    pub(super) fn may_be(self, detector: Detector, text: &str) -> bool {
        match detector {
            Detector::PrivateKey => self.has(UPPER_V) && text.contains("PRIVATE KEY"),
            Detector::UrlCredentials => self.has(AT) && self.has(COLON) && text.contains("://"),
            Detector::BearerToken => self.ends_a_scheme,
            Detector::Jwt => self.has(UPPER_J) && self.dots >= 1,
            Detector::SecretParameter => self.has(EQUALS) || (self.has(QUOTE) && self.has(COLON)),
            Detector::DaybookKey => {
                self.has(UNDERSCORE) && text.len() >= SHORTEST_KEY && (text.contains("dbk_") || text.contains("dbt_"))
            }
            Detector::CloudKey => {
                text.len() >= SHORTEST_KEY
                    && (self.has(UNDERSCORE | UPPER_A | LOWER_X) || (self.has(SEPARATOR) && text.contains("sk-")))
            }
            Detector::Email => self.has(AT) && self.has(DOT),
            Detector::Card => self.longest_number >= 13,
            Detector::IpAddress => self.has(DIGIT) && (self.dots >= 3 || self.has(COLON)),
        }
    }
}
