//! The command `serve`: a web page on a loopback interface.
//!
//! A task takes samples, which the overview shows. The pages of dead letters read the broker when they are requested.
//! The page works without scripts, and its [guard] refuses requests that other web sites make.

mod dead_letters;
mod guard;
mod history;
mod input;
mod layout;
mod overview;
mod sparkline;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router, middleware,
    routing::{get, post},
};
use serde::Serialize;
use static_bus_remote::transport::Inspect;
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval},
};
use uuid::Uuid;

use self::history::History;
use super::{args::Serve, failure::Failure, output::Output};

/// What all pages share.
struct Site<T> {
    broker: T,
    namespace: String,
    allows_changes: bool,
    interval: Duration,
    stuck_after: Duration,
    /// The secret of this process that forms contain. Other web sites cannot read it.
    token: String,
    history: Mutex<History>,
}

/// The address of the page: `static-bus serve --json`.
#[derive(Serialize)]
struct Address {
    url: String,
}

/// Serves the page until the process ends.
pub async fn run<T: Inspect>(
    broker: T,
    namespace: &str,
    args: &Serve,
    output: Output,
) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::Usage(format!(
            "--listen {} is not a loopback address: everyone who can reach the page can read messages. Listen on \
             127.0.0.1, and use an SSH tunnel from other machines",
            args.listen
        )));
    }
    let cannot = |e| {
        let address = args.listen;
        Failure::Incomplete(format!(
            "the page cannot listen on {address}: {e}; pass another --listen"
        ))
    };
    let listener = TcpListener::bind(args.listen).await.map_err(cannot)?;
    let address: SocketAddr = listener.local_addr().map_err(cannot)?;
    let site = Arc::new(Site {
        broker,
        namespace: namespace.to_owned(),
        allows_changes: args.allow_changes,
        interval: args.interval,
        stuck_after: args.stuck_after,
        token: Uuid::new_v4().to_string(),
        history: Mutex::default(),
    });
    let url = format!("http://{address}/");
    if output.is_json() {
        output.objects(&[Address { url }])?;
    } else {
        let mode = match args.allow_changes {
            true => "dead letters can be replayed and discarded",
            false => "read-only; --allow-changes allows to replay and discard dead letters",
        };
        output.print(&format!("{url}  ({mode})\n"))?;
    }
    tokio::spawn(sample(site.clone()));
    let router = router(site, address.ip());
    axum::serve(listener, router).await.map_err(cannot)
}

/// Takes samples without end.
async fn sample<T: Inspect>(site: Arc<Site<T>>) {
    let mut samples = history::Samples::new();
    let mut ticks = interval(site.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let taken = samples.take(&site.broker).await;
        static_bus_remote::lock::lock(&site.history).add(taken);
    }
}

/// The pages of the site, which listens on this address.
fn router<T: Inspect>(site: Arc<Site<T>>, address: IpAddr) -> Router {
    Router::new()
        .route("/", get(overview::show))
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letter", get(dead_letters::show))
        .route("/confirm", get(dead_letters::confirm))
        .route("/change", post(dead_letters::change))
        .route("/style.css", get(layout::style))
        .fallback(layout::not_found)
        .layer(middleware::from_fn_with_state(address, guard::protect))
        .with_state(site)
}
