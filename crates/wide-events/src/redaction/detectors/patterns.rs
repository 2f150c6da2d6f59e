//! The regular expression of each detector. `regex` has no look-around, so a match may include the character before the
//! secret. The secret is the first group that has matched.

use std::sync::LazyLock;

use regex::Regex;

use super::Detector;

impl Detector {
    pub(super) fn pattern(self) -> &'static Regex {
        PATTERNS.get(self.index()).unwrap_or(&NEVER)
    }

    const fn source(self) -> &'static str {
        match self {
            Self::PrivateKey => r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(.+?)(?:-----END|\z)",
            // Greedy up to the last @ before the path, because a password may contain one.
            Self::UrlCredentials => concat!(
                r"://[^\s/?#:@]*:([^\s/?#]+)@",
                // A token as the user name: https://<token>@git.example.com
                r"|://([A-Za-z0-9_-]{20,})@",
            ),
            Self::BearerToken => r"(?i-u:\b(?:bearer|basic))[ \t:]+([A-Za-z0-9._~+/=|-]{6,})",
            // Two parts are enough: a cut token has no signature.
            Self::Jwt => r"(?:^|[^A-Za-z0-9_-])(eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*)",
            Self::SecretParameter => concat!(
                r"(?i-u:(?:passw(?:or)?d|passphrase|pwd|secret|token|ticket|api[_-]?key|access[_-]?key|signature|jwt))",
                r"=([^&\s]+)",
                // Words that have another meaning in a text, but are secrets as parameters of a URL.
                r"|(?i-u:(?:^|[?&;#])(?:key|auth|session|session_?id|sid|sig|code|pass))=([^&\s#]+)",
                // A piece of JSON, as in an error's message.
                r#"|(?i-u:"[a-z0-9_-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|ticket|api[_-]?key|signature|jwt)")"#,
                r#"\s*:\s*"([^"]+)"#,
            ),
            // The prefix is kept: it identifies the key in the team's list, and gives no access.
            Self::DaybookKey => concat!(
                r"dbk_[A-Za-z0-9]{1,64}_([A-Za-z0-9]{4,})",
                r"|dbk_([A-Za-z0-9]{20,})",
                r"|dbt_([A-Za-z0-9_-]{8,})",
            ),
            Self::CloudKey => concat!(
                // AWS: access key ids.
                r"((?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
                // GitHub.
                r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}",
                // Google.
                r"|AIza[A-Za-z0-9_-]{30,}",
                // Slack.
                r"|xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}",
                // Stripe, and webhook secrets.
                r"|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,}",
                // npm, OpenAI, Anthropic.
                r"|npm_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,})",
            ),
            Self::Email => r#"([^\s@<>"'(),:;/?=&\[\]]+(?:@|%40)[^\s@<>"'(),:;/?=&.]+(?:\.[^\s@<>"'(),:;/?=&.]+)+)"#,
            Self::Card => r"(?:^|[^A-Za-z0-9.])([0-9](?:[ -]?[0-9]){12,})(?-u:\b)",
            Self::IpAddress => concat!(
                r"(?:^|[^A-Za-z0-9.])((?:[0-9A-Fa-f:]*:)?[0-9]{1,3}(?:\.[0-9]{1,3}){3}",
                r"|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?-u:\b)"
            ),
        }
    }
}

static PATTERNS: LazyLock<[Regex; Detector::ALL.len()]> =
    LazyLock::new(|| Detector::ALL.map(|detector| compiled(detector.source())));
static NEVER: LazyLock<Regex> = LazyLock::new(|| compiled("a^"));

#[expect(clippy::expect_used, reason = "constants of this file, all compiled by its tests")]
fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of this file")
}
