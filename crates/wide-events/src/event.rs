//! The event of a running request, and the handle with which code adds fields to it.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::draft::EventDraft;
use super::error::EventError;
use super::fields::Value;
use super::head::RequestHead;
use super::ids::RequestIds;
use super::machine_time;
use super::outcome::Outcome;
use super::pipeline::WideEvents;
use super::ser::NotJson;

tokio::task_local! {
    static CURRENT: WideEvent;
}

/// A handle to the wide event of the current request. Cheap to clone.
///
/// Get it as an extractor, or in any function that a handler calls with [`WideEvent::current`]:
///
/// ```ignore
/// async fn checkout(event: WideEvent, Json(cart): Json<Cart>) -> Result<impl IntoResponse> {
///     event.set("cart.items", cart.items.len());
///     // …
/// }
/// ```
///
/// Outside a request, all methods do nothing. After the event was emitted (the client has disconnected, or a task
/// continues after the answer), added fields become a separate `late` event with the same ids. It is emitted when
/// the last handle is dropped.
#[derive(Clone, Default)]
pub struct WideEvent(Option<Arc<EventScope>>);

/// A unit of work with its own wide event, which ends once: a request, a socket, an attempt at a job.
pub(super) struct EventScope {
    pub(super) kind: &'static str,
    pub(super) ids: RequestIds,
    pub(super) events: WideEvents,
    began: Instant,
    pub(super) at: SystemTime,
    /// The request's head. None if no client started this work.
    pub(super) head: Option<RequestHead>,
    pub(super) bytes_in: AtomicU64,
    /// Whether the client's request body was not received completely.
    pub(super) request_body_failed: AtomicBool,
    state: Mutex<ScopeState>,
}

#[derive(Default)]
struct ScopeState {
    draft: EventDraft,
    /// Fields that the request's late events and child scopes have, too.
    tags: Vec<(Cow<'static, str>, Value)>,
    ended: bool,
    late: bool,
}

/// How a scope ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScopeEnd {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) bytes_out: u64,
    /// For a streamed answer: the time until its head was ready.
    pub(super) headers_after: Option<Duration>,
}

impl fmt::Debug for WideEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request_id = self.0.as_ref().map(|scope| scope.ids.request_id.as_str());
        f.debug_struct("WideEvent")
            .field("request_id", &request_id)
            .finish_non_exhaustive()
    }
}

impl WideEvent {
    /// Returns the event of the request that this task handles. Outside a request, it returns an event that ignores
    /// everything.
    pub fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }

    /// Sets the field at `path`: `event.set("cart.items", 3)`. A dot leads into an object. An existing value is
    /// replaced.
    ///
    /// Reserved fields (`status_code`, `outcome`, …) can't be set. An attempt is recorded in `schema_errors`.
    pub fn set(&self, path: impl Into<Cow<'static, str>>, value: impl Serialize) -> &Self {
        self.with_value(value, |draft, value| {
            let path = path.into();
            match value {
                Ok(value) => {
                    if let Some(field) = draft.at_path(path) {
                        *field = value;
                    }
                }
                Err(error) => draft.problem(format_args!("{path} can't be serialized as JSON: {error}")),
            }
        })
    }

    /// Sets a field like [`WideEvent::set`], also in the request's late events and in units such as a socket. Use it
    /// for fields that identify the team and the actor.
    pub fn tag(&self, path: impl Into<Cow<'static, str>>, value: impl Serialize) -> &Self {
        if let (Some(scope), Ok(value)) = (&self.0, Value::of(value)) {
            scope.tag(path.into(), value);
        }
        self
    }

    /// Adds `more` to the number at `path`, which starts at zero.
    pub fn add(&self, path: impl Into<Cow<'static, str>>, more: u64) -> &Self {
        self.with(|draft| {
            if let Some(field) = draft.at_path(path.into()) {
                *field = (field.as_u64().unwrap_or(0).saturating_add(more)).into();
            }
        });
        self
    }

    /// Appends an item to the list at `path`, unless the list already has `limit` items.
    pub fn push(&self, path: impl Into<Cow<'static, str>>, item: impl Serialize, limit: usize) -> &Self {
        self.with_value(item, |draft, item| match item {
            Ok(item) => match draft.at_path(path.into()) {
                Some(Value::Array(items)) if items.len() >= limit => {}
                Some(Value::Array(items)) => items.push(item),
                Some(field) => *field = Value::Array(vec![item]),
                None => {}
            },
            Err(error) => draft.problem(format_args!("an item can't be serialized as JSON: {error}")),
        })
    }

    /// Adds all fields of `value`, a struct or a map. Objects are merged; other values are replaced.
    pub fn enrich(&self, value: impl Serialize) -> &Self {
        self.with_value(value, |draft, value| match value {
            Ok(Value::Object(fields)) => draft.merge(fields),
            Ok(_) => draft.problem(format_args!("only an object can enrich an event")),
            Err(error) => draft.problem(format_args!("the enriching value can't be serialized as JSON: {error}")),
        })
    }

    /// Records the error with which the request failed: `event.mark_error(&error)`. The last call counts.
    pub fn mark_error(&self, error: impl Into<EventError>) -> &Self {
        if self.0.is_some() {
            let error = error.into();
            self.with(|draft| draft.error = Some(error));
        }
        self
    }

    /// Sets the request's outcome where the answer doesn't show it. A layer that catches panics sets
    /// [`Outcome::Panic`], and a layer with a time limit sets [`Outcome::Timeout`].
    pub fn mark_outcome(&self, outcome: Outcome) -> &Self {
        self.with(|draft| draft.outcome = Some(outcome));
        self
    }

    /// Returns the request's ids, or none outside a request.
    pub fn ids(&self) -> Option<&RequestIds> {
        self.0.as_ref().map(|scope| &scope.ids)
    }

    /// Wraps `work` so that [`WideEvent::current`] returns this event in it. Use it for spawned tasks that belong to
    /// the request.
    pub fn carry<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), work)
    }

    /// Runs work that outlives its request, such as a WebSocket, as a unit with its own event. The event is emitted
    /// when the work ends, and has the same request id and trace id. Inside `work`, it is the current event.
    pub fn unit<F: Future>(&self, kind: &'static str, work: F) -> impl Future<Output = F::Output> + use<F> {
        let scope = self.0.as_ref().map(|scope| scope.child(kind));
        async move {
            let Some(scope) = scope else {
                return work.await;
            };
            scope.run(work).await
        }
    }

    pub(super) fn of(scope: &Arc<EventScope>) -> Self {
        Self(Some(scope.clone()))
    }

    pub(super) fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    fn with_value(&self, value: impl Serialize, change: impl FnOnce(&mut EventDraft, Result<Value, NotJson>)) -> &Self {
        if self.0.is_some() {
            // Serialize before taking the lock: a `Serialize` implementation may use the event itself.
            let value = Value::of(value);
            self.with(|draft| change(draft, value));
        }
        self
    }

    fn with(&self, change: impl FnOnce(&mut EventDraft)) {
        if let Some(scope) = &self.0 {
            scope.with(change);
        }
    }
}

