//! The service's settings, which are read from the environment once at start. Each area has a struct of its own.
//!
//! All invalid settings are reported together, each with its name, its value and what would be valid, so that five
//! typos don't take five starts to find. A setting that may contain a secret (a key, a database URL with its password)
//! is reported without its value, and [`Secret`] hides it in `{:?}`. An empty variable counts as not set.
//!
//! **A secret may be in a file**: each setting that may contain a secret can be given as `<NAME>_FILE`, the path of a
//! file. The file must belong to the service's user or to root, and nobody else may read it (`chmod 600`):
//! `DAYBOOK_JWT_SECRET_FILE`, `DATABASE_URL_FILE`, `DAYBOOK_REDACTION_KEY_FILE` and so on.
//!
//! **A setting is declared once**, where its area reads it: name, help, valid values, default, secrecy. The parsing
//! with its errors, the known names, `docs/configuration.md` and `daybook config` come from this declaration.

mod all;
mod auth;
mod connections;
mod database;
mod environment;
mod http;
mod jobs;
mod listed;
mod live;
mod names;
mod process;
#[cfg(test)]
mod reference;
mod remote;
mod runs;
mod secret_file;
mod setting;
mod settings;
mod wide_events;

pub use all::Config;
#[cfg(feature = "cli")]
pub(crate) use auth::MIN_SECRET_BYTES;
pub use auth::{AuthConfig, JwtKey, PublicKey, PublicKeyAlgorithm};
pub use connections::ConnectionsConfig;
pub use database::DatabaseConfig;
pub use environment::effective_settings;
pub use http::HttpConfig;
pub use jobs::JobsConfig;
pub use listed::credential_names;
pub use live::LiveConfig;
#[cfg(feature = "cli")]
pub(crate) use process::DEFAULT_LOG_FILTER;
pub use remote::RemoteConfig;
pub use runs::RunsConfig;
#[cfg(feature = "cli")]
pub(crate) use secret_file::read_secret_file;
pub use setting::{DefaultValue, EffectiveSetting, Secrecy, Setting, Source};
pub use settings::{BadSetting, BadSettings, Secret};
pub use wide_events::WideEventsConfig;
