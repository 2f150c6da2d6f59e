//! Everything that commands print goes through here, so that nobody's words reach a terminal as anything but words.
//!
//! Results go to stdout, words for people to stderr. Texts are made [`visible`] whether a terminal reads them or not: a
//! result is the same in a pipe. JSON stays JSON. Styles are the only escape sequences, and only [`Line::styled`] writes them.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write};

use anstyle::Style;
use tracing_subscriber::fmt::MakeWriter;

use super::stderr::without_credentials;
use crate::error::{Error, Result, without_database_words};
use crate::terminal::{visible, visible_json, visible_lines, visible_output};

/// A line of a command's result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line(String);

impl Line {
    /// A line with this text.
    pub(super) fn of(text: impl Display) -> Self {
        Self::default().text(text)
    }

    /// Adds a text.
    #[must_use]
    pub(super) fn text(mut self, text: impl Display) -> Self {
        self.0.push_str(&visible(&text.to_string()));
        self
    }

    /// Adds what a program has printed: its tabs stay.
    #[must_use]
    pub(super) fn output(mut self, text: &str) -> Self {
        self.0.push_str(&visible_output(text));
        self
    }

    /// Adds a text in a style.
    #[must_use]
    pub(super) fn styled(mut self, style: Style, text: impl Display) -> Self {
        self.0
            .push_str(&format!("{style}{}{style:#}", visible(&text.to_string())));
        self
    }

    /// Adds another line.
    #[must_use]
    pub(super) fn then(mut self, other: &Self) -> Self {
        self.0.push_str(&other.0);
        self
    }

    /// Ends the line: another one may follow in the same value.
    #[must_use]
    pub(super) fn ended(mut self) -> Self {
        self.0.push('\n');
        self
    }

    #[cfg(test)]
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Prints a line of a command's result. A reader who has seen enough (`| head`) is no error.
pub(super) fn say(line: impl Display) -> Result<()> {
    say_line(&Line::of(line))
}

/// [`say`] for a line with styles.
pub(super) fn say_line(line: &Line) -> Result<()> {
    write(&line.clone().ended()).map(drop)
}

/// [`say`] for JSON, which stays as it is but for what a terminal acts on.
pub(super) fn say_json(json: impl Display) -> Result<()> {
    say_json_to_reader(json).map(drop)
}

/// [`say`] for a command that goes on for as long as somebody reads: whether somebody does.
pub(super) fn say_to_reader(line: impl Display) -> Result<bool> {
    write(&Line::of(line).ended())
}

/// [`say_json`] for a command that goes on for as long as somebody reads: whether somebody does.
pub(super) fn say_json_to_reader(json: impl Display) -> Result<bool> {
    write(&Line(format!("{}\n", visible_json(&json.to_string()))))
}

/// Writes lines, or parts of one, to stdout. Whether somebody reads.
pub(super) fn write(text: &Line) -> Result<bool> {
    pass_on(&mut io::stdout().lock(), &text.0)
}

/// Passes on what a program has printed, as it has printed it, to the stream that it was printed to. Only for somebody who
/// asked for exactly that. Whether somebody reads.
pub(super) fn pass_output_on(is_stderr: bool, text: &str) -> Result<bool> {
    match is_stderr {
        true => pass_on(&mut io::stderr().lock(), text),
        false => pass_on(&mut io::stdout().lock(), text),
    }
}

fn pass_on(to: &mut impl Write, text: &str) -> Result<bool> {
    // Part of a line waits for nothing.
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::internal(format!("stdout: {error}"))),
    }
}

/// Prints words for people to stderr.
pub(super) fn note(line: impl Display) {
    // A reader that is gone misses nothing that could be said elsewhere.
    let _ = writeln!(io::stderr(), "{}", visible(&line.to_string()));
}

/// [`note`] for several lines: a text of ours, whose parts by others are [`visible`] already.
pub(super) fn note_lines(text: impl Display) {
    let _ = writeln!(io::stderr(), "{}", visible_lines(&text.to_string()));
}

/// <https://no-color.org>
pub(super) fn wants_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether a person looks on at what goes to stdout.
pub(super) fn is_looked_at() -> bool {
    io::stdout().is_terminal()
}

/// Where logs go: stderr, each event as one line. In colours the escape sequences of the formatter pass, which writes out
/// those that are in a message by itself.
pub(super) struct Logs {
    coloured: bool,
}

impl Logs {
    pub(super) fn to_stderr() -> Self {
        Self {
            coloured: io::stderr().is_terminal() && wants_colours(),
        }
    }

    pub(super) fn coloured(&self) -> bool {
        self.coloured
    }

    /// What the formatter wrote for one event, as it is printed.
    fn shown(&self, event: &str) -> String {
        // Whoever logs it: the database's words quote values, and what a client sent may be a credential.
        let line = without_database_words(event.strip_suffix('\n').unwrap_or(event));
        let line = without_credentials(line.as_ref());
        let line = line.as_ref();
        match self.coloured {
            false => format!("{}\n", visible(line)),
            true => {
                let parts: Vec<_> = line.split('\u{1b}').map(visible).collect();
                format!("{}\n", parts.join("\u{1b}"))
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Log<'a>;

    fn make_writer(&'a self) -> Log<'a> {
        Log(self)
    }
}

/// One event on its way to stderr: the formatter writes all of it at once.
pub(super) struct Log<'a>(&'a Logs);

impl Write for Log<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(self.0.shown(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use anstyle::AnsiColor;

    use super::*;

    #[test]
    fn only_styles_of_ours_are_escape_sequences() {
        let line = Line::of("a\u{1b}[2J").styled(AnsiColor::Red.on_default(), "b\u{1b}[0m\n");
        assert_eq!(line.as_str(), "a\\u{1b}[2J\u{1b}[31mb\\u{1b}[0m\\n\u{1b}[0m");
        let line = Line::of("└─ ").then(&line).output("\tx\r");
        assert!(line.as_str().starts_with("└─ a\\u{1b}[2J\u{1b}[31mb") && line.as_str().ends_with("\tx\\r"));
    }

    #[test]
    fn a_logged_event_is_one_line() {
        let plain = Logs { coloured: false };
        assert_eq!(
            plain.shown("WARN it said \u{1b}[2J\nINFO forged\n"),
            "WARN it said \\u{1b}[2J\\nINFO forged\n"
        );
        assert_eq!(
            plain.shown("WARN no: error returned from database: bad inet: \"SECRET\"\n"),
            "WARN no: error returned from database: …\n"
        );
        let coloured = Logs { coloured: true };
        assert_eq!(
            coloured.shown("\u{1b}[33mWARN\u{1b}[0m it said \u{9b}\nINFO forged\n"),
            "\u{1b}[33mWARN\u{1b}[0m it said \\u{9b}\\nINFO forged\n"
        );
    }
}
