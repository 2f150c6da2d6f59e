//! The tower layer: one event for every request that reaches it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::body::{Upload, WatchedBody};
use super::config::WideEventConfig;
use super::error::EventError;
use super::event::{End, Unit, WideEvent};
use super::head::RequestHead;
use super::ids::RequestIds;
use super::outcome::Outcome;
use super::pipeline::WideEvents;

/// What nginx calls a client that closed the connection: nobody has seen it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Gives every request one event. Meant to be the outermost layer of a router, so that it sees what every other
/// layer answers.
///
/// A layer that catches panics belongs inside of it, and says so by [`WideEvent::mark_outcome`]; without one, a panic
/// closes the connection and is an event all the same.
#[derive(Debug, Clone)]
pub struct WideEventLayer {
    events: WideEvents,
}

impl WideEventLayer {
    /// A layer with a thread of its own that writes.
    pub fn new(config: WideEventConfig) -> Self {
        Self::of(WideEvents::new(config))
    }

    /// A layer whose events come together with others.
    pub fn of(events: WideEvents) -> Self {
        Self { events }
    }

    /// Where its events come together.
    pub fn events(&self) -> &WideEvents {
        &self.events
    }
}

impl<S> Layer<S> for WideEventLayer {
    type Service = WideEventService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WideEventService {
            inner,
            events: self.events.clone(),
        }
    }
}

/// The service that [`WideEventLayer`] makes.
#[derive(Debug, Clone)]
pub struct WideEventService<S> {
    inner: S,
    events: WideEvents,
}

impl<S, B> Service<Request<Body>> for WideEventService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Display,
    B: HttpBody<Data = Bytes>,
{
    type Response = Response<WatchedBody<B>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let head = RequestHead::of(&request, &self.events.config().headers);
        let is_head = head.method == Method::HEAD;
        let at = SystemTime::now();
        let ids = RequestIds::of(request.headers(), at);
        let unit = Arc::new(Unit::new(self.events.clone(), "request", at, ids, Some(head)));
        // From here on the event is told, whatever happens.
        let watch = Watch {
            unit: unit.clone(),
            is_head,
            status: None,
            bytes_out: 0,
            whole: false,
            failed: false,
            streamed_after: None,
        };
        let request = request.map(|body| Upload::watch(body, &unit));
        let inner = watch.event().inside(|| self.inner.call(request));
        Answering {
            inner: Some(inner),
            watch: Some(watch),
        }
    }
}

pin_project! {
    /// A request that is being answered.
    #[derive(Debug)]
    pub struct Answering<F> {
        #[pin]
        inner: Option<F>,
        watch: Option<Watch>,
    }

    impl<F> PinnedDrop for Answering<F> {
        fn drop(this: Pin<&mut Self>) {
            // A handler that is dropped midway may still have something to tell.
            let mut this = this.project();
            if let Some(watch) = &this.watch {
                watch.event().inside(|| this.inner.set(None));
            }
        }
    }
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: std::fmt::Display,
    B: HttpBody<Data = Bytes>,
{
    type Output = Result<Response<WatchedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (Some(inner), Some(watch)) = (this.inner.as_mut().as_pin_mut(), &this.watch) else {
            // Asked again after its end, which a future may answer as it likes.
            return Poll::Pending;
        };
        let answer = ready!(watch.event().inside(|| inner.poll(cx)));
        let Some(mut watch) = this.watch.take() else {
            return Poll::Pending;
        };
        Poll::Ready(match answer {
            Ok(mut response) => {
                watch.answered(&response);
                watch.unit.ids.put_on(response.headers_mut());
                Ok(response.map(|body| WatchedBody::new(body, watch)))
            }
            Err(error) => {
                watch.failed(EventError::new("ServiceError", error.to_string()));
                Err(error)
            }
        })
    }
}

/// A request under watch. Its drop is the request's end, and what it has seen by then says which one.
#[derive(Debug)]
pub(super) struct Watch {
    unit: Arc<Unit>,
    is_head: bool,
    /// The answer's, once there is one.
    status: Option<StatusCode>,
    bytes_out: u64,
    whole: bool,
    failed: bool,
    streamed_after: Option<Duration>,
}

impl Watch {
    pub(super) fn event(&self) -> WideEvent {
        WideEvent::of(&self.unit)
    }

    fn answered<B: HttpBody>(&mut self, response: &Response<B>) {
        let status = response.status();
        self.status = Some(status);
        // hyper drops these bodies without asking them for anything.
        let bodiless = self.is_head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.whole = bodiless || response.body().is_end_stream();
        if !self.whole && response.body().size_hint().exact().is_none() {
            self.streamed_after = Some(self.unit.began.elapsed());
        }
    }

    pub(super) fn sending(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    pub(super) fn sent_whole(&mut self) {
        self.whole = true;
    }

    /// The body broke off on our side, after the answer's head was sent.
    pub(super) fn body_failed(&mut self, error: EventError) {
        self.failed(error);
    }

    fn failed(&mut self, error: EventError) {
        self.failed = true;
        self.event().mark_error(error);
    }

    fn end(&self) -> (Outcome, Option<u16>) {
        let answered = self.status.map(|status| status.as_u16());
        let ours = answered.or(Some(500));
        if std::thread::panicking() && !self.whole {
            (Outcome::Panic, ours)
        } else if self.failed {
            (Outcome::Error, ours)
        } else if self.unit.upload_failed.load(Ordering::Relaxed) {
            (Outcome::UploadAborted, Some(CLIENT_CLOSED_REQUEST))
        } else {
            match answered {
                None => (Outcome::AbortedBeforeResponse, Some(CLIENT_CLOSED_REQUEST)),
                Some(status) if self.whole => (Outcome::of_status(status), answered),
                Some(_) => (Outcome::AbortedMidBody, answered),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let (outcome, status) = self.end();
        self.unit.end(End {
            outcome,
            status,
            bytes_out: self.bytes_out,
            streamed_after: self.streamed_after,
        });
    }
}
