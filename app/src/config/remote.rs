//! The settings for commands: the service that they connect to.

use super::settings::{Secret, Settings};

/// The service that commands connect to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RemoteConfig {
    /// Its URL, without a slash at the end. None: the address on which `serve` listens.
    pub url: Option<String>,
    /// The token to send. None: the token that `dev` writes to the data folder.
    pub token: Option<Secret>,
}

impl RemoteConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        settings.group("Commands");
        let url = settings
            .setting("DAYBOOK_URL", "The service that commands connect to.")
            .default("`http://$DAYBOOK_BIND`")
            .valid("the URL of a service, as in https://daybook.example.com", |value| {
                let authority = value
                    .strip_prefix("http://")
                    .or_else(|| value.strip_prefix("https://"))?;
                let authority = authority.trim_end_matches('/');
                let is_allowed = !authority.is_empty() && !authority.contains(['@', '?', '#', ' ']);
                is_allowed.then(|| value.trim_end_matches('/').to_owned())
            });
        let token = settings
            .setting("DAYBOOK_TOKEN", "The token that commands send to the service.")
            .default("the file `token` in the data folder, which `dev` writes")
            .credential("a token: visible ASCII characters on one line", |value| {
                let is_allowed = value.trim().bytes().all(|byte| byte.is_ascii_graphic());
                is_allowed
                    .then(|| Secret::new(value.trim()))
                    .ok_or_else(|| "must be a token: visible ASCII characters on one line".to_owned())
            });
        settings
            .setting("DAYBOOK_TEAM", "The team that commands work on, as with `--team`.")
            .default("the only team")
            .read_elsewhere("a team's id or name");
        Self { url, token }
    }
}
