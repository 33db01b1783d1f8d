//! The pages of dead letters: the list, one of them, the confirmation of a change, and the change.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use maud::{Markup, html};
use static_bus_remote::{DeadLetter, DeadLetters, TransportError, transport::Inspect};

use super::{
    Site,
    input::{Input, link},
    layout::{Page, Tab},
};
use crate::{
    dead_letters::{Action, Selected, Target, counted, fields},
    text::{self, number, visible},
};

/// The number of dead letters of a page.
const PAGE: usize = 50;
/// The greatest length of an error in the list, in characters.
const ERROR_LENGTH: usize = 200;

/// The text of the refusal of a change on a page that is read-only.
const READ_ONLY: &str = "This page is read-only. Start it with `static-bus serve --allow-changes` to replay and discard dead letters.";

pub async fn list<T: Inspect>(
    State(site): State<Arc<Site<T>>>,
    Query(input): Query<Input>,
) -> Page {
    let filter = match input.filter() {
        Ok(filter) => filter,
        Err(error) => {
            let content = html! { (title()) (form(&input, Some(&error))) };
            let status = StatusCode::BAD_REQUEST;
            return site.page_with(status, Tab::DeadLetters, "Dead letters", None, &content);
        }
    };
    let after = Some(&*input.after).filter(|after| !after.is_empty());
    let found = site.letters().find(&filter.build(), after, PAGE).await;
    let letters = match found {
        Ok(letters) => letters,
        Err(error) => return site.unreachable(&error),
    };
    let next = letters.last().filter(|_| letters.len() == PAGE);
    let content = html! {
        (title())
        (done(&input))
        (form(&input, None))
        @if letters.is_empty() {
            p class="empty" {
                @if filter.is_empty() && after.is_none() {
                    "No dead letters: every message was handled, or is still to be."
                } @else {
                    "No dead letters match."
                }
            }
        } @else {
            @if site.allows_changes {
                @let what = if filter.is_empty() { "all" } else { "all that match" };
                p class="actions" {
                    a class="button" href=(input.link("/confirm", &[("action", "replay")])) { "Replay " (what) "…" }
                    a class="button danger" href=(input.link("/confirm", &[("action", "discard")])) { "Discard " (what) "…" }
                }
            }
            (table(&letters))
            @if let Some(last) = next {
                p { a href=(input.link("/dead-letters", &[("after", &last.position)])) rel="next" { "Later dead letters" } }
            }
        }
    };
    site.page(Tab::DeadLetters, "Dead letters", None, &content)
}

pub async fn show<T: Inspect>(
    State(site): State<Arc<Site<T>>>,
    Query(input): Query<Input>,
) -> Page {
    let letter = match site.letters().get(&input.position).await {
        Ok(Some(letter)) => letter,
        Ok(None) => return site.gone(),
        Err(error) => return site.unreachable(&error),
    };
    let content = html! {
        p class="quiet" { a href="/dead-letters" { "Dead letters" } }
        h1 { (visible(&letter.origin)) }
        @if site.allows_changes {
            @let to = |action| link("/confirm", [("action", action), ("position", &*letter.position)]);
            p class="actions" {
                a class="button" href=(to("replay")) { "Replay…" }
                a class="button danger" href=(to("discard")) { "Discard…" }
            }
        }
        (details(&letter))
    };
    site.page(Tab::DeadLetters, "Dead letter", None, &content)
}

pub async fn confirm<T: Inspect>(
    State(site): State<Arc<Site<T>>>,
    Query(input): Query<Input>,
) -> Page {
    match site.selection(&input, None).await {
        Ok((action, selected)) => {
            site.confirmation(StatusCode::OK, &input, action, &selected, None)
        }
        Err(refusal) => *refusal,
    }
}

pub async fn change<T: Inspect>(
    State(site): State<Arc<Site<T>>>,
    Form(input): Form<Input>,
) -> Response {
    if input.token != site.token {
        let error =
            "The form is not of this process: go back, load the page again, and confirm again.";
        let status = StatusCode::FORBIDDEN;
        return site
            .failure(status, Tab::DeadLetters, "Not done", error)
            .into_response();
    }
    let (action, selected) = match site.selection(&input, Some(&*input.until)).await {
        Ok(selection) => selection,
        Err(refusal) => return refusal.into_response(),
    };
    if input.number != selected.number.to_string() {
        let notice = "The selection has changed meanwhile. Nothing was done.";
        let status = StatusCode::CONFLICT;
        return site
            .confirmation(status, &input, action, &selected, Some(notice))
            .into_response();
    }
    let changed = selected.target.change(&site.letters(), action).await;
    if let Some(error) = changed.failure(action) {
        let status = StatusCode::BAD_GATEWAY;
        return site
            .failure(status, Tab::DeadLetters, "Not done completely", &error)
            .into_response();
    }
    let done = changed.done.to_string();
    Redirect::to(&link("/dead-letters", [(action.past(), &*done)])).into_response()
}

