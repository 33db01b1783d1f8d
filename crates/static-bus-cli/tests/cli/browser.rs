//! The page of `serve` in Chromium.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use headless_chrome::{
    Browser, LaunchOptions, Tab,
    browser::default_executable,
    protocol::cdp::{
        Emulation::{MediaFeature, SetEmulatedMedia},
        Page::CaptureScreenshotFormatOption,
    },
};
use static_bus_remote::{
    Transport,
    transport::{Consumer as _, Kind, Subscription},
};
use test_brokers::redis::Redis;

use crate::{
    page::Page,
    support::{
        LONG, Letter, acknowledge, append, buried, bury, create_group, receive, record, redis,
        topic,
    },
};

fn browser(arguments: &[&str]) -> Browser {
    let program = default_executable()
        .expect("`chromium` is missing: run `scripts/test`, which installs what the tests need");
    let arguments = arguments.iter().map(std::ffi::OsStr::new).collect();
    let options = LaunchOptions::default_builder()
        .path(Some(program))
        // The sandbox needs rights that a container does not have.
        .sandbox(false)
        .window_size(Some((1400, 900)))
        .idle_browser_timeout(LONG)
        .args(arguments)
        .build()
        .unwrap();
    Browser::new(options).expect("Chromium starts")
}

fn open(browser: &Browser, url: &str) -> Arc<Tab> {
    let tab = browser.new_tab().unwrap();
    tab.set_default_timeout(LONG);
    tab.navigate_to(url)
        .unwrap()
        .wait_until_navigated()
        .unwrap();
    tab
}

/// The value of an expression in the page.
fn value(tab: &Tab, expression: &str) -> serde_json::Value {
    let object = tab.evaluate(expression, false).unwrap();
    object.value.unwrap_or_default()
}

