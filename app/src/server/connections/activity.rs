//! The activity of a connection: its requests, what they wait for, and when it is to be closed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::limits::ConnectionLimits;
use crate::http::{Client, Connection};

/// Maximum interval between two checks of a connection's activity.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);

/// The activity of a connection.
#[derive(Debug)]
pub(super) struct Activity {
    on_keep: OnKeep,
    accepted_at: Instant,
    authenticated: AtomicBool,
    state: Mutex<ActivityState>,
    closing: AtomicBool,
    close: Notify,
}

/// What the process does when it exempts the connection from being closed to make room.
struct OnKeep(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for OnKeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnKeep")
    }
}

#[derive(Debug, Default)]
struct ActivityState {
    next: u64,
    /// When the last request ended; `None` before the first request.
    idle_since: Option<Instant>,
    requests: Vec<RequestState>,
}

#[derive(Debug)]
struct RequestState {
    id: u64,
    /// Whether the handler waits for the request's body.
    needs_body: bool,
    /// Since when a piece of the response has been waiting for the client to read it.
    answer_waits_since: Option<Instant>,
}

/// What to do with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Keep it at least until this moment.
    Wait(Instant),
    /// Close it: it has sent no request in time.
    NoRequest,
    /// Close it: it has been idle for too long.
    Idle,
    /// Close it: its client does not read a response.
    NotReading,
}

impl Activity {
    /// `on_keep` is called at most once: when the connection is exempted from being closed to make room.
    pub(super) fn new(on_keep: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            on_keep: OnKeep(Box::new(on_keep)),
            accepted_at: Instant::now(),
            authenticated: AtomicBool::new(false),
            state: Mutex::default(),
            closing: AtomicBool::new(false),
            close: Notify::new(),
        }
    }

    /// Registers a request, which ends when the returned guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> RequestGuard {
        let mut state = self.state.lock();
        let id = state.next;
        state.next += 1;
        state.requests.push(RequestState {
            id,
            needs_body: false,
            answer_waits_since: None,
        });
        RequestGuard {
            activity: self.clone(),
            id,
        }
    }

    /// Returns what to do with the connection now.
    pub(super) fn verdict(&self, now: Instant, limits: &ConnectionLimits) -> Verdict {
        let state = self.state.lock();
        let answers = state.requests.iter().filter_map(|request| request.answer_waits_since);
        let (deadline, late) = match (state.requests.is_empty(), state.idle_since) {
            (true, None) => (self.accepted_at + limits.header_timeout, Verdict::NoRequest),
            (true, Some(since)) => (since + limits.idle_timeout, Verdict::Idle),
            (false, _) => match answers.min() {
                Some(since) => (since + limits.answer_timeout(), Verdict::NotReading),
                None => return Verdict::Wait(now + CHECK_INTERVAL),
            },
        };
        if deadline <= now {
            return late;
        }
        Verdict::Wait(deadline.min(now + CHECK_INTERVAL))
    }

    /// Returns whether the connection has no request under way.
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().requests.is_empty()
    }

    /// Returns whether all requests under way wait for the client.
    pub(super) fn waits_for_its_client(&self) -> bool {
        let waits = |request: &RequestState| request.needs_body || request.answer_waits_since.is_some();
        self.state.lock().requests.iter().all(waits)
    }

    /// Asks the connection's task to close it.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.close.notify_one();
    }

    #[cfg(test)]
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Waits until the connection is to be closed.
    pub(super) async fn closed(&self) {
        while !self.closing.load(Ordering::Acquire) {
            self.close.notified().await;
        }
    }

    /// Exempts the connection from being closed to make room for others.
    pub(super) fn keep(&self) {
        if !self.authenticated.swap(true, Ordering::AcqRel) {
            (self.on_keep.0)();
        }
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut RequestState)) {
        if let Some(request) = self.state.lock().requests.iter_mut().find(|request| request.id == id) {
            change(request);
        }
    }
}

/// A request under way on a connection.
#[derive(Debug)]
pub(super) struct RequestGuard {
    activity: Arc<Activity>,
    id: u64,
}

impl RequestGuard {
    /// Returns the handle that the request's handler uses.
    pub(super) fn client(&self) -> Client {
        Client::new(self.activity.clone(), self.id)
    }

    /// Records whether a piece of the response waits for the client to read it.
    pub(super) fn answer_waits(&self, waits: bool) {
        let since = waits.then(Instant::now);
        self.activity
            .change(self.id, |request| request.answer_waits_since = since);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.activity.state.lock();
        state.requests.retain(|request| request.id != self.id);
        state.idle_since = Some(Instant::now());
    }
}

impl Connection for Activity {
    fn authenticated(&self) {
        if !self.authenticated.load(Ordering::Acquire) {
            self.keep();
        }
    }

    fn waits_for_body(&self, request: u64, waits: bool) {
        self.change(request, |request| request.needs_body = waits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn limits() -> ConnectionLimits {
        ConnectionLimits::new(&Config::from_lookup(&|_| None).unwrap().http, 1_000)
    }

    #[test]
    fn a_connection_without_progress_is_closed() {
        let limits = limits();
        let activity = Arc::new(Activity::new(|| {}));
        let later = |time| activity.verdict(Instant::now() + time, &limits);
        let waits = |verdict| matches!(verdict, Verdict::Wait(_));
        assert!(waits(later(Duration::ZERO)));
        assert_eq!(later(limits.header_timeout), Verdict::NoRequest);

        let request = activity.begin();
        assert!(waits(later(limits.idle_timeout * 10)), "it is being served");
        request.answer_waits(true);
        assert!(waits(later(Duration::ZERO)));
        assert_eq!(later(limits.answer_timeout()), Verdict::NotReading);
        request.answer_waits(false);
        assert!(waits(later(limits.answer_timeout())), "it waits for the service");

        drop(request);
        assert!(waits(later(limits.header_timeout)));
        assert_eq!(later(limits.idle_timeout), Verdict::Idle);
    }

    #[test]
    fn a_connection_is_idle_since_its_last_request() {
        let limits = limits();
        let activity = Arc::new(Activity::new(|| {}));
        drop(activity.begin());
        let long_ago = Instant::now().checked_sub(limits.idle_timeout);
        activity.state.lock().idle_since = long_ago;
        assert_eq!(activity.verdict(Instant::now(), &limits), Verdict::Idle);
        drop(activity.begin());
        assert!(matches!(activity.verdict(Instant::now(), &limits), Verdict::Wait(_)));
    }
}
