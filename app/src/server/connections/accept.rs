//! Accepts connections and serves them.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use nix::errno::Errno;
use socket2::SockRef;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::activity::{Activity, Verdict};
use super::admission::{ConnectionGuard, Connections};
use super::service::ConnectionService;
use super::socket::Socket;

/// The pause after a connection could not be accepted because descriptors or memory ran out.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// Maximum time for a connection to close after it was asked to.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for a refused client to read its refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(500);
/// Maximum number of refused connections that wait for their client at once.
const MAX_REFUSALS: usize = 32;

/// Maximum size of a request head, and of buffered output, that an HTTP/1 connection keeps in memory.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Maximum number of written bytes in the kernel that have not been sent.
const MAX_UNSENT_BYTES: u32 = 64 * 1024;
/// Maximum number of open streams of an HTTP/2 connection. The sizes below are limits for HTTP/2, too.
const MAX_STREAMS: u32 = 100;
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;
const MAX_STREAM_SEND_BYTES: usize = 64 * 1024;
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;
/// How often an HTTP/2 client is pinged.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long the client has to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The response to a connection that is refused because the limit is reached.
const REFUSAL: &str = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: application/problem+json\r\ncontent-length: 139\r\n\r\n\
    {\"type\":\"/problems/unavailable\",\"title\":\"Unavailable\",\"status\":503,\
    \"detail\":\"this process has reached its limit of connections; try again\"}";

impl Connections {
    /// Serves a router's requests until `shutdown`, then waits until every connection has ended.
    ///
    /// Requests have [`ConnectInfo`](axum::extract::ConnectInfo) of their client's
    /// [`SocketAddr`](std::net::SocketAddr).
    pub async fn serve(&self, listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
        let builder = Arc::new(builder());
        let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
        let (close_all, closing) = watch::channel(false);
        // Each task holds a sender: the channel closes when the last connection has ended.
        let (alive, mut all_gone) = mpsc::channel::<Infallible>(1);
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.accept_failed(&error).await;
                    continue;
                }
            };
            let Some((guard, activity)) = self.admit(peer) else {
                self.0.counts.refused(self.0.limits.max);
                refuse(stream, &refusals);
                continue;
            };
            let connection = Connection {
                connections: self.clone(),
                activity: activity.clone(),
                closing: closing.clone(),
                builder: builder.clone(),
                service: ConnectionService {
                    router: router.clone(),
                    peer,
                    activity,
                },
            };
            let (stream, alive) = (self.equip(stream, guard), alive.clone());
            tokio::spawn(async move {
                connection.serve(stream).await;
                drop(alive);
            });
        }
        drop((listener, alive));
        close_all.send_replace(true);
        let _ = all_gone.recv().await;
    }

    fn equip(&self, stream: TcpStream, guard: ConnectionGuard) -> Socket {
        let socket = SockRef::from(&stream);
        // hyper doesn't poll a response that the client doesn't read, so only closing the connection can end it.
        let options = socket
            .set_tcp_user_timeout(Some(self.0.limits.write_timeout))
            .and_then(|()| socket.set_tcp_notsent_lowat(MAX_UNSENT_BYTES))
            .and_then(|()| socket.set_tcp_nodelay(true));
        if let Err(error) = options {
            tracing::debug!("could not set a connection's socket options: {error}");
        }
        Socket::new(stream, guard)
    }

    async fn accept_failed(&self, error: &io::Error) {
        // These errors concern a single connection, which is already closed.
        if matches!(
            error.kind(),
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
        ) {
            return;
        }
        self.0.counts.accept_failed(error);
        let errno = error.raw_os_error().map(Errno::from_raw);
        if matches!(errno, Some(Errno::EMFILE | Errno::ENFILE)) {
            let oldest = self.0.unauthenticated.lock().take_one();
            if let Some(oldest) = oldest {
                oldest.close();
                self.0.counts.closed_for_room();
            }
        }
        sleep(ACCEPT_BACKOFF).await;
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Header timeouts are enforced by our own code: hyper's would also close connections that are idle between
        // requests.
        .header_read_timeout(None)
        .max_buf_size(MAX_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_send_buf_size(MAX_STREAM_SEND_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}

/// Refuses a connection, without waiting for its client.
fn refuse(stream: TcpStream, refusals: &Arc<Semaphore>) {
    let socket = SockRef::from(&stream);
    // The send buffer is empty, so this doesn't block. It fails only if the client is gone.
    let sent = socket.send(REFUSAL.as_bytes());
    if sent.is_err() || socket.shutdown(Shutdown::Write).is_err() {
        return;
    }
    // Closing before the client's data is read would make the kernel discard the refusal.
    if let Ok(permit) = refusals.clone().try_acquire_owned() {
        tokio::spawn(async move {
            let mut stream = stream;
            let mut sink = [0; 1024];
            let drain = async { while matches!(stream.read(&mut sink).await, Ok(read) if read > 0) {} };
            let _ = timeout(REFUSAL_TIMEOUT, drain).await;
            drop(permit);
        });
    }
}

/// A connection and what serves it.
struct Connection {
    connections: Connections,
    activity: Arc<Activity>,
    closing: watch::Receiver<bool>,
    builder: Arc<Builder<TokioExecutor>>,
    service: ConnectionService,
}

impl Connection {
    async fn serve(self, socket: Socket) {
        let Self {
            connections,
            activity,
            mut closing,
            builder,
            service,
        } = self;
        let shared = &connections.0;
        let mut serving = pin!(builder.serve_connection_with_upgrades(TokioIo::new(socket), service));
        let mut next_check = pin!(sleep(shared.limits.header_timeout));
        let (mut closing_announced, mut last_chance) = (false, false);
        loop {
            tokio::select! {
                ended = &mut serving => {
                    if let Err(error) = ended {
                        tracing::debug!("a connection ended with an error: {error}");
                    }
                    // An upgraded connection is closed by the code of its new protocol.
                    activity.keep();
                    return;
                }
                () = activity.closed() => return,
                _ = closing.wait_for(|closing| *closing), if !closing_announced => {
                    closing_announced = true;
                    serving.as_mut().graceful_shutdown();
                }
                () = &mut next_check => {
                    match activity.verdict(&shared.limits) {
                        Verdict::Wait(time) => {
                            last_chance = false;
                            next_check.set(sleep(time));
                        }
                        Verdict::Idle if !last_chance => {
                            last_chance = true;
                            serving.as_mut().graceful_shutdown();
                            next_check.set(sleep(CLOSE_TIMEOUT));
                        }
                        Verdict::Idle | Verdict::NoRequest | Verdict::NotReading => {
                            shared.counts.timed_out();
                            return;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::REFUSAL;

    #[test]
    fn the_refusal_is_a_valid_response() {
        let (head, body) = REFUSAL.split_once("\r\n\r\n").unwrap();
        assert!(
            head.ends_with(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&problem["status"], &problem["type"]),
            (&503.into(), &"/problems/unavailable".into())
        );
    }
}
