//! Bodies of requests and answers that count their bytes.
//!
//! hyper drops an answer's body in every case: when it was sent completely, when the client has disconnected, when the
//! connection was reset. Therefore the body owns the guard of the request's event, and its drop ends the event.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use axum_core::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::error::EventError;
use super::event::{EventScope, WideEvent};
use super::layer::EventGuard;

/// Maximum size of the pieces in which an answer is sent. hyper accepts a whole piece even if the client doesn't read,
/// so a disconnected client is only noticed between two pieces.
const MAX_FRAME_BYTES: usize = 64 * 1024;

pin_project! {
    /// An answer's body. Its drop ends the request's event.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        inner: B,
        rest: Bytes,
        guard: EventGuard,
    }
}

impl<B: HttpBody> ResponseBody<B> {
    pub(super) fn new(inner: B, guard: EventGuard) -> Self {
        Self {
            inner,
            rest: Bytes::new(),
            guard,
        }
    }
}

impl<B> HttpBody for ResponseBody<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if this.rest.is_empty() {
            let polled = this.guard.event().inside(|| this.inner.as_mut().poll_frame(cx));
            match ready!(polled) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => *this.rest = data,
                    Err(trailers) => {
                        // Nothing follows trailers.
                        this.guard.sent_completely();
                        return Poll::Ready(Some(Ok(trailers)));
                    }
                },
                Some(Err(error)) => {
                    this.guard.body_failed(EventError::new("BodyError", error.to_string()));
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.guard.sent_completely();
                    return Poll::Ready(None);
                }
            }
        }
        let next = this.rest.split_to(this.rest.len().min(MAX_FRAME_BYTES));
        this.guard.sending(next.len());
        // hyper doesn't poll a body again after its announced end.
        if this.rest.is_empty() && (this.inner.is_end_stream() || this.inner.size_hint().exact() == Some(0)) {
            this.guard.sent_completely();
        }
        Poll::Ready(Some(Ok(Frame::data(next))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

pin_project! {
    /// A request's body that counts the bytes that the handler reads.
    pub(super) struct RequestBody {
        #[pin]
        inner: Body,
        scope: Arc<EventScope>,
    }
}

impl RequestBody {
    pub(super) fn counting(inner: Body, scope: &Arc<EventScope>) -> Body {
        if inner.is_end_stream() {
            return inner;
        }
        let scope = scope.clone();
        Body::new(Self { inner, scope })
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = axum_core::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                this.scope.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            Some(Err(error)) => {
                this.scope.request_body_failed.store(true, Ordering::Relaxed);
                WideEvent::of(this.scope).mark_error(EventError::from(error).code("upload-aborted"));
            }
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
