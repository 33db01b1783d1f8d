//! The frame of all pages.

use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, html};
use static_bus_remote::transport::Inspect;

use super::Site;
use crate::text::visible;

/// The pages that the navigation shows.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum Tab {
    Overview,
    DeadLetters,
}

/// A response with a page.
pub type Page = (StatusCode, Html<String>);

pub async fn style() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, include_str!("style.css"))
}

pub async fn not_found() -> Response {
    refused(StatusCode::NOT_FOUND, "There is no such page.").into_response()
}

impl<T: Inspect> Site<T> {
    /// A page of the site. `refresh` is the number of seconds after which a browser loads it again.
    pub fn page(&self, tab: Tab, title: &str, refresh: Option<u64>, content: &Markup) -> Page {
        self.page_with(StatusCode::OK, tab, title, refresh, content)
    }

    pub fn page_with(
        &self,
        status: StatusCode,
        tab: Tab,
        title: &str,
        refresh: Option<u64>,
        content: &Markup,
    ) -> Page {
        let link = |to: Tab, path: &str, name: &str| {
            html! { a href=(path) aria-current=[(tab == to).then_some("page")] { (name) } }
        };
        let header = html! {
            header {
                a class="skip" href="#content" { "Skip to the content" }
                div class="bar" {
                    span class="name" { "static-bus" }
                    nav aria-label="Pages" {
                        (link(Tab::Overview, "/", "Overview"))
                        (link(Tab::DeadLetters, "/dead-letters", "Dead letters"))
                    }
                    dl class="broker" {
                        div { dt { "Broker" } dd { (visible(self.broker.address())) } }
                        div { dt { "Namespace" } dd { (visible(&self.namespace)) } }
                        div {
                            dt { "Mode" }
                            dd { @if self.allows_changes { "changes allowed" } @else { "read-only" } }
                        }
                    }
                }
            }
        };
        (status, Html(document(title, refresh, &header, content)))
    }

    /// A page about a failure.
    pub fn failure(&self, status: StatusCode, tab: Tab, title: &str, error: &str) -> Page {
        let content = html! {
            h1 { (title) }
            div class="notice bad" role="alert" { p { (visible(error)) } }
            p { a href="/" { "Back to the overview" } }
        };
        self.page_with(status, tab, title, None, &content)
    }
}

/// A page without the frame: it may be shown to another site.
pub fn refused(status: StatusCode, reason: &str) -> Page {
    let content = html! { h1 { (status) } p { (reason) } };
    (
        status,
        Html(document(&status.to_string(), None, &html! {}, &content)),
    )
}

fn document(title: &str, refresh: Option<u64>, header: &Markup, content: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(seconds) = refresh {
                    meta http-equiv="refresh" content=(seconds);
                }
                title { (title) " – static-bus" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                (header)
                main id="content" { (content) }
            }
        }
    };
    page.into_string()
}
