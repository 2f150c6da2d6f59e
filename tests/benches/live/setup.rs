//! A service on a private PostgreSQL, served in this process, with a team.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use daybook::App;
use daybook::auth::{Authenticator, NewToken, mint};
use daybook::campaigns::{self, campaign};
use daybook::config::Config;
use daybook::events::{Consumers, Track, create_models_with_events};
use daybook::live::{Live, LiveOptions};
use daybook::postgres::PrivatePostgres;
use daybook::server::AppState;
use daybook::teams::{NewMember, NewPerson, NewTeam, add_member, create_team};
use daybook::tenancy::{Context, Database, DatabaseOptions, Role};
use daybook_tests::live::LiveClient;
use sea_orm::ActiveValue::Set;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use uuid::Uuid;

pub(crate) const SECRET: &str = "a secret that only this benchmark knows";
const CONNECTIONS: u32 = 12;

#[derive(Clone)]
pub(crate) struct Bench(Arc<Parts>);

pub(crate) struct Parts {
    postgres: std::sync::Mutex<Option<PrivatePostgres>>,
    folder: PathBuf,
    pub(crate) owner: PgConnectOptions,
    pub(crate) database: Database,
    pub(crate) address: SocketAddr,
    pub(crate) team_id: Uuid,
    /// Ada's context.
    pub(crate) context: Context,
    pub(crate) token: String,
}

impl std::ops::Deref for Bench {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("daybook-bench-live-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let postgres = PrivatePostgres::start(&folder).await.unwrap();
        let owner = postgres.owner_options();
        let program = program();
        program.migrations().up(&owner).await.unwrap();
        let options = DatabaseOptions::new(owner.clone()).max_connections(CONNECTIONS);
        let database = program
            .equip(Database::connect(options.clone()).await.unwrap())
            .unwrap();
        daybook::events::ensure_partitions(&database).await.unwrap();

        let config = Config::from_lookup(&|name| (name == "DAYBOOK_JWT_SECRET").then(|| SECRET.to_owned())).unwrap();
        let token = mint(&config.auth, &NewToken::new("ada"), chrono::TimeDelta::hours(2)).unwrap();
        let (team_id, context) = people(&database).await;
        let live = Live::start(&database, Some(owner.clone()), LiveOptions::default()).unwrap();
        let authenticator = Authenticator::new(&config.auth).unwrap();
        let state = AppState::new(database.clone(), authenticator, config.http, live, None);
        let address = serve(program.into_router(state)).await;
        Self(Arc::new(Parts {
            postgres: std::sync::Mutex::new(Some(postgres)),
            folder,
            owner,
            database,
            address,
            team_id,
            context,
            token,
        }))
    }

    pub(crate) async fn machine(&self) -> String {
        let mut connection = self.owner.connect().await.unwrap();
        let version: String = sqlx::query_scalar("SHOW server_version")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let fsync: String = sqlx::query_scalar("SHOW fsync")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        format!(
            "PostgreSQL {version}, fsync {fsync}, {cores} cores shared by server, service and clients\n\n{:<58} {:>14} {:>14}   ratio",
            "", "bare", "Daybook"
        )
    }

    /// Creates campaigns, each with a thread, and returns the threads' ids.
    pub(crate) async fn threads(&self, count: usize) -> Vec<Uuid> {
        let tx = self.database.begin(&self.context).await.unwrap();
        let models = (0..count).map(|i| named(&format!("Bench {i}"))).collect();
        let made: Vec<campaign::Model> = create_models_with_events(&tx, models, Track::All).await.unwrap();
        let ids: Vec<String> = made.iter().map(|campaign| campaign.id.to_string()).collect();
        let query = sqlx::query("SELECT id FROM threads WHERE team_id = $1 AND object_id = ANY ($2)")
            .bind(self.team_id)
            .bind(ids);
        let threads = tx.fetch_all(query).await.unwrap();
        tx.commit().await.unwrap();
        threads.iter().map(|row| sqlx::Row::get(row, "id")).collect()
    }

    /// Opens a socket at `address` that follows this thread.
    pub(crate) async fn follower(&self, address: SocketAddr, thread_id: Uuid) -> LiveClient {
        let url = format!("ws://{address}/v1/teams/{}/live", self.team_id);
        let mut socket = LiveClient::open(address, &url, Some(&self.token)).await;
        socket
            .follow(serde_json::json!({"type": "subscribe", "topic": format!("thread:{thread_id}")}))
            .await;
        socket
    }

    pub(crate) async fn stop(self) {
        self.database.close().await;
        let postgres = self.postgres.lock().unwrap().take();
        if let Some(postgres) = postgres {
            let home = postgres.home().to_owned();
            postgres.stop().await.unwrap();
            let _ = std::fs::remove_dir_all(home);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn named(name: &str) -> campaign::ActiveModel {
    campaign::ActiveModel {
        name: Set(name.to_owned()),
        budget: Set(rust_decimal::Decimal::from(100)),
        ..Default::default()
    }
}

/// Returns the program of `main.rs`.
fn program() -> App {
    let consumers = Consumers::of([
        daybook::threads::post_to_thread::CONSUMER,
        daybook::notifications::send_notifications::CONSUMER,
    ]);
    App::new()
        .model::<campaign::Model>()
        .migrator::<campaigns::Migrator>()
        .consumers(consumers.unwrap())
}

/// Serves on a port that the system chooses, until the process ends.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Creates a team with Ada, who acts, and three people who watch campaigns.
async fn people(database: &Database) -> (Uuid, Context) {
    let person = |subject: &str| NewPerson {
        issuer: "daybook".to_owned(),
        subject: subject.to_owned(),
        display_name: subject.to_owned(),
        email: None,
    };
    let new = NewTeam {
        name: "Bench".to_owned(),
        owner: person("ada"),
        owner_handle: "ada".to_owned(),
    };
    let team_id = create_team(database, new).await.unwrap();
    let tx = database.begin(&Context::system(team_id, "bench")).await.unwrap();
    for handle in ["grace", "linus", "mary"] {
        let new = NewMember {
            person: person(handle),
            handle: handle.to_owned(),
            role: Role::Member,
        };
        let member = add_member(&tx, &new).await.unwrap();
        let watch = sqlx::query("INSERT INTO watches (team_id, user_id, object_type) VALUES ($1, $2, 'campaign')");
        tx.execute_sql(watch.bind(team_id).bind(member.user_id)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let own = database.own_teams("daybook", "ada").await.unwrap().unwrap();
    let mut context = Context::system(team_id, "bench");
    context.actor = daybook::tenancy::Actor::User {
        id: own.details.user_id,
        name: "Ada".to_owned(),
    };
    (team_id, context)
}
