//! Tests the access to every route in the service's own list. A route that is added later is checked too,
//! and appears in `golden/routes.txt`.

mod credentials;
mod roles;
mod routes;
mod two_teams;
