//! Requests to the routes, without a server: on the real bus and its database, and on a bus of closures.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header::CONTENT_TYPE};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use static_bus::asynchronous::BusError;
use static_bus::prelude::*;
use tower::ServiceExt;
use web::routes::routes;
use web::users::{self, AddUser, GetUser, User, UserAdded};

/// Sends one request, and returns the status and the body of the response.
async fn request(app: &Router, method: Method, path: &str, body: &str) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_owned()))
        .expect("the request is valid");
    let response = app.clone().oneshot(request).await.expect("never fails");
    let status = response.status();
    let body = to_bytes(response.into_body(), 10_000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
async fn get(app: &Router, path: &str) -> (StatusCode, String) {
    request(app, Method::GET, path, "").await
}
async fn put(app: &Router, path: &str, body: &str) -> (StatusCode, String) {
    request(app, Method::PUT, path, body).await
}

async fn database_in_memory() -> SqlitePool {
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect("sqlite::memory:")
        .await
        .unwrap();
    users::create_table(&pool).await.unwrap();
    pool
}

fn service(pool: SqlitePool) -> Router {
    routes(Arc::new(
        BusBuilder::new().mount(users::module(pool)).build(),
    ))
}

#[tokio::test]
async fn a_user_that_is_put_can_be_got() {
    let added = Arc::new(AtomicI64::new(0));
    let last = Arc::clone(&added);
    let bus = BusBuilder::new()
        .mount(users::module(database_in_memory().await))
        .subscribe_fn(move |event: &UserAdded| last.store(event.id, Relaxed))
        .build();
    let app = routes(Arc::new(bus));

    assert_eq!(get(&app, "/users/7").await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        put(&app, "/users/7", r#""Ada""#).await.0,
        StatusCode::CREATED
    );
    assert_eq!(added.load(Relaxed), 7);
    let (status, body) = get(&app, "/users/7").await;
    assert_eq!(status, StatusCode::OK);
    let user: User = serde_json::from_str(&body).unwrap();
    assert_eq!((user.id, user.name.as_str()), (7, "Ada"));
}

#[tokio::test]
async fn an_id_that_is_taken_is_a_conflict_and_the_user_stays() {
    let app = service(database_in_memory().await);
    put(&app, "/users/7", r#""Ada""#).await;
    let taken = put(&app, "/users/7", r#""Grace""#).await;
    let text = "the id belongs to another user".to_owned();
    assert_eq!(taken, (StatusCode::CONFLICT, text));
    assert!(get(&app, "/users/7").await.1.contains("Ada"));
}

#[tokio::test]
async fn a_closed_pool_is_a_service_that_is_unavailable() {
    let pool = database_in_memory().await;
    let app = service(pool.clone());
    pool.close().await;
    for (status, body) in [
        get(&app, "/users/7").await,
        put(&app, "/users/7", r#""Ada""#).await,
    ] {
        assert_eq!(
            (status, body.as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_run_concurrently_on_the_connections_of_the_pool() {
    let dir = tempfile::tempdir().unwrap();
    let file = SqliteConnectOptions::new()
        .filename(dir.path().join("users.db"))
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new()
        .max_connections(4)
        .connect_with(file)
        .await
        .unwrap();
    users::create_table(&pool).await.unwrap();
    let app = service(pool);
    let tasks: Vec<_> = (0..20)
        .map(|id| {
            let app = app.clone();
            tokio::spawn(async move {
                let path = format!("/users/{id}");
                assert_eq!(put(&app, &path, r#""Ada""#).await.0, StatusCode::CREATED);
                get(&app, &path).await.0
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), StatusCode::OK);
    }
}

/// The routes depend on messages only, so a test needs no database.
#[tokio::test]
async fn the_routes_run_on_a_bus_of_closures() {
    let bus = BusBuilder::new()
        .register_query_async_fn(|query: GetUser| async move {
            let name = "Ada".to_owned();
            Ok((query.id == 7).then_some(User { id: 7, name }))
        })
        .register_command_async_fn(|_: AddUser| async {
            Err(BusError::refused::<AddUser>("read only"))
        })
        .build();
    let app = routes(Arc::new(bus));
    assert_eq!(get(&app, "/users/7").await.1, r#"{"id":7,"name":"Ada"}"#);
    assert_eq!(get(&app, "/users/8").await.0, StatusCode::NOT_FOUND);
    let status = put(&app, "/users/8", r#""Grace""#).await.0;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
}
