//! A guestbook on Daybook: an example of a user's own program.
//!
//! It has one model ([`guest`]), its migration, its queries (`store`), its routes ([`routes()`]), a consumer
//! ([`welcome`]) and a job ([`thanks`]). The program itself is `main.rs`.

pub mod guest;
mod migration;
mod routes;
mod store;
pub mod thanks;
pub mod welcome;

pub use migration::Migrator;
pub use routes::routes;

/// Returns the program, which `main` runs and tests call.
pub fn app() -> daybook::App {
    daybook::App::new()
        .model::<guest::Model>()
        .migrator::<Migrator>()
        .routes(routes())
        .job::<thanks::ThankGuest>()
}
