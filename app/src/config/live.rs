//! The settings of live sockets.

use super::settings::Settings;

/// The settings of live sockets.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    /// Whether the process listens for signals of other processes. Otherwise it polls.
    pub listen: bool,
    /// Maximum number of sockets of a process.
    pub max_sockets: usize,
    /// Origins whose pages may open sockets, in addition to the service's own.
    pub allowed_origins: Vec<String>,
}

impl LiveConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        Self {
            listen: settings.switch("DAYBOOK_LISTEN", true),
            max_sockets: settings.number("DAYBOOK_LIVE_SOCKETS", 1..=1_000_000, 20_000),
            allowed_origins: settings.parsed("DAYBOOK_ALLOWED_ORIGINS", origins).unwrap_or_default(),
        }
    }
}

fn origins(value: &str) -> Result<Vec<String>, String> {
    value
        .split(',')
        .map(|origin| {
            let origin = origin.trim();
            match origin.split_once("://") {
                Some(("http" | "https", authority)) if !authority.is_empty() && !authority.contains('/') => {
                    Ok(origin.to_owned())
                }
                _ => Err(
                    "must be origins, separated by commas, as in https://app.example.com,http://localhost:3000"
                        .to_owned(),
                ),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_a_scheme_and_no_path() {
        assert_eq!(
            origins("https://app.example.com, http://localhost:3000"),
            Ok(vec![
                "https://app.example.com".to_owned(),
                "http://localhost:3000".to_owned()
            ])
        );
        for wrong in [
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://a,",
            "*",
        ] {
            assert!(origins(wrong).is_err(), "{wrong}");
        }
    }
}
