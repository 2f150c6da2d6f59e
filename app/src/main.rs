//! The `daybook` command with the sample domain. It shows what a program that uses Daybook looks like.

use std::process::ExitCode;

use daybook::App;
use daybook::campaigns::{self, campaign};

#[tokio::main]
async fn main() -> ExitCode {
    App::new()
        .model::<campaign::Model>()
        .migrator::<campaigns::Migrator>()
        .routes(campaigns::routes())
        .sample(|database, people| Box::pin(campaigns::seed(database, people)))
        .run()
        .await
}
