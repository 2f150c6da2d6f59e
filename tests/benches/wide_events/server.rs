//! The servers: this program, started again for each variant.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use axum::Router;
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::routing::get;
use daybook::config::Config;
use daybook::server::wide_event_config;
use daybook::wide_events::{Sink, WideEvent, WideEventLayer};
use tower_http::trace::{DefaultOnResponse, TraceLayer};
use tracing::{Level, Span, field};

/// The argument that makes this program a server.
pub const COMMAND: &str = "serve";

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// No line is written.
    Bare,
    Ours,
    /// Fields on the span of `TraceLayer`, written with the response.
    Trace,
    /// One `info!` in the handler, without status and latency.
    Info,
}

impl Variant {
    pub const ALL: [Self; 4] = [Self::Bare, Self::Ours, Self::Trace, Self::Info];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Ours => "ours",
            Self::Trace => "trace",
            Self::Info => "info",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Bare => "bare axum, no line",
            Self::Ours => "Daybook",
            Self::Trace => "TraceLayer, fields on its span",
            Self::Info => "one info! with all fields",
        }
    }
}

impl std::str::FromStr for Variant {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|variant| variant.name() == name)
            .ok_or_else(|| name.to_owned())
    }
}

/// A server in its own process, which ends when this value is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(variant: Variant, fields: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([COMMAND, variant.name(), &fields.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            child,
            address: line.trim().parse().unwrap(),
        }
    }

    /// Returns the CPU time of all its threads, as the scheduler counts it.
    pub fn cpu_ns(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let ran = |thread: io::Result<fs::DirEntry>| -> u64 {
            let text = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
            text.split_whitespace().next().unwrap().parse().unwrap()
        };
        threads.map(ran).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until it is killed.
pub fn serve(variant: Variant, fields: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        io::stdout().flush().unwrap();
        let service = router(variant, fields).into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service).await.unwrap();
    });
}

fn sink() -> Sink {
    Sink::new(File::options().write(true).open("/dev/null").unwrap())
}

fn router(variant: Variant, fields: usize) -> Router {
    let route = |handler| Router::new().route("/carts/{id}", handler);
    let few = fields == 10;
    match variant {
        Variant::Bare => route(get(async || "ok")),
        Variant::Ours => {
            let config = Config::from_lookup(&|_| None).unwrap().wide_events;
            let layer = WideEventLayer::new(wide_event_config(&config).unwrap().sink(sink()));
            let handler = if few { get(ours_10) } else { get(ours_50) };
            route(handler).layer(layer)
        }
        Variant::Trace => {
            subscribe();
            if few {
                let layer = TraceLayer::new_for_http()
                    .make_span_with(span_10)
                    .on_response(DefaultOnResponse::new().level(Level::INFO))
                    .on_request(());
                route(get(traced_10)).layer(layer)
            } else {
                let layer = TraceLayer::new_for_http()
                    .make_span_with(span_50)
                    .on_response(DefaultOnResponse::new().level(Level::INFO))
                    .on_request(());
                route(get(traced_50)).layer(layer)
            }
        }
        Variant::Info => {
            subscribe();
            let handler = if few { get(info_10) } else { get(info_50) };
            route(handler)
        }
    }
}

/// Writes `tracing`'s own JSON, one line per event, into the same sink.
fn subscribe() {
    let sink = sink();
    tracing_subscriber::fmt()
        .json()
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(move || Lines(sink.clone()))
        .init();
}

/// Sends one line at a time, as the subscriber writes them.
struct Lines(Sink);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send(line.strip_suffix(b"\n").unwrap_or(line), false);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn path(request: &Request) -> (&str, String) {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    (route, peer.map(|peer| peer.0.ip().to_string()).unwrap_or_default())
}

/// Defines handlers and spans with these fields: in turn a text, an integer, a float and a boolean.
macro_rules! handlers {
    ($ours:ident, $traced:ident, $span:ident, $info:ident, $($text:ident $number:ident $float:ident $truth:ident),+; $($more_text:ident $more_number:ident)?) => {
        async fn $ours(event: WideEvent) -> &'static str {
            $(
                event.set(stringify!($text), "a text of usual length");
                event.set(stringify!($number), 1234);
                event.set(stringify!($float), 99.5);
                event.set(stringify!($truth), true);
            )+
            $(
                event.set(stringify!($more_text), "a text of usual length");
                event.set(stringify!($more_number), 1234);
            )?
            "ok"
        }

        async fn $traced() -> &'static str {
            let span = Span::current();
            $(
                span.record(stringify!($text), "a text of usual length");
                span.record(stringify!($number), 1234);
                span.record(stringify!($float), 99.5);
                span.record(stringify!($truth), true);
            )+
            $(
                span.record(stringify!($more_text), "a text of usual length");
                span.record(stringify!($more_number), 1234);
            )?
            "ok"
        }

        fn $span(request: &Request) -> Span {
            let (route, ip) = path(request);
            tracing::info_span!(
                "request", method = %request.method(), uri = %request.uri(), route, ip,
                $($text = field::Empty, $number = field::Empty, $float = field::Empty, $truth = field::Empty,)+
                $($more_text = field::Empty, $more_number = field::Empty,)?
            )
        }

        async fn $info(request: Request) -> &'static str {
            let (route, ip) = path(&request);
            tracing::info!(
                method = %request.method(), uri = %request.uri(), route, ip,
                $($text = "a text of usual length", $number = 1234, $float = 99.5, $truth = true,)+
                $($more_text = "a text of usual length", $more_number = 1234,)?
                "request"
            );
            "ok"
        }
    };
}

handlers!(ours_10, traced_10, span_10, info_10, f00 f01 f02 f03, f04 f05 f06 f07; f08 f09);
handlers!(
    ours_50, traced_50, span_50, info_50, f00 f01 f02 f03, f04 f05 f06 f07, f08 f09 f10 f11, f12 f13 f14 f15,
    f16 f17 f18 f19, f20 f21 f22 f23, f24 f25 f26 f27, f28 f29 f30 f31, f32 f33 f34 f35, f36 f37 f38 f39,
    f40 f41 f42 f43, f44 f45 f46 f47; f48 f49
);
