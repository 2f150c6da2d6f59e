//! Names a run that was given no name, by its program and first argument.
//!
//! The whole command line is not used as a name: it may contain passwords, and a run's name is in events, which never
//! change. So the name is the program and its first argument, if that argument can't be a secret.

use std::ffi::OsString;

use crate::wide_events::Redaction;

/// The maximum length of a name, in characters.
const MAX_NAME_CHARS: usize = 200;
/// The maximum length of an argument in a name, in characters. A longer one is useless in a list.
const MAX_ARGUMENT_CHARS: usize = 60;
/// The minimum number of consecutive letters and digits in a word that may be a key.
const MIN_KEY_CHARS: usize = 16;
/// The prefixes of the keys of well-known services, ours first.
const KEY_PREFIXES: [&str; 22] = [
    "dbk_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "sk-",
    "sk_",
    "rk_",
    "pk_",
    "xox",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "npm_",
    "pypi-",
    "hf_",
    "SG.",
    "eyJ",
];

/// Returns the name of a run: the given one, or else one from the command. Known credentials are removed from both.
pub(super) fn name_of(given: Option<&str>, command: &[OsString]) -> String {
    let name = match given {
        Some(given) => without_credentials(given),
        None => name_of_command(command),
    };
    let name: String = name
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_NAME_CHARS)
        .collect();
    match name.trim() {
        "" => "command".to_owned(),
        name => name.to_owned(),
    }
}

fn name_of_command(command: &[OsString]) -> String {
    let mut words = command.iter().map(|word| word.to_string_lossy());
    let program = words.next().unwrap_or_default();
    let program = without_credentials(&program);
    match words.next().filter(|first| is_harmless(first)) {
        Some(first) => format!("{program} {first}"),
        None => program,
    }
}

/// Returns whether an argument is a word such as `test` or `import.py`: no option, assignment, address, script or key.
fn is_harmless(argument: &str) -> bool {
    !argument.is_empty()
        && argument.chars().count() <= MAX_ARGUMENT_CHARS
        && !argument.starts_with(['-', '+'])
        && !argument.contains(['=', '@', '?', '&', ';', '|', '$', '`', '\'', '"'])
        && !argument.contains("://")
        && !argument.chars().any(|c| c.is_whitespace() || c.is_control())
        && !is_key(argument)
        && without_credentials(argument) == argument
}

/// Returns whether a word looks like a key, by its prefix or by a long sequence of letters and digits.
fn is_key(word: &str) -> bool {
    let begins = KEY_PREFIXES.iter().any(|prefix| word.starts_with(prefix));
    let is_random = |row: &str| {
        let digits = row.bytes().any(|byte| byte.is_ascii_digit());
        row.len() >= MIN_KEY_CHARS && digits && row.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    let is_uuid = uuid::Uuid::try_parse(word).is_ok();
    begins || is_uuid || word.split(|c: char| !c.is_ascii_alphanumeric()).any(is_random)
}

/// Removes the credentials that the detectors of wide events find, and words that are keys.
fn without_credentials(text: &str) -> String {
    let text = Redaction::credentials().text(text).into_owned();
    let words = text.split(' ').map(|word| {
        let begins = KEY_PREFIXES.iter().any(|prefix| word.starts_with(prefix));
        if begins && word.len() >= MIN_KEY_CHARS {
            "[REDACTED]"
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(command: &[&str]) -> String {
        let command: Vec<_> = command.iter().map(OsString::from).collect();
        name_of(None, &command)
    }

    #[test]
    fn a_run_is_named_by_its_program_and_a_harmless_first_argument() {
        for (command, name) in [
            (&["cargo", "test", "--workspace"][..], "cargo test"),
            (&["./nightly.sh"], "./nightly.sh"),
            (
                &["python3", "import-customers-2026.py", "--password=hunter2"],
                "python3 import-customers-2026.py",
            ),
            (&["mysql", "--password=hunter2", "db"], "mysql"),
            (&["mysql", "-phunter2"], "mysql"),
            (&["env", "PASSWORD=hunter2", "prog"], "env"),
            (&["sh", "-c", "curl -u ada:hunter2 x"], "sh"),
            (&["curl", "https://ada:hunter2@example.com/"], "curl"),
            (&["psql", "postgres://ada:hunter2@db/x"], "psql"),
            (&["login", "dbk_0123456789abcdef"], "login"),
            (&["login", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"], "login"),
            (&["login", "AKIAIOSFODNN7EXAMPLE"], "login"),
            (
                &["login", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"],
                "login",
            ),
            (&["login", "wJalrXUtnFEMI7MDENGbPxRfiCYEXAMPLEKEY"], "login"),
            (&["login", "6f1f3c1e-5a3b-4d0e-9a53-0d5a4c8f1a2b"], "login"),
            (&["login", "two words"], "login"),
            (&["", ""], "command"),
        ] {
            assert_eq!(named(command), name, "{command:?}");
        }
    }

    #[test]
    fn a_given_name_is_kept_without_credentials() {
        assert_eq!(
            name_of(Some("nightly import of ada@example.com"), &[]),
            "nightly import of ada@example.com"
        );
        assert_eq!(
            name_of(Some("deploy password=hunter2 now"), &[]),
            "deploy password=[REDACTED] now"
        );
        assert_eq!(name_of(Some("deploy dbk_0123456789abcdef"), &[]), "deploy [REDACTED]");
        assert_eq!(name_of(Some("a\nb"), &[]), "a b");
        assert_eq!(name_of(Some(&"x".repeat(300)), &[]).len(), MAX_NAME_CHARS);
    }
}
