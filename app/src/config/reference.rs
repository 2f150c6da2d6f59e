//! The tables of `docs/configuration.md`, which are generated from the declarations.

use std::fmt::Write as _;

use super::listed::declared_settings;
use super::setting::{DefaultValue, Secrecy, Setting};

/// The lines around the generated part. The text outside of them is written by hand.
const BEGIN: &str = "<!-- Generated from app/src/config: see CONTRIBUTING.md, \"A new setting\". -->\n";
const END: &str = "<!-- End of the generated part. -->\n";

/// Returns one table for each group, in Markdown.
fn tables(settings: &[Setting]) -> String {
    let mut text = String::new();
    for group in settings.chunk_by(|a, b| a.group == b.group) {
        let heading = group.first().map(|setting| setting.group).unwrap_or_default();
        let _ = write!(
            text,
            "\n## {heading}\n\n| setting | meaning | valid values | default |\n|---|---|---|---|\n"
        );
        for setting in group {
            let default = match &setting.default {
                DefaultValue::None => "none".to_owned(),
                DefaultValue::Value(value) => format!("`{value}`"),
                DefaultValue::Described(text) => (*text).to_owned(),
            };
            let secret = match setting.secrecy {
                Secrecy::Public | Secrecy::HiddenInTests => "",
                Secrecy::Hidden => " Never printed; may be in a file.",
                Secrecy::Credential => " Secret; may be in a file.",
            };
            let (name, help, values) = (setting.name, setting.help, &setting.values);
            let _ = writeln!(text, "| `{name}` | {help}{secret} | {values} | {default} |");
        }
    }
    text.push('\n');
    text
}

#[test]
fn the_reference_lists_what_is_declared() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let written = std::fs::read_to_string(path).unwrap();
    let (before, rest) = written.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let found = format!("{before}{BEGIN}{}{END}{after}", tables(&declared_settings()));
    if std::env::var_os("DAYBOOK_BLESS").is_some() {
        std::fs::write(path, &found).unwrap();
        return;
    }
    assert!(
        written == found,
        "docs/configuration.md does not list what is declared; DAYBOOK_BLESS=1 rewrites it"
    );
}
