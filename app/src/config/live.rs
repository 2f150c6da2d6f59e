//! The settings of live sockets.

use super::settings::Settings;

/// The settings of live sockets.
#[derive(Debug, Clone)]
#[non_exhaustive]
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
        settings.group("Live sockets");
        let listen = settings
            .setting(
                "DAYBOOK_LISTEN",
                "Whether the process receives other processes' changes by LISTEN; with `off` it polls once a second.",
            )
            .switch(true);
        let max_sockets = settings
            .setting(
                "DAYBOOK_LIVE_SOCKETS",
                "The maximum number of live sockets of a process.",
            )
            .number(1..=1_000_000, 20_000);
        let allowed_origins = settings
            .setting(
                "DAYBOOK_ALLOWED_ORIGINS",
                "The origins whose pages may open live sockets, in addition to the service's own.",
            )
            .valid(
                "origins, separated by commas, as in https://app.example.com,http://localhost:3000",
                origins,
            );
        Self {
            listen,
            max_sockets,
            allowed_origins: allowed_origins.unwrap_or_default(),
        }
    }
}

fn origins(value: &str) -> Option<Vec<String>> {
    value
        .split(',')
        .map(|origin| {
            let origin = origin.trim();
            match origin.split_once("://") {
                Some(("http" | "https", authority)) if !authority.is_empty() && !authority.contains(['/', '@']) => {
                    Some(origin.to_owned())
                }
                _ => None,
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
            Some(vec![
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
            assert!(origins(wrong).is_none(), "{wrong}");
        }
    }
}
