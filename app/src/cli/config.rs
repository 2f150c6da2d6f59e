//! `daybook config`: prints the effective settings and where their values come from.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use super::outcome::Outcome;
use super::output::{Line, print_json, print_line, print_styled_line};
use crate::config::{DefaultValue, EffectiveSetting, Secrecy, Source, effective_settings};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Print a JSON array with everything about each setting.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let settings = effective_settings()?;
    match args.json {
        true => {
            let settings: Vec<Value> = settings.iter().map(as_json).collect();
            print_json(serde_json::to_string_pretty(&settings)?)?;
        }
        false => print_table(&settings)?,
    }
    Ok(())
}

/// Prints a table for each group. All tables have the same column widths.
fn print_table(settings: &[EffectiveSetting]) -> Outcome {
    let name_width = settings.iter().map(|found| found.setting.name.len()).max();
    let value_width = settings.iter().map(|found| shown_value(found).chars().count()).max();
    // A longer value, such as a list of origins, moves the source to the right in its own row only.
    let (name_width, value_width) = (name_width.unwrap_or_default(), value_width.unwrap_or_default().min(48));
    for (at, group) in settings.chunk_by(|a, b| a.setting.group == b.setting.group).enumerate() {
        if at > 0 {
            print_line("")?;
        }
        print_line(group.first().map(|found| found.setting.group).unwrap_or_default())?;
        for found in group {
            let (name, value) = (found.setting.name, shown_value(found));
            let line = format!("  {name:<name_width$}  {value:<value_width$}  {}", found.source);
            print_styled_line(&Line::of(line))?;
        }
    }
    Ok(())
}

/// Formats the value for the table. A description of a default is in parentheses, so that it isn't mistaken for a
/// value.
fn shown_value(found: &EffectiveSetting) -> String {
    match (&found.value, &found.setting.default) {
        (Some(value), _) => value.clone(),
        (None, DefaultValue::Described(text)) => format!("({})", text.replace('`', "")),
        (None, _) => "(none)".to_owned(),
    }
}

fn as_json(found: &EffectiveSetting) -> Value {
    let setting = &found.setting;
    let (default, default_description) = match &setting.default {
        DefaultValue::None => (None, None),
        DefaultValue::Value(value) => (Some(value.as_str()), None),
        DefaultValue::Described(text) => (None, Some(text.replace('`', ""))),
    };
    let (source, file) = match &found.source {
        Source::Default => ("default", None),
        Source::Environment => ("environment", None),
        Source::File(path) => ("file", Some(path)),
    };
    json!({
        "name": setting.name,
        "group": setting.group,
        "value": found.value,
        "source": source,
        "file": file,
        "secret": setting.secrecy != Secrecy::Public,
        "default": default,
        "default_description": default_description,
        "valid_values": setting.values,
        "help": setting.help,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(default: DefaultValue, source: Source, value: Option<&str>) -> EffectiveSetting {
        EffectiveSetting {
            setting: crate::config::Setting {
                name: "DAYBOOK_TOKEN",
                group: "Commands",
                help: "The token.",
                values: "a token".to_owned(),
                default,
                secrecy: Secrecy::Credential,
            },
            source,
            value: value.map(str::to_owned),
        }
    }

    #[test]
    fn a_described_default_is_not_shown_as_a_value() {
        let described = || DefaultValue::Described("the file `token`");
        let unset = found(described(), Source::Default, None);
        assert_eq!(shown_value(&unset), "(the file token)");
        assert_eq!(shown_value(&found(DefaultValue::None, Source::Default, None)), "(none)");
        assert_eq!(as_json(&unset)["value"], Value::Null);
        assert_eq!(as_json(&unset)["default_description"], "the file token");
    }

    #[test]
    fn json_names_the_file_of_a_masked_secret() {
        let set = found(
            DefaultValue::None,
            Source::File("/run/token".to_owned()),
            Some("[secret]"),
        );
        let json = as_json(&set);
        assert_eq!(json["value"], "[secret]");
        assert_eq!(json["source"], "file");
        assert_eq!(json["file"], "/run/token");
        assert_eq!(json["secret"], true);
    }
}
