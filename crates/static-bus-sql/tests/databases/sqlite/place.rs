//! A place for a database file.

use static_bus_sql::SqliteTransport;
use tempfile::TempDir;

use super::support::LONG;

/// A directory for a database file.
pub struct Place(pub TempDir);

impl Place {
    pub fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> String {
        self.0.path().join("bus.db").display().to_string()
    }

    pub fn url(&self) -> String {
        format!("sqlite:{}", self.path())
    }

    pub async fn connect(&self) -> SqliteTransport {
        let builder = SqliteTransport::builder(self.url());
        builder.deadline(LONG).connect().await.unwrap()
    }

    /// A connection of another program to the same file.
    pub async fn pool(&self) -> sqlx::SqlitePool {
        sqlx::SqlitePool::connect(&self.url()).await.unwrap()
    }
}
