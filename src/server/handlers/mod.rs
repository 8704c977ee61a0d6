//! What answers the routes, a module for each family.

pub(crate) mod admin;
pub(crate) mod health;
pub(crate) mod models;
pub(crate) mod proxy;
pub(crate) mod user_data;
