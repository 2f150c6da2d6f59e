//! The running service that a command talks to, over HTTP.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Upgraded, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use uuid::Uuid;

use crate::config::{Config, Secret, read_secret_file};
use crate::terminal::visible;

/// How long a connection, and an answer's beginning, may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);

/// A live socket, at the client's end.
pub(super) type Socket = WebSocketStream<Upgraded>;

/// Why the service didn't do what it was asked.
#[derive(Debug)]
pub(super) enum RemoteError {
    /// It can't be reached, or can't answer now: worth trying again.
    Unavailable(String),
    /// It said no, and would again.
    Rejected(String),
    /// What was asked for contradicts what is there.
    Conflict {
        /// The problem's code.
        code: String,
        /// What it said.
        words: String,
    },
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A service's own words are in it.
            Self::Unavailable(words) | Self::Rejected(words) | Self::Conflict { words, .. } => {
                f.write_str(&visible(words))
            }
        }
    }
}

impl std::error::Error for RemoteError {}

/// A service, and what to present there.
pub(super) struct Remote {
    url: String,
    token: Secret,
    http: Client,
}

#[derive(Deserialize)]
struct Me {
    teams: Vec<OwnTeam>,
}

#[derive(Deserialize)]
struct OwnTeam {
    id: Uuid,
    name: String,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "type")]
    kind: Option<String>,
    detail: Option<String>,
}

impl Remote {
    /// The service that the settings name.
    ///
    /// # Errors
    /// [`RemoteError::Rejected`] without a token.
    pub(super) fn of(config: &Config) -> Result<Self, RemoteError> {
        // Once a process; who was first has installed the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = config
            .remote
            .url
            .clone()
            .unwrap_or_else(|| format!("http://{}", reachable(config.http.bind)));
        let token = match &config.remote.token {
            Some(token) => token.clone(),
            None => {
                let file = config.data_dir.join("token");
                let token = read_secret_file(&file, 1).map_err(|error| {
                    RemoteError::Rejected(match error.is_missing() {
                        true => format!(
                            "no token: set DAYBOOK_TOKEN (`daybook token` makes one), or run this where `daybook dev` has \
                             left {}",
                            file.display()
                        ),
                        false => error.to_string(),
                    })
                })?;
                Secret::new(token)
            }
        };
        let local = ["http://127.", "http://[::1]", "http://localhost"];
        if url.starts_with("http://") && !local.iter().any(|local| url.starts_with(local)) {
            tracing::warn!("{url} is not encrypted: whoever is on the way can read the token");
        }
        let http = Client::builder()
            .http1_only()
            // Followed here, with what was to be presented: reqwest leaves that out where another port answers.
            .redirect(Policy::none())
            .connect_timeout(RESPONSE_TIMEOUT)
            .user_agent(concat!("daybook/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| RemoteError::Rejected(error.to_string()))?;
        Ok(Self { url, token, http })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The team that was named by id or name, or the token's only one.
    ///
    /// # Errors
    /// [`RemoteError`], that names the teams there are.
    pub(super) async fn team(&self, wanted: Option<&str>) -> Result<Uuid, RemoteError> {
        let wanted = wanted.filter(|wanted| !wanted.trim().is_empty());
        if let Some(id) = wanted.and_then(|wanted| Uuid::try_parse(wanted).ok()) {
            return Ok(id);
        }
        let me: Me = read(self.send(self.http.get(format!("{}/v1/me", self.url))).await?).await?;
        let listed = me
            .teams
            .iter()
            .map(|team| format!("{} ({})", team.name, team.id))
            .collect::<Vec<_>>()
            .join(", ");
        let mut matching = me
            .teams
            .into_iter()
            .filter(|team| wanted.is_none_or(|wanted| team.name == wanted));
        match (matching.next(), matching.next()) {
            (Some(team), None) => Ok(team.id),
            (None, _) if listed.is_empty() => {
                Err(RemoteError::Rejected("this token's person is in no team".to_owned()))
            }
            (None, _) => Err(RemoteError::Rejected(format!(
                "--team names none of the teams there are: {listed}"
            ))),
            _ => Err(RemoteError::Rejected(format!("--team must name one of: {listed}"))),
        }
    }

    /// The JSON at a path under the team's.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub(super) async fn get(&self, team_id: Uuid, path: &str, query: &[(&str, &str)]) -> Result<Value, RemoteError> {
        let url = format!("{}/v1/teams/{team_id}{path}", self.url);
        read(self.send(self.http.get(url).query(query)).await?).await
    }

    /// Posts to a path under the team's, and gives the answer's JSON.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub(super) async fn post(
        &self,
        team_id: Uuid,
        path: &str,
        headers: &[(&str, String)],
        body: String,
        content_type: &str,
    ) -> Result<Value, RemoteError> {
        let url = format!("{}/v1/teams/{team_id}{path}", self.url);
        let mut request = self.http.post(url).header(CONTENT_TYPE, content_type).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        read(self.send(request).await?).await
    }

    /// The lines of NDJSON at a path under the team's, as they come.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub(super) async fn lines(
        &self,
        team_id: Uuid,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<LineStream, RemoteError> {
        let url = format!("{}/v1/teams/{team_id}{path}", self.url);
        let request = self.http.get(url).query(query).header(ACCEPT, "application/x-ndjson");
        Ok(LineStream {
            answer: self.send(request).await?,
            buffer: Vec::new(),
        })
    }

    /// Opens the team's live socket.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub(super) async fn live(&self, team_id: Uuid) -> Result<Socket, RemoteError> {
        let key = generate_key();
        let request = self
            .http
            .get(format!("{}/v1/teams/{team_id}/live", self.url))
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key);
        let answer = self.send(request).await?;
        let accepted = answer
            .headers()
            .get(SEC_WEBSOCKET_ACCEPT)
            .map(|accept| accept.as_bytes().to_vec());
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS
            || accepted != Some(derive_accept_key(key.as_bytes()).into())
        {
            return Err(RemoteError::Rejected(format!(
                "{} answers, but not with a WebSocket: a proxy between may need to be told to pass it on",
                self.url
            )));
        }
        let upgraded = answer.upgrade().await.map_err(|error| unavailable(&error))?;
        Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, RemoteError> {
        let answer = self.answer(request).await?;
        let status = answer.status();
        if !(status.is_client_error() || status.is_server_error()) {
            return Ok(answer);
        }
        let refusal = answer.json::<Refusal>().await.ok();
        let (kind, said) = refusal.map_or((None, None), |refusal| (refusal.kind, refusal.detail));
        let words = format!(
            "{} answered {status}: {}",
            self.url,
            said.as_deref().unwrap_or("and no more")
        );
        match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(RemoteError::Unavailable(words)),
            _ if status.is_server_error() => Err(RemoteError::Unavailable(words)),
            StatusCode::CONFLICT => {
                let code = kind.unwrap_or_default().trim_start_matches("/problems/").to_owned();
                // Whoever holds a log will let it go, or say where it is.
                match code.as_str() {
                    "log-held" => Err(RemoteError::Unavailable(words)),
                    _ => Err(RemoteError::Conflict { code, words }),
                }
            }
            _ => Err(RemoteError::Rejected(words)),
        }
    }
}

