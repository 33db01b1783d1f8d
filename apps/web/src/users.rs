//! Users: a module whose handlers wait for a database.

use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;
use static_bus::asynchronous::BusError;
use static_bus::prelude::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub id: i64,
    pub name: String,
}

/// The user with this id, if there is one.
pub struct GetUser {
    pub id: i64,
}
query!(GetUser -> Option<User>);

pub struct AddUser {
    pub user: User,
}
command!(AddUser);

pub struct UserAdded {
    pub id: i64,
}
event!(UserAdded);

#[derive(Debug, thiserror::Error)]
#[error("the id belongs to another user")]
pub struct IdTaken;

/// A service on the pool. Its clones share the pool's connections.
#[derive(Clone)]
pub struct Users {
    pool: SqlitePool,
}

pub fn module(
    pool: SqlitePool,
) -> HList![OnQueryAsync<GetUser, Users>, OnCommandAsync<AddUser, Users>] {
    let users = Users { pool };
    hlist![on_query_async(users.clone()), on_command_async(users)]
}

impl<B> AsyncQueryHandler<GetUser, B> for Users {
    async fn handle(&self, query: GetUser, _bus: &B) -> Result<Option<User>, BusError> {
        let GetUser { id } = query;
        let name = sqlx::query_scalar("select name from users where id = ?")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(BusError::rejected::<GetUser>)?;
        Ok(name.map(|name| User { id, name }))
    }
}

impl<B: AsyncPublishEvent<UserAdded>> AsyncCommandHandler<AddUser, B> for Users {
    async fn handle(&self, command: AddUser, bus: &B) -> Result<(), BusError> {
        let User { id, name } = command.user;
        sqlx::query("insert into users (id, name) values (?, ?)")
            .bind(id)
            .bind(name)
            .execute(&self.pool)
            .await
            .map_err(|error| match error.as_database_error() {
                Some(cause) if cause.is_unique_violation() => BusError::refused::<AddUser>(IdTaken),
                _ => BusError::rejected::<AddUser>(error),
            })?;
        bus.publish_async(&UserAdded { id }).await
    }
}

/// Creates the table.
pub async fn create_table(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::query("create table if not exists users (id integer primary key, name text not null)")
        .execute(pool)
        .await?;
    Ok(())
}
