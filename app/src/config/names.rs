//! Finds names in the environment that are probably misspelt settings.

use super::listed::declared_settings;

/// The prefix of the names that belong to Daybook.
const PREFIX: &str = "DAYBOOK_";

/// Returns the names of all settings, and the variables that may name files with their values.
fn known_names() -> Vec<String> {
    let settings = declared_settings().into_iter();
    let names = settings.flat_map(|setting| [Some(setting.name.to_owned()), setting.file_name()]);
    names.flatten().filter(|name| name.starts_with(PREFIX)).collect()
}

/// Returns a warning for each unknown name that begins with `DAYBOOK_`.
pub(super) fn unknown_names(names: impl Iterator<Item = String>) -> Vec<String> {
    let known = known_names();
    let mut unknown: Vec<String> = names
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .collect();
    unknown.sort_unstable();
    unknown
        .into_iter()
        .map(|name| {
            match known
                .iter()
                .map(|known| (strsim::levenshtein(&name, known), known))
                .min()
                .filter(|(steps, _)| *steps <= 3)
            {
                Some((_, known)) => format!("{name} is not a setting and has no effect; did you mean {known}?"),
                None => format!("{name} is not a setting and has no effect"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_reported_with_the_nearest_known_one() {
        let names = ["DAYBOOK_POOLSIZE", "DAYBOOK_BIND", "PATH", "DAYBOOK_SOMETHING_ELSE"].map(str::to_owned);
        assert_eq!(
            unknown_names(names.into_iter()),
            [
                "DAYBOOK_POOLSIZE is not a setting and has no effect; did you mean DAYBOOK_POOL_SIZE?",
                "DAYBOOK_SOMETHING_ELSE is not a setting and has no effect",
            ]
        );
    }
}
