//! Adapts the router to hyper, and reports requests and responses to the connection's [`Activity`].

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use axum::routing::future::RouteFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::Service as _;

use super::activity::{Activity, RequestGuard};

/// Serves the requests of one connection.
pub(super) struct ConnectionService {
    pub(super) router: Router,
    pub(super) peer: SocketAddr,
    pub(super) activity: Arc<Activity>,
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        let guard = self.activity.begin();
        let mut request = request.map(Body::new);
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(self.peer));
        extensions.insert(guard.client());
        ResponseFuture {
            inner: self.router.clone().call(request),
            guard: Some(guard),
        }
    }
}

pin_project! {
    /// Future of the response to a request.
    pub(super) struct ResponseFuture {
        #[pin]
        inner: RouteFuture<Infallible>,
        guard: Option<RequestGuard>,
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let guard = this.guard.take();
        if let Some(guard) = &guard {
            // The response counts as waiting until hyper polls it: an HTTP/2 client may never open a window for it.
            guard.answer_waits(true);
        }
        Poll::Ready(Ok(response.map(|inner| ResponseBody { inner, guard })))
    }
}

pin_project! {
    /// The body of a response. hyper polls the next piece when it has passed on the previous one, so the time between
    /// the two polls is the time that the client takes.
    pub(super) struct ResponseBody {
        #[pin]
        inner: Body,
        guard: Option<RequestGuard>,
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        let polled = this.inner.poll_frame(cx);
        if let Some(guard) = this.guard {
            guard.answer_waits(matches!(polled, Poll::Ready(Some(Ok(_)))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
