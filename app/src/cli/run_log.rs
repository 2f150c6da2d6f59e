//! Formats a run's log for `daybook runs log`. Pieces of a program's line are joined to one line again.

use serde_json::Value;

use super::output::Line;

/// The state of the printed log.
#[derive(Debug, Default)]
pub(super) struct Console {
    /// The stream whose last line has not ended.
    open: Option<String>,
}

/// One piece of a program's output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output<'a> {
    pub(super) stream: &'a str,
    pub(super) text: &'a str,
    /// Whether the line continues in the stream's next piece.
    pub(super) partial: bool,
}

impl<'a> Output<'a> {
    /// Reads a line of the log. Returns `None` if it has another type.
    pub(super) fn of(line: &'a Value) -> Option<Self> {
        if line["type"] != "console.line" {
            return None;
        }
        let payload = &line["payload"];
        Some(Self {
            stream: payload["stream"].as_str().unwrap_or("stdout"),
            text: payload["message"].as_str()?,
            partial: payload["partial"] == true,
        })
    }

    /// Returns the text as the program printed it.
    pub(super) fn exact(self) -> String {
        format!("{}{}", self.text, if self.partial { "" } else { "\n" })
    }
}

impl Console {
    /// Returns the text to print for a line of the log.
    pub(super) fn print(&mut self, line: &str) -> Line {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            return self.end().text(line).ended();
        };
        let clock = line["created_at"].as_str().and_then(|at| at.get(11..19));
        let clock = clock.unwrap_or("        ");
        let Some(output) = Output::of(&line) else {
            let kind = line["type"].as_str().unwrap_or_default();
            let mut short = line["payload"].clone();
            if let Some(fields) = short.as_object_mut() {
                fields.remove("summary");
                fields.retain(|_, value| !value.is_null());
            }
            return self.end().text(format_args!("{clock} {kind} {short}")).ended();
        };
        let start = match self.open.as_deref() == Some(output.stream) {
            true => Line::default(),
            false => self.end().text(clock).text(" "),
        };
        self.open = output.partial.then(|| output.stream.to_owned());
        match output.partial {
            true => start.output(output.text),
            // The line may have ended with \r\n.
            false => start
                .output(output.text.strip_suffix('\r').unwrap_or(output.text))
                .ended(),
        }
    }

    /// Ends a line that is still open.
    pub(super) fn end(&mut self) -> Line {
        match self.open.take() {
            Some(_) => Line::default().ended(),
            None => Line::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(pieces: &[(&str, &str, bool)]) -> String {
        let mut console = Console::default();
        let mut all = String::new();
        for (stream, message, partial) in pieces {
            let line = json!({"type": "console.line", "created_at": "2026-11-21T12:00:01.000000Z",
                "payload": {"stream": stream, "message": message, "partial": partial}});
            all.push_str(console.print(&line.to_string()).as_str());
        }
        all.push_str(console.end().as_str());
        all
    }

    #[test]
    fn pieces_are_joined_unless_another_stream_prints_between_them() {
        assert_eq!(
            printed(&[("stdout", "a", false), ("stdout", "b", false)]),
            "12:00:01 a\n12:00:01 b\n"
        );
        assert_eq!(
            printed(&[
                ("stdout", "10%\r", true),
                ("stdout", "20%\r", true),
                ("stdout", "done\r", false)
            ]),
            "12:00:01 10%\\r20%\\rdone\n"
        );
        assert_eq!(
            printed(&[
                ("stdout", "a", true),
                ("stderr", "w\t\u{1b}[2J", false),
                ("stdout", "b", false)
            ]),
            "12:00:01 a\n12:00:01 w\t\\u{1b}[2J\n12:00:01 b\n"
        );
        assert_eq!(printed(&[("stdout", "no end", true)]), "12:00:01 no end\n");
    }

    #[test]
    fn other_lines_are_printed_with_their_type_and_payload() {
        let mut console = Console::default();
        let line = json!({"type": "run.completed", "created_at": "2026-11-21T12:00:01.000000Z",
            "payload": {"status": "failed", "reason": null, "summary": {"lines": 1}}});
        assert_eq!(
            console.print(&line.to_string()).as_str(),
            "12:00:01 run.completed {\"status\":\"failed\"}\n"
        );
        assert_eq!(console.print("no\u{1b}JSON").as_str(), "no\\u{1b}JSON\n");
    }
}
