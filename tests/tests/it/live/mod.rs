//! Tests of the live socket over real connections: which frames it sends, in which order, and to whom.

mod access;
pub mod browser;
mod closing;
mod continuity;
mod feeds;
mod frames;
mod jobs;
mod load;
mod schemas;
mod slow;

use std::net::SocketAddr;

use daybook::live::LiveOptions;
use daybook::tenancy::Role;
use daybook_tests::http::{Client, TestApp};
use daybook_tests::live::LiveClient;
use serde_json::{Value, json};

/// The service with the team Acme, its members Ada and Grace, and a campaign of Ada's with its thread.
struct LiveFixture {
    app: TestApp,
    address: SocketAddr,
    ada: Client,
    grace: Client,
    /// `/campaigns/{id}`
    campaign: String,
    etag: String,
    /// `/threads/{id}`
    thread: String,
}

impl LiveFixture {
    async fn new() -> Self {
        let app = TestApp::start().await;
        Self::with_app(app).await
    }

    /// Starts a service with these options for its sockets.
    async fn with_options(options: LiveOptions) -> Self {
        let app = TestApp::start().await;
        Self::with_app(app.second_process(options).await).await
    }

    async fn with_app(app: TestApp) -> Self {
        let ada = app.member("ada", Role::Owner).await;
        let grace = app.member("grace", Role::Member).await;
        let (campaign, thread) = ada.campaign_with_thread("Spring").await;
        Self {
            address: app.serve(|router| router).await,
            app,
            ada,
            grace,
            campaign: format!("/campaigns/{}", campaign.id),
            etag: "*".to_owned(),
            thread,
        }
    }

    fn thread_id(&self) -> &str {
        self.thread.trim_start_matches("/threads/")
    }

    async fn connect(&self, client: &Client) -> LiveClient {
        LiveClient::connect(self.address, client).await
    }

    async fn change_budget(&self, budget: &str) {
        let change = self.ada.patch(&self.campaign, json!({"budget": budget}));
        change.if_match(&self.etag).await.ok();
    }
}

/// Returns the texts of a frame's messages, with their numbers.
fn texts(frame: &Value) -> Vec<String> {
    let messages = frame["messages"].as_array().unwrap_or_else(|| panic!("{frame}"));
    messages
        .iter()
        .map(|message| {
            let words = message["event"]["text"].as_str().or(message["body"].as_str());
            format!("{} {}", message["seq"], words.unwrap_or("—"))
        })
        .collect()
}
