//! An HTTP client for the running service that a command calls.

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

/// The timeout for a connection, and for the head of a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);

/// The client's side of a live socket.
pub(super) type LiveSocket = WebSocketStream<Upgraded>;

/// Why a request to the service failed.
#[derive(Debug)]
pub(super) enum RemoteError {
    /// The service can't be reached or can't answer now. The request can be repeated.
    Unavailable(String),
    /// The service rejected the request, and would reject it again.
    Rejected(String),
    /// The request conflicts with the object's state.
    Conflict {
        /// The problem's code.
        code: String,
        /// The message for people.
        message: String,
    },
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The message may quote the service's response.
            Self::Unavailable(message) | Self::Rejected(message) | Self::Conflict { message, .. } => {
                f.write_str(&visible(message))
            }
        }
    }
}

impl std::error::Error for RemoteError {}

/// The service's address and the token for it.
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
struct ProblemBody {
    #[serde(rename = "type")]
    kind: Option<String>,
    detail: Option<String>,
}

impl Remote {
    /// Creates a client for the service in the settings.
    ///
    /// # Errors
    /// [`RemoteError::Rejected`] without a token.
    pub(super) fn of(config: &Config) -> Result<Self, RemoteError> {
        // An error means that it is installed already.
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
                            "no token: set DAYBOOK_TOKEN (`daybook token` creates one), or run this in the folder in \
                             which `daybook dev` has written {}",
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
            tracing::warn!("{url} is not encrypted: others in the network can read the token");
        }
        let http = Client::builder()
            .http1_only()
            // `answer` follows redirects itself, because reqwest would remove the token if the port changes.
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

    /// Returns the id of the team that `--team` gives by id or name, or of the token's only team.
    ///
    /// # Errors
    /// [`RemoteError::Rejected`] if no team or several match. It lists the teams.
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
            (None, _) if listed.is_empty() => Err(RemoteError::Rejected(
                "the token's person is in no team: add them to a team first".to_owned(),
            )),
            (None, _) => Err(RemoteError::Rejected(format!(
                "--team matches no team; the teams are: {listed}"
            ))),
            _ => Err(RemoteError::Rejected(format!("--team must be one of: {listed}"))),
        }
    }

    /// Gets the JSON at a path below the team's.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub(super) async fn get(&self, team_id: Uuid, path: &str, query: &[(&str, &str)]) -> Result<Value, RemoteError> {
        let url = format!("{}/v1/teams/{team_id}{path}", self.url);
        read(self.send(self.http.get(url).query(query)).await?).await
    }

    /// Posts to a path below the team's, and returns the JSON of the response.
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

    /// Streams the lines of NDJSON at a path below the team's.
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

    /// Opens the team's live socket. The handshake is written here, because a WebSocket crate would send the request
    /// itself. It would not follow a redirect with the token, and would not read problem documents.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub(super) async fn live(&self, team_id: Uuid) -> Result<LiveSocket, RemoteError> {
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
                "{} did not open a WebSocket: a proxy may have to be configured for WebSockets",
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
        let problem = answer.json::<ProblemBody>().await.ok();
        let (kind, detail) = problem.map_or((None, None), |problem| (problem.kind, problem.detail));
        let message = format!(
            "{} answered {status}: {}",
            self.url,
            detail.as_deref().unwrap_or("without details")
        );
        match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(RemoteError::Unavailable(message)),
            _ if status.is_server_error() => Err(RemoteError::Unavailable(message)),
            StatusCode::CONFLICT => {
                let code = kind.unwrap_or_default().trim_start_matches("/problems/").to_owned();
                // The process that holds the log releases it soon, or redirects to its address.
                match code.as_str() {
                    "log-held" => Err(RemoteError::Unavailable(message)),
                    _ => Err(RemoteError::Conflict { code, message }),
                }
            }
            _ => Err(RemoteError::Rejected(message)),
        }
    }
}

/// A stream of lines in a response.
pub(super) struct LineStream {
    answer: Response,
    buffer: Vec<u8>,
}

impl LineStream {
    /// Returns the next line, or `None` at the end.
    ///
    /// # Errors
    /// [`RemoteError::Unavailable`] if the connection breaks.
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

/// The maximum number of redirects to other processes.
const MAX_REDIRECTS: usize = 3;

impl Remote {
    /// Sends a request, and follows redirects to the process that has the object.
    async fn answer(&self, request: RequestBuilder) -> Result<Response, RemoteError> {
        let request = request.bearer_auth(self.token.expose());
        let mut request = request.build().map_err(|error| unavailable(&error))?;
        for _ in 0..MAX_REDIRECTS {
            let next = request.try_clone();
            let sending = self.http.execute(request);
            let answer = match tokio::time::timeout(RESPONSE_TIMEOUT, sending).await {
                Ok(answer) => answer.map_err(|error| unavailable(&error))?,
                Err(_) => return Err(RemoteError::Unavailable(format!("{} did not answer in time", self.url))),
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
        Err(RemoteError::Unavailable(format!("{} redirects too often", self.url)))
    }
}

async fn read<T: serde::de::DeserializeOwned>(answer: Response) -> Result<T, RemoteError> {
    answer.json().await.map_err(|error| unavailable(&error))
}

/// Converts an error of the HTTP client. Only the innermost cause is kept: it is more exact than reqwest's message, and
/// contains no path and query.
fn unavailable(error: &reqwest::Error) -> RemoteError {
    let mut deepest: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    RemoteError::Unavailable(deepest.to_string())
}

/// Returns an address to connect to. For a wildcard address that is the loopback address.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}
