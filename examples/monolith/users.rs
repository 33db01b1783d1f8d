//! Users: the customers.

use static_bus::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub name: &'static str,
    pub email: &'static str,
}

/// The user with this id, if there is one.
pub struct GetUser {
    pub user_id: u32,
}
query!(GetUser -> Option<User>);

module! {
    #[derive(Default)]
    pub struct Module {
        users: Users => [query GetUser],
    }
}

#[derive(Default)]
pub struct Users;

impl<B> QueryHandler<GetUser, B> for Users {
    fn handle(&self, query: GetUser, _bus: &B) -> Option<User> {
        match query.user_id {
            1 => Some(User {
                name: "Ada",
                email: "ada@example.com",
            }),
            2 => Some(User {
                name: "Grace",
                email: "grace@example.com",
            }),
            _ => None,
        }
    }
}