/// LineStream as they come.
pub(super) struct LineStream {
    answer: Response,
    buffer: Vec<u8>,
}

impl LineStream {
    /// The next line; none at the end.
    ///
    /// # Errors
    /// [`RemoteError::Unavailable`] when it ends too early.
    pub(super) async fn next(&mut self) -> Result<Option<String>, RemoteError> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(line.trim_ascii_end()).into_owned()));
            }
            match self.answer.chunk().await.map_err(|error| unavailable(&error))? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

/// How often one may be sent on to another process.
const MAX_REDIRECTS: usize = 3;

impl Remote {
    /// Sends a request, on to the process that has what it is about.
    async fn answer(&self, request: RequestBuilder) -> Result<Response, RemoteError> {
        let request = request.bearer_auth(self.token.expose());
        let mut request = request.build().map_err(|error| unavailable(&error))?;
        for _ in 0..MAX_REDIRECTS {
            let next = request.try_clone();
            let sending = self.http.execute(request);
            let answer = match tokio::time::timeout(RESPONSE_TIMEOUT, sending).await {
                Ok(answer) => answer.map_err(|error| unavailable(&error))?,
                Err(_) => return Err(RemoteError::Unavailable(format!("{} doesn't answer", self.url))),
            };
            let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let location = location.and_then(|location| Url::parse(location).ok());
            match (answer.status(), next, location) {
                (StatusCode::TEMPORARY_REDIRECT, Some(mut next), Some(location)) => {
                    *next.url_mut() = location;
                    request = next;
                }
                _ => return Ok(answer),
            }
        }
        Err(RemoteError::Unavailable(format!("{} sends us in circles", self.url)))
    }
}

async fn read<T: serde::de::DeserializeOwned>(answer: Response) -> Result<T, RemoteError> {
    answer.json().await.map_err(|error| unavailable(&error))
}

/// Without the address's path and query, and with the cause, which says more than reqwest's own words.
fn unavailable(error: &reqwest::Error) -> RemoteError {
    let mut deepest: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    RemoteError::Unavailable(deepest.to_string())
}

/// An address that listens on all of a machine's is reached by the loopback one.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}
