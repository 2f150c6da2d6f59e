//! The guestbook's service: `cargo run --package guestbook -- dev`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    guestbook::app().run().await
}
