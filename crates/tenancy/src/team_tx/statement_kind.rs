//! Determines from a statement's words whether it changes rows, or is a query that may run a second time.

/// The kind of a statement, judged by its text. A function that it calls may still change rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatementKind {
    /// `SELECT`, `VALUES`, `TABLE`, or `WITH` without a change: it can be run again, and be a subquery.
    Query,
    /// `INSERT`, `UPDATE`, `DELETE` or `MERGE`, by itself or inside `WITH`.
    Change,
    /// Anything else, such as `SET` or `CALL`.
    Other,
}

impl StatementKind {
    /// Returns the kind of a statement, which may begin with comments and parentheses.
    ///
    /// In a `WITH`, an unquoted column with the name `update` is treated as a change, and so is one with the name
    /// `delete` if it is the last one before `FROM`.
    pub(super) fn of(sql: &str) -> Self {
        let mut tokens = Tokens(sql).skip_while(|token| *token == Token::Symbol('('));
        let Some(Token::Word(first)) = tokens.next() else {
            return Self::Other;
        };
        if is(first, &["select", "values", "table"]) {
            return Self::Query;
        }
        if is(first, &["insert", "update", "delete", "merge"]) {
            return Self::Change;
        }
        if !is(first, &["with"]) {
            return Self::Other;
        }
        let mut before = Token::Word(first);
        for token in tokens {
            let follows = |words: &[&str]| matches!(before, Token::Word(word) if is(word, words));
            let is_change = match token {
                Token::Word(word) if is(word, &["into"]) => follows(&["insert", "merge"]),
                Token::Word(word) if is(word, &["from"]) => follows(&["delete"]),
                // The locks `FOR UPDATE` and `FOR NO KEY UPDATE` are no changes.
                Token::Word(word) if is(word, &["update"]) => !follows(&["for", "key"]) && before != Token::Symbol('.'),
                _ => false,
            };
            if is_change {
                return Self::Change;
            }
            before = token;
        }
        Self::Query
    }
}

fn is(word: &str, of: &[&str]) -> bool {
    of.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// A part of a statement. Comments and white space are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// A keyword, an unquoted name, or a number.
    Word(&'a str),
    /// A string or a quoted name.
    Quoted,
    Symbol(char),
}

/// The tokens of the rest of a statement.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.0 = without_comments(self.0);
        let first = self.0.chars().next()?;
        let (token, length) = match first {
            '\'' => (Token::Quoted, quoted_length(self.0, '\'', false)),
            '"' => (Token::Quoted, quoted_length(self.0, '"', false)),
            '$' => match dollar_quoted_length(self.0) {
                Some(length) => (Token::Quoted, length),
                None => (Token::Symbol('$'), 1),
            },
            _ if is_of_word(first) => {
                let length = self.0.find(|c| !is_of_word(c)).unwrap_or(self.0.len());
                let (word, rest) = self.0.split_at(length);
                // In a string like `E'it\'s'` a backslash escapes the next character.
                if word.eq_ignore_ascii_case("e") && rest.starts_with('\'') {
                    (Token::Quoted, length + quoted_length(rest, '\'', true))
                } else {
                    (Token::Word(word), length)
                }
            }
            _ => (Token::Symbol(first), first.len_utf8()),
        };
        self.0 = self.0.get(length..).unwrap_or_default();
        Some(token)
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the text from its first token on. Block comments may be nested.
fn without_comments(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start();
        if let Some(comment) = sql.strip_prefix("--") {
            sql = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = sql.strip_prefix("/*") {
            sql = after_block_comment(comment);
        } else {
            return sql;
        }
    }
}

fn after_block_comment(mut rest: &str) -> &str {
    let mut open = 1_u32;
    while open > 0 {
        let Some(at) = rest.find(['/', '*']) else { return "" };
        rest = rest.get(at..).unwrap_or_default();
        if let Some(inside) = rest.strip_prefix("/*") {
            open += 1;
            rest = inside;
        } else if let Some(outside) = rest.strip_prefix("*/") {
            open -= 1;
            rest = outside;
        } else {
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    rest
}

/// The length of a quoted text with its quotes. A doubled quote looks like two quoted texts in a row, which does no
/// harm.
fn quoted_length(text: &str, quote: char, has_escapes: bool) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if is_escaped {
            is_escaped = false;
        } else if has_escapes && c == '\\' {
            is_escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Returns the length of a text like `$tag$…$tag$`; `None` for a parameter such as `$1`.
fn dollar_quoted_length(text: &str) -> Option<usize> {
    let tag_end = 1 + text.get(1..)?.find('$')?;
    let tag = text.get(..=tag_end)?;
    let name = tag.get(1..tag_end)?;
    if !name.chars().all(is_of_word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let end = text.get(tag.len()..)?.find(tag);
    Some(end.map_or(text.len(), |end| 2 * tag.len() + end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_change_rows_are_found() {
        for sql in [
            "INSERT INTO a VALUES (1) RETURNING id",
            "-- Writes rows.\n--\n-- $1 team\nINSERT INTO a VALUES ($1) RETURNING id",
            "/* x */ INSERT INTO a VALUES (1) RETURNING id",
            "/* x /* nested **/ SELECT */-- SELECT\n\t/**/ insert INTO a VALUES (1)",
            "  update a SET b = 1 RETURNING b",
            "MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE RETURNING 1",
            "WITH x AS (\n INSERT INTO a SELECT 1 RETURNING id) SELECT id FROM x",
            "WITH x AS (SELECT 1 FOR UPDATE) UPDATE a SET b = 1 RETURNING b",
            "with x as (delete /* all */ from a returning 1) select 1",
            "/* x */ ((WITH x AS (INSERT INTO a SELECT 1 RETURNING id) SELECT id FROM x))",
            "WITH x AS (SELECT $q$ ' $q$, $1, E'\\'', 'it''s', \"a\"\"b\") INSERT INTO a SELECT * FROM x",
        ] {
            assert_eq!(StatementKind::of(sql), StatementKind::Change, "{sql}");
        }
    }

    #[test]
    fn queries_are_found() {
        for sql in [
            "SELECT * FROM a FOR UPDATE",
            "/* INSERT INTO a */ SELECT 1",
            "-- UPDATE\n(SELECT 1) UNION (SELECT 2)",
            "VALUES (1)",
            "TABLE a",
            "WITH x AS (SELECT id FROM a FOR NO KEY UPDATE) SELECT id FROM x",
            "WITH RECURSIVE x AS (SELECT updated_at, deleted_at FROM inserts) SELECT * FROM x",
            "WITH x AS (SELECT 'insert into', \"delete\" FROM a) SELECT x.update FROM x -- update a",
            "WITH x AS (SELECT $$ insert into $$, $a1$ update $$ $a1$, E'\\' update a') SELECT * FROM x /* delete from a */",
        ] {
            assert_eq!(StatementKind::of(sql), StatementKind::Query, "{sql}");
        }
        for sql in ["", "--", "/*", "SET a = 1", "CALL f()", "'", "(", "$1", "é"] {
            assert_eq!(StatementKind::of(sql), StatementKind::Other, "{sql}");
        }
    }
}