impl fmt::Debug for EventScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventScope")
            .field("kind", &self.kind)
            .field("request_id", &self.ids.request_id)
            .finish_non_exhaustive()
    }
}

impl EventScope {
    pub(super) fn new(
        events: WideEvents,
        kind: &'static str,
        at: SystemTime,
        ids: RequestIds,
        head: Option<RequestHead>,
    ) -> Self {
        events.receive();
        Self {
            kind,
            ids,
            events,
            began: machine_time::instant(),
            at,
            head,
            bytes_in: AtomicU64::new(0),
            request_body_failed: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    fn child(&self, kind: &'static str) -> Self {
        let child = Self::new(
            self.events.clone(),
            kind,
            machine_time::time_of_day(),
            self.ids.child(),
            self.head.clone(),
        );
        let tags = self.state().tags.clone();
        for (path, value) in tags {
            child.tag(path, value);
        }
        child
    }

    /// Returns the time since the unit of work began.
    pub(super) fn elapsed(&self) -> Duration {
        machine_time::instant().duration_since(self.began)
    }

    pub(super) fn is_request(&self) -> bool {
        self.kind == "request"
    }

    fn tag(&self, path: Cow<'static, str>, value: Value) {
        let mut state = self.state();
        state.tags.retain(|(of, _)| *of != path);
        state.tags.push((path.clone(), value.clone()));
        if !state.ended
            && let Some(field) = state.draft.at_path(path)
        {
            *field = value;
        }
    }

    /// Runs `work`, and ends this scope when `work` ends.
    pub(super) async fn run<T>(self, work: impl Future<Output = T>) -> T {
        let mut ending = EndGuard {
            scope: Arc::new(self),
            done: false,
        };
        let result = WideEvent::of(&ending.scope).carry(work).await;
        ending.done = true;
        result
    }

    pub(super) fn end(&self, end: ScopeEnd) {
        let draft = {
            let mut state = self.state();
            if state.ended {
                return;
            }
            state.ended = true;
            std::mem::take(&mut state.draft)
        };
        self.events.emit(self, end, draft);
    }

    fn with(&self, change: impl FnOnce(&mut EventDraft)) {
        let mut state = self.state();
        if state.ended && !state.late {
            state.late = true;
            self.events.receive();
        }
        change(&mut state.draft);
    }

    fn state(&self) -> MutexGuard<'_, ScopeState> {
        // A poisoned lock is safe to use: each change leaves the state consistent, and no foreign code runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EventScope {
    fn drop(&mut self) {
        let (late, mut draft, tags) = {
            let mut state = self.state();
            let (draft, tags) = (std::mem::take(&mut state.draft), std::mem::take(&mut state.tags));
            (state.late, draft, tags)
        };
        if late {
            for (path, value) in tags {
                if let Some(field) = draft.at_path(path) {
                    *field = value;
                }
            }
            self.events.emit_late(self, draft);
        }
    }
}

/// Ends a scope that isn't a request when its work ends or is dropped.
struct EndGuard {
    scope: Arc<EventScope>,
    done: bool,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let outcome = match self.done {
            true => Outcome::Success,
            false if std::thread::panicking() => Outcome::Panic,
            false => Outcome::Cancelled,
        };
        self.scope.end(ScopeEnd {
            outcome,
            status: None,
            bytes_out: 0,
            headers_after: None,
        });
    }
}