/// The text of the page, when it contains a part. A page that loads itself again may be gone while it is read.
fn text_with(tab: &Tab, part: &str) -> String {
    let end = std::time::Instant::now() + LONG;
    loop {
        let text = tab.evaluate("document.body.innerText", false);
        let text = text.ok().and_then(|object| object.value);
        let text = text
            .as_ref()
            .and_then(|text| text.as_str())
            .unwrap_or_default();
        if text.contains(part) {
            return text.to_owned();
        }
        assert!(std::time::Instant::now() < end, "{part:?} is not in {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a condition in JavaScript holds.
fn wait_until(tab: &Tab, condition: &str) {
    let end = std::time::Instant::now() + LONG;
    let holds = || tab.evaluate(condition, false).ok()?.value?.as_bool();
    while holds() != Some(true) {
        assert!(std::time::Instant::now() < end, "{condition} is false");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn click(tab: &Tab, selector: &str) {
    tab.wait_for_element(selector).unwrap().click().unwrap();
    tab.wait_until_navigated().unwrap();
}

/// Chromium decides what is black and what is white: the brightness of the background, from 0 to 255.
fn brightness(tab: &Tab) -> f64 {
    let color = value(tab, "getComputedStyle(document.body).backgroundColor");
    let color = color
        .as_str()
        .unwrap()
        .trim_start_matches("rgb(")
        .trim_end_matches(')');
    let parts = color.split(", ").map(|part| part.parse::<f64>().unwrap());
    parts.sum::<f64>() / 3.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_shows_groups_with_charts_and_loads_itself_again() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    let orders = topic(Kind::Command, "orders.place");
    append(
        &broker,
        orders.clone(),
        (0..5).map(|n| record(n.to_string())),
    )
    .await;
    create_group(&broker, topic(Kind::Event, "orders.placed"), "mail").await;
    append(
        &broker,
        topic(Kind::Event, "orders.placed"),
        (0..1234).map(|n| record(n.to_string())),
    )
    .await;
    let consumer = broker.consume(Subscription::new(orders.clone(), "handlers", "worker-1"));
    let consumer = consumer.await.unwrap();
    let received = receive(&consumer, 5).await;
    acknowledge(&consumer, &received[1..]).await;

    let page = Page::start(&tool, &["--stuck-after", "0s"]);
    let browser = browser(&[]);
    let tab = open(&browser, &format!("http://{}/", page.host));
    let text = text_with(&tab, "worker-1");
    for part in [
        "orders.placed",
        "no worker",
        "stuck",
        "1,234",
        "read-only",
        "Stuck records",
        "shop:{command:orders.place}",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    // The page is loaded again without being asked to, and goes on to show new figures.
    append(
        &broker,
        topic(Kind::Event, "orders.placed"),
        [record("more")],
    )
    .await;
    text_with(&tab, "1,235");
    wait_until(
        &tab,
        "document.querySelector('svg.chart path.lag[d*=L]') != null",
    );
    wait_until(
        &tab,
        "[...document.querySelectorAll('svg.chart:has(path.arriving[d*=L])')]\
         .some(chart => /^Arriving: at most (?!0\\/s|–)/.test(chart.ariaLabel))",
    );
    // Paused, it stays as it is.
    tab.navigate_to(&format!("http://{}/?refresh=off", page.host))
        .unwrap();
    text_with(&tab, "Resume");
    assert_eq!(
        value(&tab, "document.querySelector('meta[http-equiv=refresh]')"),
        serde_json::Value::Null
    );
    // The style sheet is loaded and applies.
    assert_eq!(value(&tab, "document.styleSheets.length"), 1);
    let aligned = "getComputedStyle(document.querySelector('td.number')).fontVariantNumeric";
    assert_eq!(value(&tab, aligned), "tabular-nums");
    // Each table has a name, and each column a header.
    let unnamed = "[...document.querySelectorAll('table')].filter(t => !t.ariaLabel && !t.getAttribute('aria-labelledby')).length";
    assert_eq!(value(&tab, unnamed), 0);
    let unscoped = "[...document.querySelectorAll('th')].filter(h => !h.scope).length";
    assert_eq!(value(&tab, unscoped), 0);
    let png = tab
        .capture_screenshot(CaptureScreenshotFormatOption::Png, None, None, true)
        .unwrap();
    assert!(png.len() > 10_000, "{} bytes", png.len());
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_light_or_dark_as_the_browser_prefers() {
    let server = Redis::start();
    let (tool, _) = redis(&server).await;
    let page = Page::start(&tool, &[]);
    let browser = browser(&[]);
    let tab = open(&browser, &format!("http://{}/dead-letters", page.host));
    let prefer = |scheme: &str| {
        let feature = MediaFeature {
            name: "prefers-color-scheme".to_owned(),
            value: scheme.to_owned(),
        };
        let features = Some(vec![feature]);
        let media = None;
        tab.call_method(SetEmulatedMedia { media, features })
            .unwrap();
        brightness(&tab)
    };
    let (light, dark) = (prefer("light"), prefer("dark"));
    assert!(light > 200.0 && dark < 50.0, "{light} {dark}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_discarded_and_replayed_by_clicks() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    let mut hostile = Letter::new(
        "command orders.place",
        "handlers",
        "<script>window.owned = 1</script><img src=x onerror='window.owned = 1'>",
    );
    hostile.body = b"<script>window.owned = 1</script>".to_vec();
    bury(
        &broker,
        &[
            hostile,
            Letter::new("command orders.cancel", "handlers", "timeout"),
        ],
    )
    .await;
    bury(
        &broker,
        &[Letter::new("command orders.cancel", "handlers", "timeout")],
    )
    .await;
    let page = Page::start(&tool, &["--allow-changes"]);
    let browser = browser(&[]);
    // A click on a page that loads itself again may be lost.
    let tab = open(&browser, &format!("http://{}/?refresh=off", page.host));
    click(&tab, "nav a[href='/dead-letters']");
    text_with(&tab, "<script>window.owned = 1</script>");
    click(&tab, "table a");
    text_with(&tab, "<script>window.owned = 1</script>");
    assert_eq!(value(&tab, "typeof window.owned"), "undefined");
    click(&tab, "a.danger");
    text_with(&tab, "Discard 1 dead letter?");
    click(&tab, "button.danger");
    text_with(&tab, "1 dead letter discarded.");
    let left = buried(&broker).await;
    assert!(
        left.iter()
            .all(|letter| letter.origin == "command orders.cancel"),
        "{left:?}"
    );

    tab.wait_for_element("input[name=error]")
        .unwrap()
        .click()
        .unwrap();
    tab.type_str("TIME").unwrap();
    click(&tab, "form.filter button");
    click(&tab, ".actions a");
    text_with(&tab, "Replay 2 dead letters?");
    click(&tab, "button.primary");
    text_with(&tab, "2 dead letters replayed.");
    text_with(&tab, "No dead letters");
    assert_eq!(buried(&broker).await.len(), 0);
    assert_eq!(value(&tab, "typeof window.owned"), "undefined");
}

/// A web site of someone else, on a port of this machine. Its page submits a form to another page.
fn evil_site(target: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let page = format!(
        "<form method=post action='{target}/change'><input name=action value=discard><input name=number value=1></form>\
         <script>document.forms[0].submit()</script>"
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n";
            _ = stream.write_all(format!("{head}{page}").as_bytes());
        }
    });
    format!("http://{address}/")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_sites_in_the_same_browser_can_neither_change_nor_read() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    bury(
        &broker,
        &[Letter::new("command orders.place", "handlers", "timeout")],
    )
    .await;
    let page = Page::start(&tool, &["--allow-changes"]);
    // A name of the other site that resolves to this machine.
    let browser = browser(&["--host-resolver-rules=MAP evil.example 127.0.0.1"]);
    let port = page.host.rsplit_once(':').unwrap().1;
    let tab = open(
        &browser,
        &format!("http://evil.example:{port}/dead-letters"),
    );
    let text = text_with(&tab, "403");
    assert!(!text.contains("orders.place"), "{text}");

    let tab = open(&browser, &evil_site(&format!("http://{}", page.host)));
    text_with(&tab, "This change was requested by another page.");
    assert_eq!(buried(&broker).await.len(), 1);
}
