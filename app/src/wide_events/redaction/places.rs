//! Rules for places: paths in which `*` stands for any one name or index, and `**` for any number of them.
//!
//! A walk through an event carries what could still match ([`Here`]), which is nothing almost everywhere, rather
//! than the path's names.

use super::Treatment;

/// All rules for places, in the order in which they were given.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    rules: Vec<Rule>,
    top: Here,
    /// The first letters of names at the top, as bits; all of them where a rule begins with a wildcard. Almost every
    /// field begins otherwise.
    first_letters: [u64; 4],
}

#[derive(Debug, Clone)]
struct Rule {
    segments: Vec<Segment>,
    /// None leaves the place as it is.
    treatment: Option<Treatment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Name(String),
    Any,
    AnyDepth,
}

/// What could still match below the value that a walk has come to: rules, and how far into each.
#[derive(Debug, Clone, Default)]
pub(super) struct Here(Vec<(usize, usize)>);

/// One step down.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

impl Step<'_> {
    fn is(self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Index(at) => name.parse() == Ok(at),
        }
    }
}

impl Places {
    pub(super) fn add(&mut self, pattern: &str, treatment: Option<Treatment>) {
        let segments = pattern.split('.').map(|segment| match segment {
            "*" => Segment::Any,
            "**" => Segment::AnyDepth,
            name => Segment::Name(name.to_owned()),
        });
        match pattern.bytes().next() {
            Some(b'*') | None => self.first_letters = [u64::MAX; 4],
            Some(letter) => {
                let (word, bit) = place_of(letter);
                self.first_letters[word] |= bit;
            }
        }
        self.rules.push(Rule {
            segments: segments.collect(),
            treatment,
        });
        let rule = self.rules.len() - 1;
        let mut top = std::mem::take(&mut self.top);
        self.reach(&mut top, rule, 0);
        self.top = top;
    }

    /// Where every walk begins.
    pub(super) fn top(&self) -> &Here {
        &self.top
    }

    /// Whether any rule may begin with this name.
    pub(super) fn begins(&self, name: &str) -> bool {
        let (word, bit) = place_of(name.bytes().next().unwrap_or_default());
        self.first_letters[word] & bit != 0
    }

    pub(super) fn step(&self, here: &Here, step: Step<'_>) -> Here {
        let mut next = Here::default();
        for &(rule, at) in &here.0 {
            match self.segment(rule, at) {
                Some(Segment::Name(name)) if step.is(name) => self.reach(&mut next, rule, at + 1),
                Some(Segment::Any) => self.reach(&mut next, rule, at + 1),
                Some(Segment::AnyDepth) => self.reach(&mut next, rule, at),
                _ => {}
            }
        }
        next
    }

    /// What the last rule says that matches here: the treatment, or none to leave it.
    pub(super) fn verdict(&self, here: &Here) -> Option<Option<Treatment>> {
        let matched = here.0.iter().filter(|(rule, at)| self.segment(*rule, *at).is_none());
        let last = matched.map(|(rule, _)| *rule).max()?;
        Some(self.rules.get(last)?.treatment)
    }

    fn segment(&self, rule: usize, at: usize) -> Option<&Segment> {
        self.rules.get(rule)?.segments.get(at)
    }

    /// Adds a position, and those that a `**` lets one skip to.
    fn reach(&self, here: &mut Here, rule: usize, at: usize) {
        if here.0.contains(&(rule, at)) {
            return;
        }
        here.0.push((rule, at));
        if self.segment(rule, at) == Some(&Segment::AnyDepth) {
            self.reach(here, rule, at + 1);
        }
    }
}

/// A letter's word and bit, of 256.
fn place_of(letter: u8) -> (usize, u64) {
    (usize::from(letter / 64), 1 << (letter % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let mut places = Places::default();
        places.add(pattern, Some(Treatment::Drop));
        let mut here = places.top().clone();
        for name in path.split('.') {
            let step = name.parse().map_or(Step::Name(name), Step::Index);
            here = places.step(&here, step);
        }
        places.verdict(&here).is_some()
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
    fn the_last_rule_that_matches_counts() {
        let mut places = Places::default();
        places.add("user.*", Some(Treatment::Drop));
        places.add("user.id", None);
        let user = places.step(places.top(), Step::Name("user"));
        assert_eq!(places.verdict(&user), None);
        assert_eq!(places.verdict(&places.step(&user, Step::Name("id"))), Some(None));
        assert_eq!(
            places.verdict(&places.step(&user, Step::Name("email"))),
            Some(Some(Treatment::Drop))
        );
    }
}
