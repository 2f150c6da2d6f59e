//! What must not leave the process, taken out of an event before it is written.
//!
//! Three ways to find it: by its place (`user.email`, `items.*.card`, `headers.**`), by its name at any depth
//! (`password`), and by its look in any text (e-mail addresses, payment cards, keys and tokens of many kinds, passwords in
//! addresses, IP addresses: [`Detector`]). Names of query parameters have a list of their own, since `code` or `key` is a
//! secret there and a plain word elsewhere. Three ways to treat it: [`Treatment::Mask`], [`Treatment::Hash`] and [`Treatment::Drop`]. A rule for a
//! place beats a rule for a name, and both beat the look.

mod detectors;
mod hash;
mod mask;
mod names;
mod places;
mod sensitive;

use std::borrow::Cow;

pub use detectors::Detector;
pub use hash::{BadHashKey, HashKey};
pub use sensitive::Sensitive;

use detectors::Detectors;
use names::Names;
use places::{Here, Places, Step};

use super::fields::{Fields, Name, Value};

/// What stands where something was dropped.
pub(super) const REDACTED: &str = "[REDACTED]";

/// Names whose values are dropped wherever they are. `client_secret` and `refreshToken` end like one of them.
const SECRET_NAMES: [&str; 26] = [
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "secrets",
    "token",
    "tokens",
    "ticket",
    "authorization",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "api_key",
    "private_key",
    "secret_key",
    "access_key",
    "auth_key",
    "signature",
    "jwt",
    "card_number",
    "cvv",
    "cvc",
];

/// Names of query parameters whose values are dropped, beside [`SECRET_NAMES`]: the whole name, in any spelling.
const SECRET_PARAMETERS: [&str; 13] = [
    "key",
    "auth",
    "session",
    "session_id",
    "sid",
    "sig",
    "code",
    "pass",
    "pw",
    "otp",
    "pin",
    "assertion",
    "saml_response",
];

/// What happens to a value that must not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// A shape is left: `a***@e***.com`, `4***1111`, `203.0.113.***`, `s***t`.
    Mask,
    /// A keyed hash, the same for the same value: `hmac-sha256:2026-11:9f86d081884c7d65…`. Without a [`HashKey`] it
    /// is dropped: a hash that anybody can compute hides no e-mail address.
    Hash,
    /// `[REDACTED]`.
    Drop,
}

/// Rules for what must not leave the process.
#[derive(Debug, Clone)]
pub struct Redaction {
    places: Places,
    names: Names,
    parameters: Names,
    detectors: Detectors,
    key: Option<HashKey>,
}

impl Default for Redaction {
    /// Secrets by their names are dropped; e-mail, card and IP addresses are masked wherever they stand in a text,
    /// and tokens dropped.
    fn default() -> Self {
        let mut rules = Self::none();
        for name in SECRET_NAMES {
            rules = rules.name(name, Treatment::Drop);
        }
        for name in SECRET_PARAMETERS {
            rules = rules.query_parameter(name, Treatment::Drop);
        }
        for detector in Detector::ALL {
            rules = rules.detect(detector, detector.usual_treatment());
        }
        // As the detector would, without looking.
        rules.path("ip", Treatment::Mask)
    }
}

impl Redaction {
    /// No rule at all, [`Sensitive`] values apart.
    pub fn none() -> Self {
        Self {
            places: Places::default(),
            names: Names::default(),
            parameters: Names::default(),
            detectors: Detectors::default(),
            key: None,
        }
    }

    /// A rule for a place: a path with dots, in which `*` is any one name or index and `**` is any number of them.
    /// The rule that was given last counts, so that yours beat the usual ones.
    #[must_use]
    pub fn path(mut self, pattern: &str, treatment: Treatment) -> Self {
        self.places.add(pattern, Some(treatment));
        self
    }

    /// Leaves a place as it is, whatever its name or look.
    #[must_use]
    pub fn leave(mut self, pattern: &str) -> Self {
        self.places.add(pattern, None);
        self
    }

    /// A rule for a name at any depth, and for names that end with it: `token` is also `refreshToken` and
    /// `x-csrf-token`. Upper and lower case are one, and only letters and digits count: `user[password]`.
    #[must_use]
    pub fn name(mut self, name: &str, treatment: Treatment) -> Self {
        self.names.add(name, treatment);
        self
    }

    /// Only what opens a door (tokens, keys, passwords in addresses), by its look: for texts that people read, such as
    /// lines on stderr.
    pub fn credentials() -> Self {
        let credentials = Detector::ALL
            .into_iter()
            .filter(|detector| detector.finds_credentials());
        credentials.fold(Self::none(), |rules, detector| rules.detect(detector, Treatment::Drop))
    }

