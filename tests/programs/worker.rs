//! A program whose workers are killed: `serve --role worker` with the harness's jobs and a consumer.

use std::process::ExitCode;

use daybook::events::Consumers;
use daybook_tests::jobs::{program, scribe};

#[tokio::main]
async fn main() -> ExitCode {
    match Consumers::of([scribe::CONSUMER]) {
        Ok(consumers) => {
            program(consumers)
                .migrator::<daybook::campaigns::Migrator>()
                .migrator::<daybook_tests::HarnessMigrator>()
                .run()
                .await
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
