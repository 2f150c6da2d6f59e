//! Teams and the people in them.

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::expect::expect_ok;
use super::test_db::TestDb;
use crate::error::Result;
use crate::events::{Event, event_columns, event_from_row};
use crate::tenancy::{Actor, Context, Credential, Entry, Request, Role};

/// The issuer of the people in tests.
const ISSUER: &str = "https://issuer.test";

/// A team on a [`TestDb`].
#[derive(Debug, Clone)]
pub struct TestTeam {
    /// The team's id.
    pub id: Uuid,
    /// The team's name.
    pub name: String,
    db: TestDb,
}

/// A person in a team.
#[derive(Debug, Clone)]
pub struct TestMember {
    /// The id in `users`.
    pub user_id: Uuid,
    /// The token's `iss`.
    pub issuer: String,
    /// The token's `sub`.
    pub subject: String,
    /// The handle in the team.
    pub handle: String,
    /// The context that begins a transaction as this person: `database.begin(&ada.context)`.
    pub context: Context,
}

impl TestMember {
    /// Returns what is needed to enter the team as this person, by the identity that a token would prove.
    pub fn entry(&self) -> Entry {
        Entry::new(self.context.team_id, self.credential(), self.request())
    }

    /// Returns what is needed to enter another team as this person.
    pub fn entry_to(&self, team_id: Uuid) -> Entry {
        Entry::new(team_id, self.credential(), self.request())
    }

    fn credential(&self) -> Credential {
        Credential::Person {
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            acting: None,
        }
    }

    fn request(&self) -> Request {
        Request {
            request_id: None,
            observer: None,
            correlation_id: self.context.correlation_id,
            via: None,
            reason: None,
            claim: None,
        }
    }
}

impl TestDb {
    /// Creates a team.
    pub async fn team(&self, name: &str) -> TestTeam {
        TestTeam::create(self, name).await
    }
}

impl TestTeam {
    async fn create(db: &TestDb, name: &str) -> Self {
        let team = Self {
            id: Uuid::now_v7(),
            name: name.to_owned(),
            db: db.clone(),
        };
        expect_ok(team.insert().await, "create a team");
        team
    }

    async fn insert(&self) -> Result<()> {
        let mut connection = self.connect_to_team().await?;
        sqlx::query("INSERT INTO teams (id, name) VALUES ($1, $2)")
            .bind(self.id)
            .bind(&self.name)
            .execute(&mut connection)
            .await?;
        Ok(connection.close().await?)
    }

    /// Adds a person, who is a member at once, without an invitation. Their display name is the capitalised `handle`
    /// (Ada for `ada`). Their identity is the issuer `https://issuer.test` and the subject `handle`, so one handle in
    /// two teams is one person.
    pub async fn member(&self, handle: &str, role: Role) -> TestMember {
        expect_ok(self.add(handle, role).await, "add a member")
    }

    async fn add(&self, handle: &str, role: Role) -> Result<TestMember> {
        let mut letters = handle.chars();
        let name: String = letters
            .next()
            .into_iter()
            .flat_map(char::to_uppercase)
            .chain(letters)
            .collect();
        let mut connection = self.connect_to_team().await?;
        sqlx::query("SELECT set_config('daybook.issuer', $1, false), set_config('daybook.subject', $2, false)")
            .bind(ISSUER)
            .bind(handle)
            .execute(&mut connection)
            .await?;
        let user_id: Uuid = sqlx::query_scalar(
            "INSERT INTO users (id, issuer, subject, display_name) VALUES ($1, $2, $3, $4)
             ON CONFLICT (issuer, subject) DO UPDATE SET display_name = excluded.display_name RETURNING id",
        )
        .bind(Uuid::now_v7())
        .bind(ISSUER)
        .bind(handle)
        .bind(&name)
        .fetch_one(&mut connection)
        .await?;
        sqlx::query(
            "INSERT INTO memberships (team_id, user_id, role, handle, display_name) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(self.id)
        .bind(user_id)
        .bind(role.as_str())
        .bind(handle)
        .bind(&name)
        .execute(&mut connection)
        .await?;
        connection.close().await?;
        let mut context = Context::system(self.id, "");
        context.actor = Actor::User { id: user_id, name };
        Ok(TestMember {
            user_id,
            issuer: ISSUER.to_owned(),
            subject: handle.to_owned(),
            handle: handle.to_owned(),
            context,
        })
    }

    /// Returns a context of the service itself in the team.
    pub fn system(&self) -> Context {
        Context::system(self.id, "test")
    }

    /// Returns all committed events of the team, in the order in which they were recorded.
    pub async fn events(&self) -> Vec<Event> {
        expect_ok(self.read_events().await, "read a team's events")
    }

    async fn read_events(&self) -> Result<Vec<Event>> {
        let mut connection = self.connect_to_team().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            event_columns!(""),
            " FROM events WHERE team_id = $1 ORDER BY id"
        ))
        .bind(self.id)
        .fetch_all(&mut connection)
        .await?;
        connection.close().await?;
        rows.iter().map(event_from_row).collect()
    }

    /// Opens a connection as `daybook_app` with this team set for the session, to read rows with SQL.
    pub async fn connection(&self) -> PgConnection {
        expect_ok(self.connect_to_team().await, "connect with a team")
    }

    async fn connect_to_team(&self) -> Result<PgConnection> {
        let mut connection = self.db.connect_as_app().await?;
        sqlx::query("SELECT set_config('daybook.team_id', $1, false)")
            .bind(self.id.to_string())
            .execute(&mut connection)
            .await?;
        Ok(connection)
    }
}
