//! Removes secrets from an event before it is written.
//!
//! There are three kinds of rules. A rule for a path finds a value by its place (`user.email`, `items.*.card`,
//! `headers.**`). A rule for a name finds it at any depth (`password`). A [`Detector`] finds a form in any text: e-mail
//! addresses, payment cards, IP addresses, keys and tokens of many kinds, passwords in URLs. Query parameters have
//! their own list of names, because `code` or `key` is a secret there and a plain word elsewhere.
//!
//! A value is treated in one of three ways: [`Treatment::Mask`], [`Treatment::Hash`] or [`Treatment::Drop`]. A rule for
//! a path has priority over a rule for a name, and both have priority over detectors.

mod detectors;
mod hash;
mod mask;
mod name_rules;
mod path_rules;
mod sensitive;

use std::borrow::Cow;

pub use detectors::Detector;
pub use hash::{BadHashKey, HashKey};
pub use sensitive::Sensitive;

use detectors::Detectors;
use name_rules::NameRules;
use path_rules::{PathMatches, PathRules, PathStep};

use super::fields::{Fields, Name, Value};

/// Replaces a dropped value.
pub(super) const REDACTED: &str = "[REDACTED]";

/// Names whose values are dropped at any depth. Names that end with one of them count, too: `client_secret`,
/// `refreshToken`.
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

/// Further names of query parameters whose values are dropped, in addition to [`SECRET_NAMES`]. Only the whole name
/// counts, in any spelling.
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

/// How redaction changes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Treatment {
    /// Keeps only a form of the value: `a***@e***.com`, `4***1111`, `203.0.113.***`, `s***t`.
    Mask,
    /// Replaces the value with a keyed hash, which is the same for equal values:
    /// `hmac-sha256:2026-11:9f86d081884c7d65…`. Without a [`HashKey`] the value is dropped, because a hash without a
    /// key can be computed for each guessed e-mail address.
    Hash,
    /// Replaces the value with `[REDACTED]`.
    Drop,
}

/// The redaction rules of a layer.
#[derive(Debug, Clone)]
pub struct Redaction {
    path_rules: PathRules,
    name_rules: NameRules,
    parameter_rules: NameRules,
    detectors: Detectors,
    key: Option<HashKey>,
}

impl Default for Redaction {
    /// Creates the default rules. They drop values with the name of a secret. In any text they drop credentials, and
    /// mask e-mail addresses, payment cards and IP addresses.
    fn default() -> Self {
        let mut rules = Self::none();
        for name in SECRET_NAMES {
            rules = rules.name(name, Treatment::Drop);
        }
        for name in SECRET_PARAMETERS {
            rules = rules.query_parameter(name, Treatment::Drop);
        }
        for detector in Detector::ALL {
            rules = rules.detect(detector, detector.default_treatment());
        }
        // The detector would find it, too, but a rule for the path is faster.
        rules.path("ip", Treatment::Mask)
    }
}

impl Redaction {
    /// Creates redaction without rules. [`Sensitive`] values are still redacted.
    pub fn none() -> Self {
        Self {
            path_rules: PathRules::default(),
            name_rules: NameRules::default(),
            parameter_rules: NameRules::default(),
            detectors: Detectors::default(),
            key: None,
        }
    }

    /// Adds a rule for a path of names, separated by dots. `*` matches any one name or index, `**` any number of them.
    /// If several rules match, the one that was added last applies, so your rules have priority over the default ones.
    #[must_use]
    pub fn path(mut self, pattern: &str, treatment: Treatment) -> Self {
        self.path_rules.add(pattern, Some(treatment));
        self
    }

    /// Adds a rule that leaves the value at a path unchanged, whatever its name or form is.
    #[must_use]
    pub fn leave(mut self, pattern: &str) -> Self {
        self.path_rules.add(pattern, None);
        self
    }

    /// Adds a rule for a name at any depth, and for names that end with it: `token` matches also `refreshToken` and
    /// `x-csrf-token`. Case doesn't matter, and only letters and digits are compared: `user[password]`.
    #[must_use]
    pub fn name(mut self, name: &str, treatment: Treatment) -> Self {
        self.name_rules.add(name, treatment);
        self
    }

