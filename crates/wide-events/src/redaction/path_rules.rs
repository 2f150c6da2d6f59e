//! Redaction rules for paths, in which `*` matches any one name or index, and `**` any number of them.
//!
//! A walk through an event carries the rules that can still match ([`PathMatches`]) and not the names of the path. For
//! almost all values this is an empty list.

use super::Treatment;

/// All rules for paths, in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub(super) struct PathRules {
    rules: Vec<Rule>,
    root: PathMatches,
    /// The first bytes of the rules, as bits; all bits if a rule begins with a wildcard. A fast pre-check that excludes
    /// almost every top-level field.
    first_bytes: [u64; 4],
}

#[derive(Debug, Clone)]
struct Rule {
    segments: Vec<Segment>,
    /// None leaves the value unchanged.
    treatment: Option<Treatment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Name(String),
    Any,
    AnyDepth,
}

/// The rules that can still match at or below a value, each with the number of its segments that have matched.
#[derive(Debug, Clone, Default)]
pub(super) struct PathMatches(Vec<(usize, usize)>);

/// A step from a value to one of its children.
#[derive(Debug, Clone, Copy)]
pub(super) enum PathStep<'a> {
    Name(&'a str),
    Index(usize),
}

impl PathStep<'_> {
    fn is(self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Index(at) => name.parse() == Ok(at),
        }
    }
}

impl PathRules {
    pub(super) fn add(&mut self, pattern: &str, treatment: Option<Treatment>) {
        let segments = pattern.split('.').map(|segment| match segment {
            "*" => Segment::Any,
            "**" => Segment::AnyDepth,
            name => Segment::Name(name.to_owned()),
        });
        match pattern.bytes().next() {
            Some(b'*') | None => self.first_bytes = [u64::MAX; 4],
            Some(byte) => {
                let (word, bit) = bit_of(byte);
                self.first_bytes[word] |= bit;
            }
        }
        self.rules.push(Rule {
            segments: segments.collect(),
            treatment,
        });
        let rule = self.rules.len() - 1;
        let mut root = std::mem::take(&mut self.root);
        self.add_position(&mut root, rule, 0);
        self.root = root;
    }

    /// Returns the state at the root, where every walk begins.
    pub(super) fn root(&self) -> &PathMatches {
        &self.root
    }

    /// Returns whether a rule may match below the top-level field `name`.
    pub(super) fn may_match_below(&self, name: &str) -> bool {
        let (word, bit) = bit_of(name.bytes().next().unwrap_or_default());
        self.first_bytes[word] & bit != 0
    }

    pub(super) fn descend(&self, matches: &PathMatches, step: PathStep<'_>) -> PathMatches {
        let mut next = PathMatches::default();
        for &(rule, at) in &matches.0 {
            match self.segment(rule, at) {
                Some(Segment::Name(name)) if step.is(name) => self.add_position(&mut next, rule, at + 1),
                Some(Segment::Any) => self.add_position(&mut next, rule, at + 1),
                Some(Segment::AnyDepth) => self.add_position(&mut next, rule, at),
                _ => {}
            }
        }
        next
    }

    /// Returns the treatment of the last rule that matches a value: `Some(None)` if it leaves the value unchanged, and
    /// `None` if no rule matches.
    pub(super) fn treatment(&self, matches: &PathMatches) -> Option<Option<Treatment>> {
        let matched = matches.0.iter().filter(|(rule, at)| self.segment(*rule, *at).is_none());
        let last = matched.map(|(rule, _)| *rule).max()?;
        Some(self.rules.get(last)?.treatment)
    }

    fn segment(&self, rule: usize, at: usize) -> Option<&Segment> {
        self.rules.get(rule)?.segments.get(at)
    }

    /// Adds a position in a rule, and the following one if a `**` may match nothing.
    fn add_position(&self, matches: &mut PathMatches, rule: usize, at: usize) {
        if matches.0.contains(&(rule, at)) {
            return;
        }
        matches.0.push((rule, at));
        if self.segment(rule, at) == Some(&Segment::AnyDepth) {
            self.add_position(matches, rule, at + 1);
        }
    }
}

/// Returns the word and the bit of a byte in a set of 256 bits.
fn bit_of(byte: u8) -> (usize, u64) {
    (usize::from(byte / 64), 1 << (byte % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let mut rules = PathRules::default();
        rules.add(pattern, Some(Treatment::Drop));
        let mut matches = rules.root().clone();
        for name in path.split('.') {
            let step = name.parse().map_or(PathStep::Name(name), PathStep::Index);
            matches = rules.descend(&matches, step);
        }
        rules.treatment(&matches).is_some()
    }

    #[test]
    fn patterns_match_names_indices_and_depths() {
        for (pattern, path) in [
            ("user.email", "user.email"),
            ("user.*", "user.email"),
            ("items.*.card", "items.3.card"),
            ("items.0", "items.0"),
            ("**", "anything"),
            ("headers.**", "headers.a.b.c"),
            ("headers.**", "headers"),
            ("**.card", "a.b.card"),
            ("**.card", "card"),
            ("a.**.z", "a.z"),
            ("a.**.z", "a.b.c.z"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("user.email", "user"),
            ("user.email", "user.email.domain"),
            ("user.*", "user"),
            ("items.0", "items.1"),
            ("**.card", "card.holder"),
            ("a.**.z", "a.b"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_matching_rule_applies() {
        let mut rules = PathRules::default();
        rules.add("user.*", Some(Treatment::Drop));
        rules.add("user.id", None);
        let user = rules.descend(rules.root(), PathStep::Name("user"));
        assert_eq!(rules.treatment(&user), None);
        assert_eq!(rules.treatment(&rules.descend(&user, PathStep::Name("id"))), Some(None));
        assert_eq!(
            rules.treatment(&rules.descend(&user, PathStep::Name("email"))),
            Some(Some(Treatment::Drop))
        );
    }
}
