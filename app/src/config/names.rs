//! Finds names in the environment that are probably misspelt settings.

use super::setting::declared_settings;

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
                .map(|known| (distance(&name, known), known))
                .min()
                .filter(|(steps, _)| *steps <= 3)
            {
                Some((_, known)) => format!("{name} is not a setting; did you mean {known}?"),
                None => format!("{name} is not a setting"),
            }
        })
        .collect()
}

/// Returns the Levenshtein distance: the number of letters to add, remove or change to get from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let cost = (diagonal + usize::from(x != *y)).min(left + 1).min(*above + 1);
            diagonal = *above;
            *above = cost;
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_textbook() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn a_misspelt_name_is_reported_with_the_nearest_known_one() {
        let names = ["DAYBOOK_POOLSIZE", "DAYBOOK_BIND", "PATH", "DAYBOOK_SOMETHING_ELSE"].map(str::to_owned);
        assert_eq!(
            unknown_names(names.into_iter()),
            [
                "DAYBOOK_POOLSIZE is not a setting; did you mean DAYBOOK_POOL_SIZE?",
                "DAYBOOK_SOMETHING_ELSE is not a setting",
            ]
        );
    }
}
