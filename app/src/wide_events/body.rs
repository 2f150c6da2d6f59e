//! Bodies, counted on their way in and out.
//!
//! hyper drops an answer's body when it is done with it, whatever the reason: sent whole, the client gone, a
//! connection reset. So the body is what a request's event lives in at last, and its drop is the event's end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::error::EventError;
use super::event::{Unit, WideEvent};
use super::layer::Watch;

/// An answer goes out in pieces of at most this size: hyper takes a whole piece whether or not the client reads, so
/// that a client which is gone shows only between two of them.
const MAX_FRAME_BYTES: usize = 64 * 1024;

pin_project! {
    /// An answer's body. What it holds is emitted when it is dropped.
    #[derive(Debug)]
    pub struct WatchedBody<B> {
        #[pin]
        inner: B,
        rest: Bytes,
        watch: Watch,
    }
}

impl<B: HttpBody> WatchedBody<B> {
    pub(super) fn new(inner: B, watch: Watch) -> Self {
        Self {
            inner,
            rest: Bytes::new(),
            watch,
        }
    }
}

impl<B> HttpBody for WatchedBody<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if this.rest.is_empty() {
            let polled = this.watch.event().inside(|| this.inner.as_mut().poll_frame(cx));
            match ready!(polled) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => *this.rest = data,
                    Err(trailers) => {
                        // Nothing follows trailers.
                        this.watch.sent_whole();
                        return Poll::Ready(Some(Ok(trailers)));
                    }
                },
                Some(Err(error)) => {
                    this.watch.body_failed(EventError::new("BodyError", error.to_string()));
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.watch.sent_whole();
                    return Poll::Ready(None);
                }
            }
        }
        let next = this.rest.split_to(this.rest.len().min(MAX_FRAME_BYTES));
        this.watch.sending(next.len());
        // hyper asks for nothing after a body's announced end.
        if this.rest.is_empty() && (this.inner.is_end_stream() || this.inner.size_hint().exact() == Some(0)) {
            this.watch.sent_whole();
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
    /// A request's body, whose bytes are counted as the handler reads them.
    pub(super) struct Upload {
        #[pin]
        inner: Body,
        unit: Arc<Unit>,
    }
}

impl Upload {
    pub(super) fn watch(inner: Body, unit: &Arc<Unit>) -> Body {
        if inner.is_end_stream() {
            return inner;
        }
        let unit = unit.clone();
        Body::new(Self { inner, unit })
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                this.unit.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            Some(Err(error)) => {
                this.unit.upload_failed.store(true, Ordering::Relaxed);
                WideEvent::of(this.unit).mark_error(EventError::from(error).code("upload-aborted"));
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
