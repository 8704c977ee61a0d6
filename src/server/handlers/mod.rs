//! What answers the routes, a module for each family.

pub mod admin;
pub mod health;
pub(crate) mod models;
pub mod proxy;
pub mod user_data;
