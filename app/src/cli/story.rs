//! `daybook story`: prints everything with one correlation id, as a tree of sentences.

use std::collections::HashMap;

use anstyle::{AnsiColor, Style};
use clap::Args as ClapArgs;
use serde_json::Value;
use uuid::Uuid;

use super::outcome::Outcome;
use super::output::{Line, print_json, print_line, print_styled_line, stdout_is_terminal, wants_colours};
use super::remote::Remote;
use crate::config::Config;

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The correlation id of an event or of a job session, or the trace id of a request.
    id: Uuid,
    /// The team's id or name. Optional if the token's person is in only one team.
    #[arg(long, env = "DAYBOOK_TEAM")]
    team: Option<String>,
    /// Print the service's JSON response.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, args: Args) -> Outcome {
    let remote = Remote::of(config)?;
    let team_id = remote.team(args.team.as_deref()).await?;
    let story = remote.get(team_id, &format!("/stories/{}", args.id), &[]).await?;
    if args.json {
        print_json(&story)?;
        return Ok(());
    }
    let steps = story["steps"].as_array().map_or(&[][..], Vec::as_slice);
    for line in tree(steps, stdout_is_terminal() && wants_colours()) {
        print_styled_line(&line)?;
    }
    if story["truncated"] == true {
        print_line("… and more steps, which the service left out")?;
    }
    Ok(())
}

/// Returns the steps as a tree: each step below its cause, and steps with the same cause in order.
fn tree(steps: &[Value], coloured: bool) -> Vec<Line> {
    let ids: HashMap<&str, usize> = steps
        .iter()
        .enumerate()
        .filter_map(|(at, step)| Some((step["id"].as_str()?, at)))
        .collect();
    let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    for (at, step) in steps.iter().enumerate() {
        let cause = step["caused_by"]["id"].as_str().and_then(|id| ids.get(id).copied());
        children.entry(cause).or_default().push(at);
    }
    let mut lines = Vec::new();
    for root in children.get(&None).cloned().unwrap_or_default() {
        append_step(steps, &children, root, "", "", coloured, &mut lines);
    }
    lines
}

fn append_step(
    steps: &[Value],
    children: &HashMap<Option<usize>, Vec<usize>>,
    at: usize,
    branch: &str,
    under: &str,
    coloured: bool,
    lines: &mut Vec<Line>,
) {
    let step = &steps[at];
    lines.push(Line::of(branch).then(&sentence(step, coloured)));
    let actions: Vec<String> = step["actions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|action| format!("{} {}", clock(&action["at"]), text_of(&action["sentence"])))
        .collect();
    let caused = children.get(&Some(at)).map_or(&[][..], Vec::as_slice);
    let last = actions.len() + caused.len();
    let ends = |number: usize| {
        if number + 1 == last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        }
    };
    for (number, action) in actions.iter().enumerate() {
        lines.push(Line::of(format_args!("{under}{}{action}", ends(number).0)));
    }
    for (number, child) in caused.iter().enumerate() {
        let (branch, deeper) = ends(actions.len() + number);
        append_step(
            steps,
            children,
            *child,
            &format!("{under}{branch}"),
            &format!("{under}{deeper}"),
            coloured,
            lines,
        );
    }
}

fn sentence(step: &Value, coloured: bool) -> Line {
    let (session, run) = (&step["session"], &step["run"]);
    let status = text_of(if run.is_null() {
        &session["status"]
    } else {
        &run["status"]
    });
    let style = match (coloured, status) {
        (false, _) => Style::new(),
        (true, "succeeded") => AnsiColor::Green.on_default(),
        (true, "queued" | "building" | "running") => AnsiColor::Cyan.on_default(),
        (true, _) => AnsiColor::Red.on_default(),
    };
    match step["kind"].as_str() {
        Some("job") => {}
        Some("run") => {
            let code = run["exit_code"]
                .as_i64()
                .map_or_else(String::new, |code| format!(", exit code {code}"));
            let (at, name, id) = (clock(&step["at"]), text_of(&run["name"]), text_of(&run["id"]));
            return Line::of(format_args!("{at} Run “{name}” ("))
                .styled(style, status)
                .text(format_args!("{code}): daybook runs log {id}"));
        }
        _ => {
            return Line::of(format_args!(
                "{} {}",
                clock(&step["at"]),
                text_of(&step["event"]["text"])
            ));
        }
    }
    let attempt = match session["attempt"].as_i64() {
        Some(attempt) if attempt > 1 => format!(", attempt {attempt}"),
        _ => String::new(),
    };
    let why = match session["error"]["message"].as_str() {
        Some(message) => format!(": {message}"),
        None => String::new(),
    };
    let start = format!("{} {} (", clock(&step["at"]), text_of(&session["sentence"]));
    Line::of(start)
        .styled(style, status)
        .text(format_args!("{attempt}{why})"))
}

fn clock(at: &Value) -> String {
    let at = at.as_str().and_then(|at| chrono::DateTime::parse_from_rfc3339(at).ok());
    at.map_or_else(String::new, |at| at.format("%F %T").to_string())
}

fn text_of(text: &Value) -> &str {
    text.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_story_is_a_tree_of_sentences() {
        let at = "2026-11-21T10:00:01Z";
        let steps = [
            json!({"kind": "event", "id": "e1", "at": at, "caused_by": null, "event": {"text": "Ada created campaign “Spring”"}}),
            json!({"kind": "job", "id": "j1", "at": at, "caused_by": {"kind": "event", "id": "e1"},
                "session": {"sentence": "Started giving an event to crm", "status": "failed", "attempt": 2,
                    "error": {"message": "the\nhost is away"}},
                "actions": [{"at": at, "sentence": "Asked the host"}]}),
            json!({"kind": "event", "id": "e2", "at": at, "caused_by": {"kind": "job", "id": "j1"}, "event": {"text": "crm \u{1b}[2J archived it"}}),
            json!({"kind": "event", "id": "e3", "at": at, "caused_by": {"kind": "event", "id": "e1"}, "event": {"text": "Ada approved it"}}),
        ];
        let tree: Vec<_> = tree(&steps, false);
        assert_eq!(
            tree.iter().map(Line::as_str).collect::<Vec<_>>(),
            [
                "2026-11-21 10:00:01 Ada created campaign “Spring”",
                "├─ 2026-11-21 10:00:01 Started giving an event to crm (failed, attempt 2: the\\nhost is away)",
                "│  ├─ 2026-11-21 10:00:01 Asked the host",
                "│  └─ 2026-11-21 10:00:01 crm \\u{1b}[2J archived it",
                "└─ 2026-11-21 10:00:01 Ada approved it",
            ]
        );
    }
}
