//! The tower layer that gives every request an event.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_core::BoxError;
use axum_core::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::body::{RequestBody, ResponseBody};
use super::config::WideEventConfig;
use super::error::EventError;
use super::event::{EventScope, ScopeEnd, WideEvent};
use super::head::RequestHead;
use super::ids::RequestIds;
use super::machine_time;
use super::outcome::Outcome;
use super::pipeline::WideEvents;

/// nginx's status for a client that closed the connection. It is only recorded, never sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Gives every request one event. Add it as the outermost layer of a router, so that it sees the answers of all other
/// layers.
///
/// A layer that catches panics belongs inside it, and calls [`WideEvent::mark_outcome`]. Without such a layer, a panic
/// closes the connection, and the event is emitted as well.
#[derive(Debug, Clone)]
pub struct WideEventLayer {
    events: WideEvents,
}

impl WideEventLayer {
    /// Creates a layer with its own pipeline and writer thread.
    pub fn new(config: WideEventConfig) -> Self {
        Self::of(WideEvents::new(config))
    }

    /// Creates a layer that shares the pipeline `events`.
    pub fn of(events: WideEvents) -> Self {
        Self { events }
    }

    /// Returns the pipeline of the layer's events.
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

/// The service that [`WideEventLayer`] creates.
#[derive(Debug, Clone)]
pub struct WideEventService<S> {
    inner: S,
    events: WideEvents,
}

impl<S, I, B> Service<Request<I>> for WideEventService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Display,
    I: HttpBody<Data = Bytes> + Send + 'static,
    I::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<I>) -> Self::Future {
        let head = RequestHead::of(&request, &self.events.config().headers);
        let is_head = head.method == Method::HEAD;
        let at = machine_time::time_of_day();
        let ids = RequestIds::of(request.headers(), at);
        let scope = Arc::new(EventScope::new(self.events.clone(), "request", at, ids, Some(head)));
        // From here on the event is emitted in any case: the guard's drop does it.
        let guard = EventGuard {
            scope: scope.clone(),
            is_head,
            status: None,
            bytes_out: 0,
            complete: false,
            failed: false,
            headers_after: None,
        };
        let request = request.map(|body| RequestBody::counting(Body::new(body), &scope));
        let inner = guard.event().inside(|| self.inner.call(request));
        ResponseFuture {
            inner: Some(inner),
            guard: Some(guard),
        }
    }
}

pin_project! {
    /// The future of a request's answer.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Option<F>,
        guard: Option<EventGuard>,
    }

    impl<F> PinnedDrop for ResponseFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            // The destructors of a handler that is dropped before its end may still add fields.
            let mut this = this.project();
            if let Some(guard) = &this.guard {
                guard.event().inside(|| this.inner.set(None));
            }
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: std::fmt::Display,
    B: HttpBody<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (Some(inner), Some(guard)) = (this.inner.as_mut().as_pin_mut(), &this.guard) else {
            // The future was polled again after its end. The contract of `Future` allows any result then.
            return Poll::Pending;
        };
        let answer = ready!(guard.event().inside(|| inner.poll(cx)));
        let Some(mut guard) = this.guard.take() else {
            return Poll::Pending;
        };
        Poll::Ready(match answer {
            Ok(mut response) => {
                guard.answered(&response);
                guard.scope.ids.write_to(response.headers_mut());
                Ok(response.map(|body| ResponseBody::new(body, guard)))
            }
            Err(error) => {
                guard.failed(EventError::new("ServiceError", error.to_string()));
                Err(error)
            }
        })
    }
}

/// Ends a request's event when it is dropped. Its fields record what happened to the answer, which decides the outcome.
#[derive(Debug)]
pub(super) struct EventGuard {
    scope: Arc<EventScope>,
    is_head: bool,
    /// The answer's status. None before there is an answer.
    status: Option<StatusCode>,
    bytes_out: u64,
    complete: bool,
    failed: bool,
    headers_after: Option<Duration>,
}

impl EventGuard {
    pub(super) fn event(&self) -> WideEvent {
        WideEvent::of(&self.scope)
    }

    fn answered<B: HttpBody>(&mut self, response: &Response<B>) {
        let status = response.status();
        self.status = Some(status);
        // hyper drops these bodies without polling them.
        let bodiless = self.is_head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.complete = bodiless || response.body().is_end_stream();
        if !self.complete && response.body().size_hint().exact().is_none() {
            self.headers_after = Some(self.scope.elapsed());
        }
    }

    pub(super) fn sending(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    pub(super) fn sent_completely(&mut self) {
        self.complete = true;
    }

    /// Records that the answer's body returned an error after its head was sent.
    pub(super) fn body_failed(&mut self, error: EventError) {
        self.failed(error);
    }

    fn failed(&mut self, error: EventError) {
        self.failed = true;
        self.event().mark_error(error);
    }

    fn end(&self) -> (Outcome, Option<u16>) {
        let answered = self.status.map(|status| status.as_u16());
        let failure_status = answered.or(Some(500));
        if std::thread::panicking() && !self.complete {
            (Outcome::Panic, failure_status)
        } else if self.failed {
            (Outcome::Error, failure_status)
        } else if self.scope.request_body_failed.load(Ordering::Relaxed) {
            (Outcome::UploadAborted, Some(CLIENT_CLOSED_REQUEST))
        } else {
            match answered {
                None => (Outcome::AbortedBeforeResponse, Some(CLIENT_CLOSED_REQUEST)),
                Some(status) if self.complete => (Outcome::of_status(status), answered),
                Some(_) => (Outcome::AbortedMidBody, answered),
            }
        }
    }
}

impl Drop for EventGuard {
    fn drop(&mut self) {
        let (outcome, status) = self.end();
        self.scope.end(ScopeEnd {
            outcome,
            status,
            bytes_out: self.bytes_out,
            headers_after: self.headers_after,
        });
    }
}
