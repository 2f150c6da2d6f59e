//! The list of all settings.

use super::all::Config;
use super::setting::{EffectiveSetting, Secrecy, Setting};
use super::settings::{BadSettings, Settings};

/// Returns all settings in groups, with the values that `lookup` returns.
pub(super) fn effective_settings_from(
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<EffectiveSetting>, BadSettings> {
    let mut settings = Settings::new(lookup);
    Config::read(&mut settings);
    let found = settings.take_found();
    settings.finish(found)
}

/// Returns the declarations of all settings.
pub(super) fn declared_settings() -> Vec<Setting> {
    let mut settings = Settings::new(&|_| None);
    Config::read(&mut settings);
    settings.take_found().into_iter().map(|found| found.setting).collect()
}

/// Returns the names of the settings whose values give access to Daybook. They are not passed to programs that Daybook
/// starts, because no program needs them. `DATABASE_URL` is not one of them: other programs use this name for their own
/// database, so it is passed.
pub fn credential_names() -> Vec<&'static str> {
    let settings = declared_settings().into_iter();
    settings
        .filter(|setting| setting.secrecy == Secrecy::Credential)
        .map(|setting| setting.name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::setting::Source;
    use super::*;

    fn found(pairs: &[(&str, &str)], name: &str) -> (Source, Option<String>) {
        let lookup = |name: &str| pairs.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned());
        let all = effective_settings_from(&lookup).unwrap();
        let found = all.into_iter().find(|found| found.setting.name == name).unwrap();
        (found.source, found.value)
    }

    #[test]
    fn a_value_comes_from_the_default_or_the_environment() {
        assert_eq!(found(&[], "DAYBOOK_JOBS"), (Source::Default, Some("10".to_owned())));
        let pairs = [("DAYBOOK_JOBS", "3")];
        assert_eq!(
            found(&pairs, "DAYBOOK_JOBS"),
            (Source::Environment, Some("3".to_owned()))
        );
        assert_eq!(found(&pairs, "DAYBOOK_REGION"), (Source::Default, None));
        assert_eq!(found(&[], "DAYBOOK_CONNECTIONS"), (Source::Default, None));
    }

    #[test]
    fn settings_that_other_code_reads_have_values_too() {
        let pairs = [("DAYBOOK_TEAM", "Alpha"), ("DAYBOOK_TEST_DATABASE_URL", "hunter2")];
        assert_eq!(
            found(&pairs, "DAYBOOK_TEAM"),
            (Source::Environment, Some("Alpha".to_owned()))
        );
        assert_eq!(
            found(&pairs, "DAYBOOK_TEST_DATABASE_URL"),
            (Source::Environment, Some("[secret]".to_owned()))
        );
    }

    #[test]
    fn a_secret_is_masked_wherever_it_comes_from() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "hunter2-hunter2-hunter2").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let path = path.to_str().unwrap();
        let masked = Some("[secret]".to_owned());
        assert_eq!(
            found(&[("DAYBOOK_REDACTION_KEY_FILE", path)], "DAYBOOK_REDACTION_KEY"),
            (Source::File(path.to_owned()), masked.clone())
        );
        assert_eq!(
            found(
                &[("DAYBOOK_REDACTION_KEY", "hunter2-hunter2-hunter2")],
                "DAYBOOK_REDACTION_KEY"
            ),
            (Source::Environment, masked)
        );
    }

    #[test]
    fn every_setting_is_declared_once_and_described() {
        let declared = declared_settings();
        for (at, setting) in declared.iter().enumerate() {
            let name = setting.name;
            assert!(!declared[..at].iter().any(|other| other.name == name), "{name} twice");
            assert!(!setting.group.is_empty() && !setting.values.is_empty(), "{name}");
            assert!(setting.help.ends_with('.'), "{name}: help is a sentence");
        }
    }

    #[test]
    fn credentials_are_those_that_give_access() {
        let mut names = credential_names();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "DAYBOOK_APP_URL",
                "DAYBOOK_DIRECT_URL",
                "DAYBOOK_JWT_SECRET",
                "DAYBOOK_REDACTION_KEY",
                "DAYBOOK_TOKEN",
                "DAYBOOK_WORKER_URL",
            ]
        );
    }
}