    /// Creates rules that drop only credentials (tokens, keys, passwords in URLs), which are found by their form. Use
    /// them for texts that people read, such as lines on stderr.
    pub fn credentials() -> Self {
        let credentials = Detector::ALL
            .into_iter()
            .filter(|detector| detector.finds_credentials());
        credentials.fold(Self::none(), |rules, detector| rules.detect(detector, Treatment::Drop))
    }

    /// Adds a rule for a query parameter by its whole name. Case doesn't matter, and only letters and digits are
    /// compared.
    #[must_use]
    pub fn query_parameter(mut self, name: &str, treatment: Treatment) -> Self {
        self.parameter_rules.add(name, treatment);
        self
    }

    /// Sets the treatment of what a detector finds in any text.
    #[must_use]
    pub fn detect(mut self, detector: Detector, treatment: Treatment) -> Self {
        self.detectors.set(detector, Some(treatment));
        self
    }

    /// Removes the rule of a detector.
    #[must_use]
    pub fn ignore(mut self, detector: Detector) -> Self {
        self.detectors.set(detector, None);
        self
    }

    /// Sets the key for [`Treatment::Hash`].
    #[must_use]
    pub fn hash_key(mut self, key: HashKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Redacts a single text with the detectors.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let redacted = self.detectors.redact(text, self.key.as_ref());
        redacted.map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// Redacts the first `first` fields of `event`. The others are fields of the layer that can't contain a secret.
    pub(super) fn apply(&self, event: &mut Fields, first: usize) {
        let no_matches = PathMatches::default();
        for (name, value) in event.entries_mut().get_mut(..first).unwrap_or_default() {
            let matches = if self.path_rules.may_match_below(name) {
                self.path_rules.root()
            } else {
                &no_matches
            };
            match value {
                Value::Object(parameters) if name == "query" && !self.has_rule_for_query() => {
                    self.redact_query(&self.path_rules.descend(matches, PathStep::Name("query")), parameters);
                }
                _ => self.redact_field(matches, name, value),
            }
            self.redact_name(name);
        }
    }

    /// Returns whether a rule applies to the query as a whole.
    fn has_rule_for_query(&self) -> bool {
        let query = self.path_rules.descend(self.path_rules.root(), PathStep::Name("query"));
        self.path_rules.treatment(&query).is_some() || self.name_rules.by_suffix("query").is_some()
    }

    /// Redacts a request's query.
    fn redact_query(&self, query: &PathMatches, parameters: &mut Fields) {
        for (name, value) in parameters.entries_mut() {
            let below = self.path_rules.descend(query, PathStep::Name(name));
            match (self.path_rules.treatment(&below), self.parameter_rules.exact(name)) {
                (None, Some(treatment)) => self.treat(treatment, value),
                _ => self.redact_field(query, name, value),
            }
            self.redact_name(name);
        }
    }

    /// Redacts a name. A name that a client chose may be a secret itself: `?ada@example.com`.
    fn redact_name(&self, name: &mut Name) {
        if let Cow::Owned(text) = name
            && let Some(redacted) = self.detectors.redact(text, self.key.as_ref())
        {
            *text = redacted;
        }
    }

    fn redact_field(&self, matches: &PathMatches, name: &str, value: &mut Value) {
        let below = self.path_rules.descend(matches, PathStep::Name(name));
        match self.path_rules.treatment(&below) {
            Some(Some(treatment)) => self.treat(treatment, value),
            Some(None) => {}
            None => match self.name_rules.by_suffix(name) {
                Some(treatment) => self.treat(treatment, value),
                None => self.redact_inside(&below, value),
            },
        }
    }

    fn redact_inside(&self, matches: &PathMatches, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields.entries_mut() {
                    self.redact_field(matches, name, value);
                    self.redact_name(name);
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    let below = self.path_rules.descend(matches, PathStep::Index(at));
                    match self.path_rules.treatment(&below) {
                        Some(Some(treatment)) => self.treat(treatment, item),
                        Some(None) => {}
                        None => self.redact_inside(&below, item),
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
            // Lists, objects and booleans have no useful mask.
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
