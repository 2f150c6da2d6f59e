//! The laws of DESIGN.md §2 that the database and the transaction enforce, each tested from the outside.

mod law1_atomicity;
mod law2_catalogue;
mod law2_no_team_no_rows;
mod law2_oracles;
mod law2_owner;
mod law2_self_check;
mod law2_settings;
mod law3_connections;
mod law4_never_changed;
mod law5_order;
mod seed;
