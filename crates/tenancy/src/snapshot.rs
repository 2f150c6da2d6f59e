//! Tells which transactions had ended at one time.
//!
//! Transaction ids are assigned in order, but transactions commit in any order: "everything after id n" would miss slow
//! ones. The rows that became visible between two times are exactly those of the transactions that had not ended at the
//! first and had ended at the second.

use std::fmt;
use std::str::FromStr;

/// The transactions that had ended at one time: PostgreSQL's `pg_snapshot`, in its own text form
/// `xmin:xmax:open,open,…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The lowest id such that no transaction with this id or a higher one had ended.
    next: i64,
    /// The ids before `next` whose transactions were open.
    open: Vec<i64>,
}

impl Snapshot {
    /// The snapshot before any transaction.
    pub const NOTHING: Self = Self {
        next: 0,
        open: Vec::new(),
    };
    /// The snapshot after all transactions, including future ones.
    pub const EVERYTHING: Self = Self {
        next: i64::MAX,
        open: Vec::new(),
    };

    /// Returns the lowest id such that no transaction with this id or a higher one had ended.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Returns the ids before [`Snapshot::next`] whose transactions were open.
    pub fn open(&self) -> &[i64] {
        &self.open
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.open.first().unwrap_or(&self.next), self.next)?;
        for (i, open) in self.open.iter().enumerate() {
            write!(f, "{}{open}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Snapshot {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "is not a snapshot";
        let number = |text: &str| {
            let shaped = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            shaped.then(|| text.parse::<i64>().ok()).flatten().ok_or(WRONG)
        };
        let mut parts = text.split(':');
        let (Some(first), Some(next), Some(open), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(WRONG);
        };
        let (first, next) = (number(first)?, number(next)?);
        let open = match open {
            "" => Vec::new(),
            open => open.split(',').map(number).collect::<Result<Vec<_>, _>>()?,
        };
        let in_order = open.is_sorted() && open.iter().all(|open| (first..next).contains(open));
        if first > next || !in_order {
            return Err(WRONG);
        }
        Ok(Self { next, open })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_that_of_postgresql() {
        for text in ["100:100:", "100:105:100,102", "0:0:"] {
            assert_eq!(text.parse::<Snapshot>().unwrap().to_string(), text);
        }
        // PostgreSQL's xmin may be lower than the lowest open id in the list.
        assert_eq!("99:105:100".parse::<Snapshot>().unwrap().to_string(), "100:105:100");
        for wrong in [
            "",
            "1",
            "1:2",
            "1:2:3",
            "2:1:",
            "1:5:3,2",
            "1:2:3:4",
            "-1:2:",
            "a:b:",
            "1:+2:",
            "1:2:,",
            "1:99999999999999999999:",
        ] {
            assert!(wrong.parse::<Snapshot>().is_err(), "{wrong}");
        }
    }
}
