//! The activity of a connection: its requests, what they wait for, and when it is to be closed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::limits::ConnectionLimits;
use crate::clock::Clock;
use crate::http::{Client, ConnectionObserver};

/// Maximum interval between two checks of a connection's activity.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);

/// The activity of a connection.
#[derive(Debug)]
pub(super) struct Activity {
    on_keep: OnKeep,
    clock: Clock,
    accepted_at: Instant,
    authenticated: AtomicBool,
    state: Mutex<ActivityState>,
    closing: AtomicBool,
    close: Notify,
}

/// The function that is called when the connection is exempted from being closed to make room.
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
    /// Keep it, and ask again after this time.
    Wait(Duration),
    /// Close it: it has sent no request in time.
    NoRequest,
    /// Close it: it has been idle for too long.
    Idle,
    /// Close it: its client does not read a response.
    NotReading,
}

impl Activity {
    /// Creates the activity of a new connection. `on_keep` is called at most once: when the connection is exempted from
    /// being closed to make room.
    pub(super) fn new(clock: Clock, on_keep: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            on_keep: OnKeep(Box::new(on_keep)),
            accepted_at: clock.instant(),
            clock,
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

    /// Returns what to do with the connection at this time.
    pub(super) fn verdict(&self, limits: &ConnectionLimits) -> Verdict {
        let state = self.state.lock();
        let answers = state.requests.iter().filter_map(|request| request.answer_waits_since);
        let (deadline, late) = match (state.requests.is_empty(), state.idle_since) {
            (true, None) => (self.accepted_at + limits.header_timeout, Verdict::NoRequest),
            (true, Some(since)) => (since + limits.idle_timeout, Verdict::Idle),
            (false, _) => match answers.min() {
                Some(since) => (since + limits.answer_timeout(), Verdict::NotReading),
                None => return Verdict::Wait(CHECK_INTERVAL),
            },
        };
        match self.clock.left_until(deadline) {
            Duration::ZERO => late,
            left => Verdict::Wait(left.min(CHECK_INTERVAL)),
        }
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
        let since = waits.then(|| self.activity.clock.instant());
        self.activity
            .change(self.id, |request| request.answer_waits_since = since);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.activity.state.lock();
        state.requests.retain(|request| request.id != self.id);
        state.idle_since = Some(self.activity.clock.instant());
    }
}

impl ConnectionObserver for Activity {
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
    use chrono::TimeDelta;

    use super::*;
    use crate::config::Config;

    fn limits() -> ConnectionLimits {
        ConnectionLimits::new(&Config::from_lookup(&|_| None).unwrap().http, 1_000)
    }

    /// Returns a connection that was just accepted, and a function that moves its clock.
    fn accepted() -> (Arc<Activity>, impl Fn(Duration)) {
        let clock = Clock::system();
        let activity = Arc::new(Activity::new(clock.clone(), || {}));
        (activity, move |by| clock.advance(TimeDelta::from_std(by).unwrap()))
    }

    fn waits(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Wait(_))
    }

    /// A time before a limit that is long enough for the test's own statements.
    const ALMOST: Duration = Duration::from_secs(2);

    #[test]
    fn a_connection_without_a_request_is_closed_after_the_header_timeout() {
        let (limits, (activity, pass)) = (limits(), accepted());
        assert!(waits(activity.verdict(&limits)));
        pass(limits.header_timeout - ALMOST);
        assert!(waits(activity.verdict(&limits)));
        pass(ALMOST);
        assert_eq!(activity.verdict(&limits), Verdict::NoRequest);
    }

    #[test]
    fn a_connection_whose_client_does_not_read_is_closed_after_the_answer_timeout() {
        let (limits, (activity, pass)) = (limits(), accepted());
        let request = activity.begin();
        pass(limits.idle_timeout * 10);
        assert!(waits(activity.verdict(&limits)), "it is being served");
        request.answer_waits(true);
        pass(limits.answer_timeout() - ALMOST);
        assert!(waits(activity.verdict(&limits)));
        // The client has read this piece, and the next one waits.
        request.answer_waits(true);
        pass(limits.answer_timeout() - ALMOST);
        assert!(waits(activity.verdict(&limits)));
        pass(ALMOST);
        assert_eq!(activity.verdict(&limits), Verdict::NotReading);
        request.answer_waits(false);
        assert!(waits(activity.verdict(&limits)), "it waits for the service");
    }

    #[test]
    fn a_connection_is_idle_since_its_last_request() {
        let (limits, (activity, pass)) = (limits(), accepted());
        drop(activity.begin());
        pass(limits.idle_timeout - ALMOST);
        assert!(waits(activity.verdict(&limits)));
        pass(ALMOST);
        assert_eq!(activity.verdict(&limits), Verdict::Idle);
        drop(activity.begin());
        assert!(waits(activity.verdict(&limits)));
        pass(limits.idle_timeout);
        assert_eq!(activity.verdict(&limits), Verdict::Idle);
    }

    #[test]
    fn a_connection_is_checked_again_when_a_limit_is_reached_or_earlier() {
        let (limits, (activity, pass)) = (limits(), accepted());
        drop(activity.begin());
        assert_eq!(activity.verdict(&limits), Verdict::Wait(CHECK_INTERVAL));
        pass(limits.idle_timeout - ALMOST);
        assert!(matches!(activity.verdict(&limits), Verdict::Wait(left) if left <= ALMOST));
    }
}
