//! People who join a team as in production: an admin invites them, and they accept.

use axum::http::{Method, StatusCode};
use daybook::auth::NewToken;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Client, TestApp, TestRequest, TestResponse, token};

impl TestApp {
    /// Returns a person with a token who is in no team yet. Their `handle` is also their subject.
    pub fn non_member(&self, handle: &str) -> Client {
        self.bearer(token(&NewToken::new(handle)))
    }

    /// Returns a person whom `admin` has invited into the team, and who has accepted.
    pub async fn invited_member(&self, admin: &Client, handle: &str, role: &str) -> Client {
        admin.invite(handle, role).await.is(StatusCode::CREATED);
        let mut person = self.non_member(handle).for_team(admin.team_id);
        person.accept_invitation().await.ok();
        let me = person.request(Method::GET, "/v1/me").await.ok();
        person.user_id = Some(me["user"]["id"].as_str().unwrap().parse::<Uuid>().unwrap());
        person
    }
}

impl Client {
    /// Invites a person by their subject, which is also their handle. The team's name for them is the handle in
    /// capitals.
    pub async fn invite(&self, handle: &str, role: &str) -> TestResponse {
        let body = json!({"subject": handle, "display_name": handle.to_uppercase(), "handle": handle, "role": role});
        self.post("/members", body).await
    }

    /// Accepts the invitation of the client's team.
    pub fn accept_invitation(&self) -> TestRequest {
        self.request(Method::POST, &format!("/v1/me/invitations/{}/accept", self.team_id))
    }

    /// Declines the invitation.
    pub fn decline_invitation(&self) -> TestRequest {
        self.request(Method::POST, &format!("/v1/me/invitations/{}/decline", self.team_id))
    }

    /// Returns the names of the teams that have invited the person.
    pub async fn invitations(&self) -> Vec<String> {
        let own = self.request(Method::GET, "/v1/me/invitations").await.ok();
        let names = own["items"].as_array().unwrap().iter();
        names
            .map(|item| item["team_name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Returns the members' names in the team, by handle: `ada: Ada`.
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
