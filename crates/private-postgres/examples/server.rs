//! Runs a private server until Ctrl-C, and prints how to connect to it.
//!
//! ```console
//! $ cargo run --package daybook-private-postgres --example server
//! ```

use std::error::Error;
use std::path::PathBuf;

use daybook_private_postgres::{PrivatePostgres, Settings};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the output of a command")]
async fn main() -> Result<(), Box<dyn Error>> {
    let data_dir = std::env::var_os("SHOP_DATA_DIR").map_or_else(|| PathBuf::from(".shop"), PathBuf::from);
    let postgres = PrivatePostgres::start(&data_dir, &Settings::new("shop")).await?;
    println!(
        "PostgreSQL runs as process {}. Connect with:\n\n    psql '{}'\n",
        postgres.pid(),
        postgres.url()
    );
    tokio::signal::ctrl_c().await?;
    postgres.stop().await?;
    Ok(())
}