    /// A rule for a query parameter: its whole name, upper and lower case being one, and only letters and digits counting.
    #[must_use]
    pub fn query_parameter(mut self, name: &str, treatment: Treatment) -> Self {
        self.parameters.add(name, treatment);
        self
    }

    /// A rule for what looks like something, in any text.
    #[must_use]
    pub fn detect(mut self, detector: Detector, treatment: Treatment) -> Self {
        self.detectors.set(detector, Some(treatment));
        self
    }

    /// Doesn't look for something any more.
    #[must_use]
    pub fn ignore(mut self, detector: Detector) -> Self {
        self.detectors.set(detector, None);
        self
    }

    /// The key for [`Treatment::Hash`].
    #[must_use]
    pub fn hash_key(mut self, key: HashKey) -> Self {
        self.key = Some(key);
        self
    }

    /// A text by itself, without what the detectors find in it.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let redacted = self.detectors.redact(text, self.key.as_ref());
        redacted.map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// Redacts the first fields of `event`; the others are the layer's own.
    pub(super) fn apply(&self, event: &mut Fields, first: usize) {
        let nowhere = Here::default();
        for (name, value) in event.entries_mut().get_mut(..first).unwrap_or_default() {
            let here = if self.places.begins(name) {
                self.places.top()
            } else {
                &nowhere
            };
            match value {
                Value::Object(parameters) if name == "query" && !self.has_rule_for_query() => {
                    self.query(&self.places.step(here, Step::Name("query")), parameters);
                }
                _ => self.field(here, name, value),
            }
            self.name_of(name);
        }
    }

    /// Whether the query as a whole has a rule.
    fn has_rule_for_query(&self) -> bool {
        let query = self.places.step(self.places.top(), Step::Name("query"));
        self.places.verdict(&query).is_some() || self.names.rule("query").is_some()
    }

    /// A request's query, as the layer has it.
    fn query(&self, query: &Here, parameters: &mut Fields) {
        for (name, value) in parameters.entries_mut() {
            let below = self.places.step(query, Step::Name(name));
            match (self.places.verdict(&below), self.parameters.whole(name)) {
                (None, Some(treatment)) => self.treat(treatment, value),
                _ => self.field(query, name, value),
            }
            self.name_of(name);
        }
    }

    /// A name that came from outside may be a secret itself: `?ada@example.com`.
    fn name_of(&self, name: &mut Name) {
        if let Cow::Owned(text) = name
            && let Some(redacted) = self.detectors.redact(text, self.key.as_ref())
        {
            *text = redacted;
        }
    }

    fn field(&self, here: &Here, name: &str, value: &mut Value) {
        let below = self.places.step(here, Step::Name(name));
        match self.places.verdict(&below) {
            Some(Some(treatment)) => self.treat(treatment, value),
            Some(None) => {}
            None => match self.names.rule(name) {
                Some(treatment) => self.treat(treatment, value),
                None => self.inside(&below, value),
            },
        }
    }

    fn inside(&self, here: &Here, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields.entries_mut() {
                    self.field(here, name, value);
                    self.name_of(name);
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    let below = self.places.step(here, Step::Index(at));
                    match self.places.verdict(&below) {
                        Some(Some(treatment)) => self.treat(treatment, item),
                        Some(None) => {}
                        None => self.inside(&below, item),
                    }
                }
            }
            Value::String(text) => {
                if let Some(redacted) = self.detectors.redact(text, self.key.as_ref()) {
                    *text = redacted.into();
                }
            }
            Value::Number(number) => {
                if let Some(treatment) = self.detectors.of_number(number) {
                    self.treat(treatment, value);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn treat(&self, treatment: Treatment, value: &mut Value) {
        if *value == Value::Null {
            return;
        }
        *value = match (treatment, &*value) {
            (Treatment::Drop, _) => REDACTED.into(),
            (Treatment::Mask, Value::String(text)) => mask::text(text).into(),
            (Treatment::Mask, Value::Number(number)) => mask::text(&number.to_string()).into(),
            // No shape of an object is worth showing.
            (Treatment::Mask, _) => REDACTED.into(),
            (Treatment::Hash, Value::String(text)) => self.hash(text.as_bytes()),
            (Treatment::Hash, other) => match serde_json::to_vec(other) {
                Ok(json) => self.hash(&json),
                Err(_) => REDACTED.into(),
            },
        };
    }

    fn hash(&self, bytes: &[u8]) -> Value {
        match &self.key {
            Some(key) => key.hash(bytes).into(),
            None => REDACTED.into(),
        }
    }
}
