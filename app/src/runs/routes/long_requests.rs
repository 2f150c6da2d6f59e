//! Decides when a long append request must end. Such a request otherwise lasts as long as the client sends.

use std::time::Duration;

use axum::body::Body;
use daybook_run_log::{LogEnd, LogError};
use futures_util::StreamExt as _;
use tokio::time::{sleep, timeout};

use super::append_request::AppendRequest;
use crate::error::Error;
use crate::http::CREDENTIAL_EXPIRED;
use crate::runs::log_error::log_error;
use crate::runs::registry::OpenLog;

/// The interval at which a silent writer's permission is checked again.
const PERMISSION_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The maximum time for counting the lines of a body that can't be stored.
const COUNT_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits until a writer loses its permission or the run ends, and returns the error for it. Without this, the request
/// of a silent writer would stay open.
pub(super) async fn wait_for_refusal(request: &AppendRequest<'_>, open: &OpenLog) -> Error {
    let mut durable = open.log.durable();
    let completed = async {
        let complete = durable.wait_for(|durable| durable.end == Some(LogEnd::Complete));
        if complete.await.is_err() {
            // The log was dropped. The next append opens it again.
            std::future::pending::<()>().await;
        }
    };
    let forbidden = async {
        loop {
            sleep(PERMISSION_CHECK_INTERVAL).await;
            match request.allowed().await {
                Ok(()) | Err(Error::Unavailable { .. }) => {}
                Err(error) => return error,
            }
        }
    };
    tokio::select! {
        () = request.team.expired() => Error::unauthenticated(CREDENTIAL_EXPIRED),
        () = completed => log_error(LogError::Ended),
        error = forbidden => error,
    }
}

/// Counts the lines of a body that can't be stored, for at most [`COUNT_TIMEOUT`].
pub(super) async fn count_lines(body: Body) -> usize {
    let mut stream = body.into_data_stream();
    let (mut lines, mut open) = (0, false);
    let counting = async {
        while let Some(Ok(chunk)) = stream.next().await {
            for line in chunk.split_inclusive(|byte| *byte == b'\n') {
                open |= !line.trim_ascii().is_empty();
                if line.ends_with(b"\n") {
                    lines += usize::from(std::mem::take(&mut open));
                }
            }
        }
    };
    // What was counted before the timeout is returned.
    let _ = timeout(COUNT_TIMEOUT, counting).await;
    lines + usize::from(open)
}
