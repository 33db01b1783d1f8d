//! Serves users over HTTP, from a database in memory, or from that of `DATABASE_URL`.
//!
//! ```text
//! cargo run -p web
//! curl -i -X PUT localhost:3000/users/7 --json '"Ada"'
//! curl -i localhost:3000/users/7
//! ```

use std::{env, error::Error, sync::Arc};

use sqlx::sqlite::SqlitePoolOptions;
use static_bus::prelude::*;
use tokio::net::TcpListener;
use web::{routes::routes, users};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("DATABASE_URL").unwrap_or_else(|_| "sqlite::memory:".to_owned());
    // A database in memory is gone when its last connection is closed.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect(&url)
        .await?;
    users::create_table(&pool).await?;

    let bus = BusBuilder::new()
        .mount(users::module(pool))
        .subscribe_fn(|event: &users::UserAdded| println!("user {} is new", event.id))
        .build();

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, routes(Arc::new(bus))).await?;
    Ok(())
}