impl<T: Inspect> Site<T> {
    fn letters(&self) -> DeadLetters<T> {
        DeadLetters::of(self.broker.clone())
    }

    /// The change that a query or form names, and the dead letters that are selected; or a page about the error. With
    /// `until`, dead letters behind this position do not match.
    async fn selection(
        &self,
        input: &Input,
        until: Option<&str>,
    ) -> Result<(Action, Selected), Box<Page>> {
        let refuse = |status, error: &str| {
            Box::new(self.failure(status, Tab::DeadLetters, "Not done", error))
        };
        if !self.allows_changes {
            return Err(refuse(StatusCode::FORBIDDEN, READ_ONLY));
        }
        let actions = [Action::Replay, Action::Discard];
        let action = actions
            .into_iter()
            .find(|action| action.as_str() == input.action);
        let action =
            action.ok_or_else(|| refuse(StatusCode::BAD_REQUEST, "There is no such change."))?;
        let selected = if input.position.is_empty() {
            let filter = input.filter();
            let filter = filter.map_err(|error| refuse(StatusCode::BAD_REQUEST, &error))?;
            Selected::matching(&self.letters(), filter.build(), until).await
        } else {
            match self.letters().get(&input.position).await {
                Ok(Some(letter)) => Ok(Selected::at(vec![letter])),
                Ok(None) => return Err(Box::new(self.gone())),
                Err(error) => Err(error),
            }
        };
        match selected {
            Ok(selected) => Ok((action, selected)),
            Err(error) => Err(Box::new(self.unreachable(&error))),
        }
    }

    fn confirmation(
        &self,
        status: StatusCode,
        input: &Input,
        action: Action,
        selected: &Selected,
        notice: Option<&str>,
    ) -> Page {
        let what = counted(selected.number);
        let title = format!("{} {what}?", action.imperative());
        let consequence = match action {
            Action::Replay => {
                "Each message is sent again, to the group that could not handle it, and its dead letter is removed."
            }
            Action::Discard => "The messages are lost. This cannot be undone.",
        };
        let class = match action {
            Action::Replay => "button primary",
            Action::Discard => "button danger",
        };
        let back = match input.position.is_empty() {
            true => input.link("/dead-letters", &[]),
            false => link("/dead-letter", [("position", &*input.position)]),
        };
        let content = html! {
            h1 { (title) }
            @if let Some(notice) = notice {
                div class="notice bad" role="alert" { p { (notice) } }
            }
            p { (consequence) }
            @if selected.number > 0 {
                div class="scroll" tabindex="0" { table aria-label="Selected dead letters" {
                    thead { tr {
                        th scope="col" { "Message" }
                        th scope="col" { "Group" }
                        th scope="col" class="number" { "Dead letters" }
                    } }
                    tbody { @for ((origin, group), number) in &selected.groups {
                        tr {
                            th scope="row" { (visible(origin)) }
                            td { (visible(group)) }
                            td class="number" { (text::number(*number as u64)) }
                        }
                    } }
                } }
            }
            form method="post" action="/change" class="actions" {
                input type="hidden" name="token" value=(self.token);
                input type="hidden" name="action" value=(action.as_str());
                input type="hidden" name="number" value=(selected.number);
                @if let Target::Matching(_, Some(last)) = &selected.target {
                    input type="hidden" name="until" value=(last);
                }
                @if !input.position.is_empty() {
                    input type="hidden" name="position" value=(input.position);
                }
                @for (name, _, _, value) in input.conditions() {
                    input type="hidden" name=(name) value=(value);
                }
                @if selected.number > 0 {
                    button class=(class) { (action.imperative()) " " (what) }
                }
                a class="button" href=(back) { "Cancel" }
            }
            @if let Target::At(letters) = &selected.target {
                @for letter in letters { (details(letter)) }
            }
        };
        self.page_with(status, Tab::DeadLetters, &title, None, &content)
    }

