//! Which transactions were over at one moment.
//!
//! Numbers of transactions are given out in order and committed in any: "everything after number n" would miss
//! the slow ones. What has become visible between two moments is exactly what transactions wrote that were not
//! over at the first and are at the second.

use std::fmt;
use std::str::FromStr;

/// Which transactions were over at one moment: PostgreSQL's `pg_snapshot`, in its own text form
/// `xmin:xmax:open,open,…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// This one and those after it had not begun, or were not over.
    next: i64,
    /// Those before it that were open.
    open: Vec<i64>,
}

impl Snapshot {
    /// Before any transaction.
    pub const NOTHING: Self = Self {
        next: 0,
        open: Vec::new(),
    };
    /// After all transactions that will ever be.
    pub const EVERYTHING: Self = Self {
        next: i64::MAX,
        open: Vec::new(),
    };

    /// From this number on, none was over.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Those before [`Snapshot::next`] that were open.
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
    fn its_text_is_postgresqls() {
        for text in ["100:100:", "100:105:100,102", "0:0:"] {
            assert_eq!(text.parse::<Snapshot>().unwrap().to_string(), text);
        }
        // PostgreSQL's xmin may be older than the oldest open one that it names.
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
