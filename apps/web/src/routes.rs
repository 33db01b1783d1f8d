//! The routes: each request is a message. They depend on the messages, and on no service.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use static_bus::asynchronous::BusError;
use static_bus::prelude::*;

use crate::users::{AddUser, GetUser, IdTaken, User};

/// The routes on any bus that handles their messages.
pub fn routes<B>(bus: Arc<B>) -> Router
where
    B: AsyncSendQuery<GetUser> + AsyncExecuteCommand<AddUser> + Send + 'static,
{
    Router::new()
        .route("/users/{id}", get(get_user::<B>).put(put_user::<B>))
        .with_state(bus)
}

async fn get_user<B: AsyncSendQuery<GetUser>>(
    State(bus): State<Arc<B>>,
    Path(id): Path<i64>,
) -> Result<Json<User>, Failure> {
    let user = bus.send_async(GetUser { id }).await?;
    user.map(Json).ok_or(Failure::NotFound)
}

async fn put_user<B: AsyncExecuteCommand<AddUser>>(
    State(bus): State<Arc<B>>,
    Path(id): Path<i64>,
    Json(name): Json<String>,
) -> Result<StatusCode, Failure> {
    let user = User { id, name };
    bus.execute_async(AddUser { user }).await?;
    Ok(StatusCode::CREATED)
}

enum Failure {
    NotFound,
    Bus(BusError),
}

/// `?` on a call of the bus.
impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        Failure::Bus(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let error = match self {
            Failure::NotFound => return StatusCode::NOT_FOUND.into_response(),
            Failure::Bus(error) => error,
        };
        match &error {
            BusError::Rejected { source, .. } if source.is::<IdTaken>() => {
                (StatusCode::CONFLICT, source.to_string()).into_response()
            }
            _ => {
                eprintln!("{error}"); // names the message; the client gets no internals
                if error.is_retryable() {
                    StatusCode::SERVICE_UNAVAILABLE.into_response()
                } else {
                    StatusCode::INTERNAL_SERVER_ERROR.into_response()
                }
            }
        }
    }
}
