//! Who may reach what, asked of every route that the service says it has: a route that comes later is asked,
//! too, and shows in `golden/routes.txt`.

mod credentials;
mod roles;
mod routes;
mod two_teams;
