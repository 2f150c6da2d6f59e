//! Tests the input at all entry points of the service: the depth of JSON, lists instead of objects, cursors, limits, parameters
//! that clients add, and forgotten commits.

mod clients;
mod commits;
mod cursors;
mod extreme_timestamps;
mod json_depth;
mod limits;
mod lists;
mod queue;
mod unreadable;

use std::fmt;
use std::process::Command;

use daybook::App;
use daybook::analytics::count_events;
use daybook::campaigns;
use daybook::events::Consumers;
use daybook::jobs::Workers;
use daybook::json::MAX_JSON_DEPTH;
use daybook::notifications::send_notifications;
use daybook::prelude::*;
use daybook::testing::TestDb;
use daybook::threads::post_to_thread;
use daybook_tests::http::{Client, TestApp};
use daybook_tests::jobs::{start_workers, test_worker_options};
use daybook_tests::{HarnessMigrator, url_of, widget};
use serde_json::{Value, json};

/// Returns JSON with this number of levels, as text: lists in lists.
fn nested_text(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

fn nested(levels: usize) -> Value {
    (1..levels).fold(json!([]), |inside, _| json!([inside]))
}

fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(levels).max().unwrap_or_default(),
        _ => 0,
    }
}

/// A job that does nothing but record its input.
#[derive(Debug, Serialize, Deserialize)]
struct Carry {
    value: Value,
}

/// An action whose whole payload is a list.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Carried(Value);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carried it")
    }
}

#[async_trait]
impl Job for Carry {
    const NAME: &'static str = "carry";

    async fn run(self, session: &JobSession) -> JobResult {
        session.add_action(&Carried(nested(MAX_JSON_DEPTH))).await?;
        Ok(())
    }
}

/// The body of `POST /widgets`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewWidget {
    name: String,
    extra: Value,
}

async fn make_widget(team: Team, Json(new): Json<NewWidget>) -> Result<StatusCode> {
    let tx = team.begin().await?;
    let model = widget::ActiveModel {
        extra: Set(Some(new.extra)),
        ..widget::named(&new.name)
    };
    create_model_with_event(&tx, model, Track::All).await?;
    tx.commit().await?;
    Ok(StatusCode::CREATED)
}

/// A service whose objects contain JSON, with all readers of their changes.
struct JsonApp {
    app: TestApp,
    ada: Client,
    /// Follows Ada's changes.
    grace: Client,
    workers: Option<Workers>,
    context: Context,
}

impl JsonApp {
    async fn start() -> Self {
        let mut json_app = Self::without_workers().await;
        json_app.workers = Some(start_workers(&json_app.app.db, &json_app.app.database, &test_worker_options()).await);
        json_app
    }

    /// The service without workers.
    async fn without_workers() -> Self {
        let consumers = [
            post_to_thread::CONSUMER,
            send_notifications::CONSUMER,
            count_events::CONSUMER,
        ];
        let program = App::new()
            .model::<widget::Model>()
            .migrator::<campaigns::Migrator>()
            .migrator::<HarnessMigrator>()
            .routes(axum::Router::new().route("/widgets", axum::routing::post(make_widget)))
            .consumers(Consumers::of(consumers).unwrap())
            .job::<Carry>();
        let db = TestDb::with_migrations(program.migrations().clone()).await;
        let options = db.options().max_connections(8);
        let app = TestApp::start_program(program, db, options).await;
        let ada = app.member("ada", Role::Owner).await;
        let grace = app.member("grace", Role::Member).await;
        let mut context = Context::system(app.team.id, "test");
        context.actor = Actor::User {
            id: ada.id(),
            name: "Ada".to_owned(),
        };
        Self {
            app,
            ada,
            grace,
            workers: None,
            context,
        }
    }

    /// Creates a widget with this JSON, with the helper.
    async fn create(&self, name: &str, extra: Value) -> Result<widget::Model> {
        let tx = self.app.database.begin(&self.context).await?;
        let model = widget::ActiveModel {
            extra: Set(Some(extra)),
            ..widget::named(name)
        };
        let made = create_model_with_event(&tx, model, Track::All).await?;
        tx.commit().await?;
        Ok(made)
    }

    async fn update(&self, of: &widget::Model, extra: Value) -> Result<widget::Model> {
        let tx = self.app.database.begin(&self.context).await?;
        let changes = widget::ActiveModel {
            extra: Set(Some(extra)),
            ..Default::default()
        };
        let changed = update_model_with_event(&tx, of, changes, Track::All).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Returns the path of a widget's thread, which Grace follows from then on.
    async fn followed_thread(&self, widget: &widget::Model) -> String {
        let path = format!("/threads?object_type=widget&object_id={}", widget.id);
        let page = self.ada.get(&path).await.ok();
        let thread = format!("/threads/{}", page["items"][0]["id"].as_str().unwrap());
        self.grace.put(&format!("{thread}/follow")).await.ok();
        thread
    }

    /// Returns the output of `daybook activity --json`; nothing if another process can't reach the test's database.
    fn activity(&self) -> Vec<Value> {
        let Some(url) = url_of(&self.app.db) else {
            return Vec::new();
        };
        let output = Command::new(env!("CARGO_BIN_EXE_daybook-under-test"))
            .args(["activity", "--json", "--team", &self.app.team.id.to_string()])
            .current_dir(self.app.storage.path())
            .env("DATABASE_URL", url)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let lines = String::from_utf8(output.stdout).unwrap();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }

    /// Returns the number of events that the team's analytics have counted.
    async fn counted(&self) -> i64 {
        sqlx::query_scalar("SELECT coalesce(sum(events), 0)::bigint FROM event_counts")
            .fetch_one(&mut self.app.team.connection().await)
            .await
            .unwrap()
    }
}

/// Returns a message of a thread's page.
fn message(page: &Value, at: usize) -> &Value {
    &page["items"][at]["event"]
}

fn subscribe(topic: &str) -> Value {
    json!({"type": "subscribe", "topic": topic})
}
