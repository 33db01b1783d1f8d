//! A web service: axum in front, a bus in its state, a database pool in the handlers.
//!
//! The guide has the code of this package on its page "Web services".

pub mod routes;
pub mod users;
