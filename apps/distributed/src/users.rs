//! Users: the customers.

use serde::{Deserialize, Serialize};
use static_bus::prelude::*;

use crate::journal::note;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    pub email: String,
}

/// The user with this id, if there is one.
#[derive(Serialize, Deserialize)]
pub struct GetUser {
    pub user_id: u32,
}
query!(GetUser -> Option<User>, name = "users.get");

module! {
    #[derive(Clone, Default)]
    pub struct Module {
        users: Users => [query GetUser],
    }
}

#[derive(Clone, Default)]
pub struct Users;

/// A synchronous handler, which also handles asynchronous calls.
impl<B> QueryHandler<GetUser, B> for Users {
    fn handle(&self, query: GetUser, _bus: &B) -> Option<User> {
        let name = match query.user_id {
            1 => "Ada",
            2 => "Grace",
            unknown => {
                note("users", format_args!("no user {unknown}"));
                return None;
            }
        };
        note("users", format_args!("user {} is {name}", query.user_id));
        Some(User {
            name: name.to_owned(),
            email: format!("{}@example.com", name.to_lowercase()),
        })
    }
}
