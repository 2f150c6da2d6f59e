//! Detects request bodies that make no progress.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{StatusCode, Version};
use axum::response::{IntoResponse as _, Response};
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::http::{Client, Problem};
use crate::wide_events::{EventError, Outcome, WideEvent};

/// The state of a request's body, evaluated after the request has been handled.
pub(super) struct UploadState {
    timeout: Duration,
    version: Version,
    /// Set if the body made no progress during the timeout; `None` if there is no body.
    stalled: Option<Arc<AtomicBool>>,
}

/// Makes a request's body fail if no data arrives for `timeout` while a handler waits for it.
pub(super) fn watch(request: Request, timeout: Duration) -> (Request, UploadState) {
    let version = request.version();
    if request.body().is_end_stream() {
        let upload = UploadState {
            timeout,
            version,
            stalled: None,
        };
        return (request, upload);
    }
    let stalled = Arc::new(AtomicBool::new(false));
    let client = request.extensions().get::<Client>().cloned();
    let stalled_flag = stalled.clone();
    let request = request.map(|inner| {
        Body::new(TimeoutBody {
            inner,
            timeout,
            deadline: None,
            stalled: stalled_flag,
            client,
        })
    });
    let upload = UploadState {
        timeout,
        version,
        stalled: Some(stalled),
    };
    (request, upload)
}

impl UploadState {
    /// Returns the response unchanged. If the body stalled and the response is a client error, returns 408 instead.
    pub(super) fn answer(self, response: Response) -> Response {
        let stalled = self.stalled.is_some_and(|stalled| stalled.load(Ordering::Relaxed));
        if !stalled || !response.status().is_client_error() {
            return response;
        }
        let detail = format!("no data of the request body arrived for {} s", self.timeout.as_secs());
        let event = WideEvent::current();
        event.mark_error(EventError::new("UploadTimeout", detail.clone()).code("body-timeout"));
        event.mark_outcome(Outcome::Timeout);
        let mut response = Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", detail).into_response();
        // The rest of the body may still arrive, and must not be read as a request.
        if self.version <= Version::HTTP_11 {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

struct TimeoutBody {
    inner: Body,
    timeout: Duration,
    /// Set while a handler waits for data.
    deadline: Option<Pin<Box<Sleep>>>,
    stalled: Arc<AtomicBool>,
    client: Option<Client>,
}

impl TimeoutBody {
    fn set_waiting(&self, waits: bool) {
        if let Some(client) = &self.client {
            client.waits_for_body(waits);
        }
    }
}

impl HttpBody for TimeoutBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            if self.deadline.take().is_some() {
                self.set_waiting(false);
            }
            return Poll::Ready(frame);
        }
        if self.deadline.is_none() {
            self.set_waiting(true);
        }
        let timeout = self.timeout;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(deadline.as_mut().poll(cx));
        self.stalled.store(true, Ordering::Relaxed);
        self.set_waiting(false);
        Poll::Ready(Some(Err(axum::Error::new(std::io::Error::from(
            std::io::ErrorKind::TimedOut,
        )))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
