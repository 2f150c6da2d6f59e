//! The settings for commands: the service that they connect to.

use super::settings::{Secret, Settings};

/// The service that commands connect to.
#[derive(Debug, Clone)]
pub struct RemoteConfig {
    /// Its URL, without a slash at the end. None: the address on which `serve` listens.
    pub url: Option<String>,
    /// The token to send. None: the token that `dev` writes to the data folder.
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
                    _ => Err("must be the URL of a service, as in https://daybook.example.com".to_owned()),
                }
            }),
            token: settings.secret("DAYBOOK_TOKEN", |value| {
                let is_allowed = value.trim().bytes().all(|byte| byte.is_ascii_graphic());
                is_allowed
                    .then(|| Secret::new(value.trim()))
                    .ok_or_else(|| "must be a token: visible ASCII characters on one line".to_owned())
            }),
        }
    }
}