    fn gone(&self) -> Page {
        let error = "There is no such dead letter: it was replayed or discarded.";
        self.failure(StatusCode::NOT_FOUND, Tab::DeadLetters, "Gone", error)
    }

    fn unreachable(&self, error: &TransportError) -> Page {
        let title = "The broker does not answer";
        let status = StatusCode::BAD_GATEWAY;
        self.failure(status, Tab::DeadLetters, title, &error.to_string())
    }
}

fn title() -> Markup {
    html! { h1 { "Dead letters" } }
}

/// The result of a change that was just made.
fn done(input: &Input) -> Markup {
    let results = [
        (&input.replayed, "replayed"),
        (&input.discarded, "discarded"),
    ];
    html! {
        @for (number, past) in results {
            @if let Ok(number) = number.parse::<usize>() {
                div class="notice good" role="status" { p { (counted(number)) " " (past) "." } }
            }
        }
    }
}

fn form(input: &Input, error: Option<&str>) -> Markup {
    let is_filtered = input
        .conditions()
        .iter()
        .any(|(_, _, _, value)| !value.is_empty());
    html! {
        form method="get" action="/dead-letters" class="filter" role="search" {
            @for (name, label, example, value) in input.conditions() {
                label { span { (label) } input name=(name) value=(value) placeholder=(example) autocomplete="off"; }
            }
            div class="buttons" {
                button class="button primary" { "Filter" }
                @if is_filtered { a class="button" href="/dead-letters" { "Clear" } }
            }
            @if let Some(error) = error {
                p class="error" role="alert" { (visible(error)) }
            }
        }
    }
}

fn table(letters: &[DeadLetter]) -> Markup {
    html! {
        div class="scroll" tabindex="0" { table class="letters" aria-label="Dead letters" {
            thead { tr {
                th scope="col" { "Last failure (UTC)" }
                th scope="col" { "Message" }
                th scope="col" { "Group" }
                th scope="col" class="number" { "Attempts" }
                th scope="col" { "Error" }
            } }
            tbody { @for letter in letters {
                tr {
                    th scope="row" class="number" {
                        a href=(link("/dead-letter", [("position", &*letter.position)])) { (text::time(&letter.last_failure)) }
                    }
                    td { (visible(&letter.origin)) }
                    td { (visible(&letter.group)) }
                    td class="number" { (letter.attempts) }
                    td class="wide" { (visible(&text::shortened(&letter.error, ERROR_LENGTH))) }
                }
            } }
        } }
    }
}

fn details(letter: &DeadLetter) -> Markup {
    let body = &letter.record.body;
    let bytes = number(body.len() as u64);
    html! {
        div class="notice bad" { p { (visible(&letter.error)) } }
        dl class="fields" {
            @for (name, value) in fields(letter) {
                @if !["message", "error"].contains(&name) {
                    div { dt { (name) } dd { (value) } }
                }
            }
        }
        h2 { "Body" }
        p class="quiet" { (bytes) " bytes" }
        @if body.is_empty() {
            p class="empty" { @if letter.omitted > 0 { "The body is not stored." } @else { "The body is empty." } }
        } @else {
            pre tabindex="0" { @for line in text::body(body) { (line) "\n" } }
        }
        h2 { "Headers" }
        dl class="fields" {
            @for (name, value) in letter.record.headers.iter() {
                div { dt { (visible(name)) } dd { (visible(&value)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use axum::body::to_bytes;

    use super::*;
    use crate::unreliable::UnreliableBroker;

    #[tokio::test]
    async fn an_interrupted_change_names_the_number_that_was_done() {
        // Two reads count the dead letters. The fourth is the second page of the change.
        let broker = UnreliableBroker::new(1001, 3).await;
        let site = Arc::new(Site {
            broker: broker.clone(),
            namespace: "shop".to_owned(),
            allows_changes: true,
            interval: Duration::from_secs(5),
            stuck_after: Duration::from_secs(60),
            token: "token".to_owned(),
            history: Mutex::default(),
        });
        let form = Input {
            action: "discard".to_owned(),
            number: "1001".to_owned(),
            until: broker.positions().await.pop().unwrap(),
            token: "token".to_owned(),
            ..Input::default()
        };
        let response = change(State(site), Form(form)).await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = str::from_utf8(&body).unwrap();
        let expected =
            "1,000 dead letters discarded; the rest could not be read: memory: connection refused";
        assert!(body.contains(expected), "{body}");
        assert_eq!(broker.positions().await.len(), 1);
    }
}
