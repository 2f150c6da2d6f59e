//! The service that commands talk to.

use super::settings::{Secret, Settings};

/// The service that commands talk to.
#[derive(Debug, Clone)]
pub struct RemoteConfig {
    /// Its address, without a slash at its end. None: where `serve` would listen.
    pub url: Option<String>,
    /// What to present there. None: the token that `dev` leaves in the data folder.
    pub token: Option<Secret>,
}

impl RemoteConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        Self {
            url: settings.parsed("DAYBOOK_URL", |value| {
                let authority = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
                match authority.map(|authority| authority.trim_end_matches('/')) {
                    Some(authority) if !authority.is_empty() && !authority.contains(['@', '?', '#', ' ']) => {
                        Ok(value.trim_end_matches('/').to_owned())
                    }
                    _ => Err("must be the address of a service, as in https://daybook.example.com".to_owned()),
                }
            }),
            token: settings.secret("DAYBOOK_TOKEN", |value| {
                let shaped = value.trim().bytes().all(|byte| byte.is_ascii_graphic());
                shaped
                    .then(|| Secret::new(value.trim()))
                    .ok_or_else(|| "must be a token: visible ASCII characters in one line".to_owned())
            }),
        }
    }
}
