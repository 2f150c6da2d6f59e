//! People who come into a team as in life: invited by an admin, and by their own consent.

use axum::http::{Method, StatusCode};
use daybook::auth::NewToken;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, Ask, Client, TestApp, token};

impl TestApp {
    /// Somebody with a token of their own, who is in no team yet. Their `handle` is their subject.
    pub fn stranger(&self, handle: &str) -> Client {
        self.bearer(token(&NewToken::new(handle)))
    }

    /// Somebody whom `admin` invites into their team, and who accepts.
    pub async fn invited(&self, admin: &Client, handle: &str, role: &str) -> Client {
        admin.invite(handle, role).await.is(StatusCode::CREATED);
        let mut person = self.stranger(handle).at_team(admin.team_id);
        person.accepts().await.ok();
        let me = person.at(Method::GET, "/v1/me").await.ok();
        person.user_id = Some(me["user"]["id"].as_str().unwrap().parse::<Uuid>().unwrap());
        person
    }
}

impl Client {
    /// Invites somebody by their subject, which is their handle, too. The team calls them by it in capitals.
    pub async fn invite(&self, handle: &str, role: &str) -> Answer {
        let body = json!({"subject": handle, "display_name": handle.to_uppercase(), "handle": handle, "role": role});
        self.post("/members", body).await
    }

    /// Accepts the invitation of the team at whose door they are.
    pub fn accepts(&self) -> Ask {
        self.at(Method::POST, &format!("/v1/me/invitations/{}/accept", self.team_id))
    }

    /// Declines it.
    pub fn declines(&self) -> Ask {
        self.at(Method::POST, &format!("/v1/me/invitations/{}/decline", self.team_id))
    }

    /// The teams that have invited them, by name.
    pub async fn invitations(&self) -> Vec<String> {
        let own = self.at(Method::GET, "/v1/me/invitations").await.ok();
        let names = own["items"].as_array().unwrap().iter();
        names
            .map(|item| item["team_name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What members are called here, by handle: `ada: Ada`.
    pub async fn members(&self) -> Vec<String> {
        let page = self.get("/members?limit=200").await.ok();
        let name = |item: &Value| {
            format!(
                "{}: {}",
                item["handle"].as_str().unwrap(),
                item["display_name"].as_str().unwrap()
            )
        };
        page["items"].as_array().unwrap().iter().map(name).collect()
    }
}
