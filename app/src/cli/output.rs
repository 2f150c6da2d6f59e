//! Prints everything that commands print, so that no text from outside can control the terminal.
//!
//! Results go to stdout, notes for people to stderr. Every text passes through [`visible`], also if stdout is no
//! terminal, so that a result is the same in a pipe. JSON stays valid JSON. The only escape sequences in the output are
//! styles, and only [`Line::styled`] writes them.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write};

use anstyle::Style;
use tracing_subscriber::fmt::MakeWriter;

use super::log_redaction::redact_credentials;
use crate::error::{Error, Result, without_database_words};
use crate::terminal::{visible, visible_json, visible_lines, visible_output};

/// A line of a command's result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line(String);

impl Line {
    /// Creates a line with this text.
    pub(super) fn of(text: impl Display) -> Self {
        Self::default().text(text)
    }

    /// Adds a text.
    #[must_use]
    pub(super) fn text(mut self, text: impl Display) -> Self {
        self.0.push_str(&visible(&text.to_string()));
        self
    }

    /// Adds text that a program has printed: tabs are kept.
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

    /// Adds a line break. Another line may follow in the same value.
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

/// Prints a line of a command's result. A closed stdout (`| head`) is not an error.
pub(super) fn print_line(line: impl Display) -> Result<()> {
    print_styled_line(&Line::of(line))
}

/// Like [`print_line`], for a line with styles.
pub(super) fn print_styled_line(line: &Line) -> Result<()> {
    write(&line.clone().ended()).map(drop)
}

/// Like [`print_line`], for JSON: only characters that control a terminal are escaped.
pub(super) fn print_json(json: impl Display) -> Result<()> {
    print_json_to_reader(json).map(drop)
}

/// Like [`print_line`], for a command that runs until nobody reads its output. Returns whether stdout is still open.
pub(super) fn print_line_to_reader(line: impl Display) -> Result<bool> {
    write(&Line::of(line).ended())
}

/// Like [`print_json`], for a command that runs until nobody reads its output. Returns whether stdout is still open.
pub(super) fn print_json_to_reader(json: impl Display) -> Result<bool> {
    write(&Line(format!("{}\n", visible_json(&json.to_string()))))
}

/// Writes lines, or parts of one, to stdout. Returns whether stdout is still open.
pub(super) fn write(text: &Line) -> Result<bool> {
    write_and_flush(&mut io::stdout().lock(), &text.0)
}

/// Writes a program's output unchanged to the stream that the program wrote it to. Escape sequences are kept, so this
/// is only for a user who asked for it. Returns whether the stream is still open.
pub(super) fn forward_output(is_stderr: bool, text: &str) -> Result<bool> {
    match is_stderr {
        true => write_and_flush(&mut io::stderr().lock(), text),
        false => write_and_flush(&mut io::stdout().lock(), text),
    }
}

fn write_and_flush(to: &mut impl Write, text: &str) -> Result<bool> {
    // Flushed, because part of a line must appear at once, too.
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::internal(format!("stdout: {error}"))),
    }
}

/// Prints a note for people to stderr.
pub(super) fn note(line: impl Display) {
    // If stderr is closed, there is no other place for the note.
    let _ = writeln!(io::stderr(), "{}", visible(&line.to_string()));
}

/// Like [`note`], for several lines. The caller must pass texts from outside through [`visible`] first.
pub(super) fn note_lines(text: impl Display) {
    let _ = writeln!(io::stderr(), "{}", visible_lines(&text.to_string()));
}

/// Returns whether the user allows colours: `NO_COLOR` is not set (<https://no-color.org>).
pub(super) fn wants_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Returns whether stdout is a terminal.
pub(super) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Writes log events to stderr, each as one line. With colours, the formatter's own escape sequences pass. The
/// formatter escapes those that are in a message.
pub(super) struct LogWriter {
    coloured: bool,
}

impl LogWriter {
    pub(super) fn to_stderr() -> Self {
        Self {
            coloured: io::stderr().is_terminal() && wants_colours(),
        }
    }

    pub(super) fn coloured(&self) -> bool {
        self.coloured
    }

    /// Returns the line that is printed for a formatted event.
    fn render(&self, event: &str) -> String {
        // An event may quote values in a database error, or a credential that a client sent.
        let line = without_database_words(event.strip_suffix('\n').unwrap_or(event));
        let line = redact_credentials(line.as_ref());
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

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogEventWriter<'a>;

    fn make_writer(&'a self) -> LogEventWriter<'a> {
        LogEventWriter(self)
    }
}

/// Writes one event to stderr. The formatter passes the whole event in one call.
pub(super) struct LogEventWriter<'a>(&'a LogWriter);

impl Write for LogEventWriter<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(self.0.render(&String::from_utf8_lossy(event)).as_bytes())?;
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
    fn only_our_styles_are_escape_sequences() {
        let line = Line::of("a\u{1b}[2J").styled(AnsiColor::Red.on_default(), "b\u{1b}[0m\n");
        assert_eq!(line.as_str(), "a\\u{1b}[2J\u{1b}[31mb\\u{1b}[0m\\n\u{1b}[0m");
        let line = Line::of("└─ ").then(&line).output("\tx\r");
        assert!(line.as_str().starts_with("└─ a\\u{1b}[2J\u{1b}[31mb") && line.as_str().ends_with("\tx\\r"));
    }

    #[test]
    fn a_logged_event_is_one_line() {
        let plain = LogWriter { coloured: false };
        assert_eq!(
            plain.render("WARN it said \u{1b}[2J\nINFO forged\n"),
            "WARN it said \\u{1b}[2J\\nINFO forged\n"
        );
        assert_eq!(
            plain.render("WARN no: error returned from database: bad inet: \"SECRET\"\n"),
            "WARN no: error returned from database: …\n"
        );
        let coloured = LogWriter { coloured: true };
        assert_eq!(
            coloured.render("\u{1b}[33mWARN\u{1b}[0m it said \u{9b}\nINFO forged\n"),
            "\u{1b}[33mWARN\u{1b}[0m it said \\u{9b}\\nINFO forged\n"
        );
    }
}
