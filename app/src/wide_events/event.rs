//! One request's event while it lives, and what it becomes.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::error::EventError;
use super::fields::Value;
use super::gathered::Gathered;
use super::head::RequestHead;
use super::ids::RequestIds;
use super::outcome::Outcome;
use super::pipeline::WideEvents;
use super::ser::NoJson;

tokio::task_local! {
    static CURRENT: WideEvent;
}

/// A handle on the event of the request that is being handled. Cheap to clone.
///
/// As an extractor, or from anywhere below a handler by [`WideEvent::current`]:
///
/// ```ignore
/// async fn checkout(event: WideEvent, Json(cart): Json<Cart>) -> Result<impl IntoResponse> {
///     event.set("cart.items", cart.items.len());
///     // and so on
/// }
/// ```
///
/// Outside a request it takes everything and does nothing. After the event has been emitted (the client is gone,
/// or a task goes on after the answer) what is added becomes a `late` event of its own, with the same ids, as soon
/// as the last handle is dropped.
#[derive(Clone, Default)]
pub struct WideEvent(Option<Arc<Unit>>);

/// Something that ends once: a request, a socket, a job's attempt.
pub(super) struct Unit {
    pub(super) kind: &'static str,
    pub(super) ids: RequestIds,
    pub(super) events: WideEvents,
    pub(super) began: Instant,
    pub(super) at: SystemTime,
    /// What was asked for; none for what no client asks for.
    pub(super) head: Option<RequestHead>,
    pub(super) bytes_in: AtomicU64,
    /// The client's own body broke off.
    pub(super) upload_failed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    gathered: Gathered,
    /// What late events and other units of the request have, too.
    tags: Vec<(Cow<'static, str>, Value)>,
    ended: bool,
    late: bool,
}

/// How a unit ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) bytes_out: u64,
    /// Until the answer's head was made, for what is a stream.
    pub(super) streamed_after: Option<Duration>,
}

impl fmt::Debug for WideEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request_id = self.0.as_ref().map(|unit| unit.ids.request_id.as_str());
        f.debug_struct("WideEvent")
            .field("request_id", &request_id)
            .finish_non_exhaustive()
    }
}

impl WideEvent {
    /// The event of the request that this task handles; outside of one, an event that leads nowhere.
    pub fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }

    /// Sets the field at `path`, whose dots lead into objects: `event.set("cart.items", 3)`. What was there is
    /// replaced.
    ///
    /// The layer's own fields (`status_code`, `outcome`, …) can't be set: the event tells that it was tried.
    pub fn set(&self, path: impl Into<Cow<'static, str>>, value: impl Serialize) -> &Self {
        self.with_value(value, |gathered, value| {
            let path = path.into();
            match value {
                Ok(value) => {
                    if let Some(place) = gathered.at(path) {
                        *place = value;
                    }
                }
                Err(error) => gathered.problem(format_args!("{path} is no JSON: {error}")),
            }
        })
    }

    /// [`WideEvent::set`], for what says whose request it is: what is late, and other units such as a socket, have it,
    /// too.
    pub fn tag(&self, path: impl Into<Cow<'static, str>>, value: impl Serialize) -> &Self {
        if let (Some(unit), Ok(value)) = (&self.0, Value::of(value)) {
            unit.tag(path.into(), value);
        }
        self
    }

    /// Adds `more` to the number at `path`, which is zero before.
    pub fn add(&self, path: impl Into<Cow<'static, str>>, more: u64) -> &Self {
        self.with(|gathered| {
            if let Some(place) = gathered.at(path.into()) {
                *place = (place.as_u64().unwrap_or(0).saturating_add(more)).into();
            }
        });
        self
    }

    /// Adds an item to the list at `path`, unless it has `limit` items already.
    pub fn push(&self, path: impl Into<Cow<'static, str>>, item: impl Serialize, limit: usize) -> &Self {
        self.with_value(item, |gathered, item| match item {
            Ok(item) => match gathered.at(path.into()) {
                Some(Value::Array(items)) if items.len() >= limit => {}
                Some(Value::Array(items)) => items.push(item),
                Some(place) => *place = Value::Array(vec![item]),
                None => {}
            },
            Err(error) => gathered.problem(format_args!("an item is no JSON: {error}")),
        })
    }

    /// Adds all fields of `value`, a struct or a map: objects are merged, anything else is replaced.
    pub fn enrich(&self, value: impl Serialize) -> &Self {
        self.with_value(value, |gathered, value| match value {
            Ok(Value::Object(fields)) => gathered.merge(fields),
            Ok(_) => gathered.problem(format_args!("only an object can enrich an event")),
            Err(error) => gathered.problem(format_args!("what should enrich it is no JSON: {error}")),
        })
    }

    /// Records the error that the request failed with: `event.mark_error(&error)`. The last one counts.
    pub fn mark_error(&self, error: impl Into<EventError>) -> &Self {
        if self.0.is_some() {
            let error = error.into();
            self.with(|gathered| gathered.error = Some(error));
        }
        self
    }

    /// Says how the request ended, for what its answer doesn't tell: [`Outcome::Panic`] by whoever catches panics,
    /// [`Outcome::Timeout`] by whoever ends what takes too long.
    pub fn mark_outcome(&self, outcome: Outcome) -> &Self {
        self.with(|gathered| gathered.outcome = Some(outcome));
        self
    }

    /// The request's names; none outside of a request.
    pub fn ids(&self) -> Option<&RequestIds> {
        self.0.as_ref().map(|unit| &unit.ids)
    }

    /// `work`, with this event as [`WideEvent::current`]: for a task that is spawned and belongs to the request.
    pub fn carry<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), work)
    }

    /// Runs what this request has begun and that outlives it (a WebSocket) as a unit of its own: one event at its
    /// end, with the same request id and trace. Inside, that event is the current one.
    pub fn unit<F: Future>(&self, kind: &'static str, work: F) -> impl Future<Output = F::Output> + use<F> {
        let unit = self.0.as_ref().map(|unit| unit.child(kind));
        async move {
            let Some(unit) = unit else {
                return work.await;
            };
            unit.run(work).await
        }
    }

    pub(super) fn of(unit: &Arc<Unit>) -> Self {
        Self(Some(unit.clone()))
    }

    pub(super) fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    fn with_value(&self, value: impl Serialize, change: impl FnOnce(&mut Gathered, Result<Value, NoJson>)) -> &Self {
        if self.0.is_some() {
            // Before the lock is taken: a `Serialize` may do as it likes, also reach for its event.
            let value = Value::of(value);
            self.with(|gathered| change(gathered, value));
        }
        self
    }

    fn with(&self, change: impl FnOnce(&mut Gathered)) {
        if let Some(unit) = &self.0 {
            unit.with(change);
        }
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unit")
            .field("kind", &self.kind)
            .field("request_id", &self.ids.request_id)
            .finish_non_exhaustive()
    }
}

impl Unit {
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
            began: Instant::now(),
            at,
            head,
            bytes_in: AtomicU64::new(0),
            upload_failed: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    fn child(&self, kind: &'static str) -> Self {
        let child = Self::new(
            self.events.clone(),
            kind,
            SystemTime::now(),
            self.ids.child(),
            self.head.clone(),
        );
        let tags = self.state().tags.clone();
        for (path, value) in tags {
            child.tag(path, value);
        }
        child
    }

    pub(super) fn is_request(&self) -> bool {
        self.kind == "request"
    }

    fn tag(&self, path: Cow<'static, str>, value: Value) {
        let mut state = self.state();
        state.tags.retain(|(of, _)| *of != path);
        state.tags.push((path.clone(), value.clone()));
        if !state.ended
            && let Some(place) = state.gathered.at(path)
        {
            *place = value;
        }
    }

    /// Runs `work` to its end, and ends this unit with it.
    pub(super) async fn run<T>(self, work: impl Future<Output = T>) -> T {
        let mut ending = Ending {
            unit: Arc::new(self),
            done: false,
        };
        let result = WideEvent::of(&ending.unit).carry(work).await;
        ending.done = true;
        result
    }

    pub(super) fn end(&self, end: End) {
        let gathered = {
            let mut state = self.state();
            if state.ended {
                return;
            }
            state.ended = true;
            std::mem::take(&mut state.gathered)
        };
        self.events.emit(self, end, gathered);
    }

    fn with(&self, change: impl FnOnce(&mut Gathered)) {
        let mut state = self.state();
        if state.ended && !state.late {
            state.late = true;
            self.events.receive();
        }
        change(&mut state.gathered);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is changed under it is whole after each step, and nobody else's code runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let (late, mut gathered, tags) = {
            let mut state = self.state();
            let (gathered, tags) = (std::mem::take(&mut state.gathered), std::mem::take(&mut state.tags));
            (state.late, gathered, tags)
        };
        if late {
            for (path, value) in tags {
                if let Some(place) = gathered.at(path) {
                    *place = value;
                }
            }
            self.events.emit_late(self, gathered);
        }
    }
}

/// Ends a unit that isn't a request when its work is over, or dropped.
struct Ending {
    unit: Arc<Unit>,
    done: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let outcome = match self.done {
            true => Outcome::Success,
            false if std::thread::panicking() => Outcome::Panic,
            false => Outcome::Cancelled,
        };
        self.unit.end(End {
            outcome,
            status: None,
            bytes_out: 0,
            streamed_after: None,
        });
    }
}
