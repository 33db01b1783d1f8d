//! The page of `serve`, as any program sees it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
    time::Instant,
};

use static_bus_remote::{
    Transport as _,
    transport::{Inspect, Kind},
};
use test_brokers::redis::{Redis, RedisOptions};

use crate::support::{
    LONG, Letter, Tool, append, buried, bury, create_group, kafka, postgres, record, redis, sqlite,
    tool, topic,
};

/// A running page.
pub struct Page {
    process: Child,
    /// The address and the port: `127.0.0.1:port`, unless `--listen` has another address.
    pub host: String,
}

/// A response: the status line and headers, and the body.
pub struct Response {
    pub head: String,
    pub body: String,
}

impl Page {
    pub fn start(tool: &Tool, arguments: &[&str]) -> Self {
        let arguments = [&["serve", "--json", "--interval", "200ms"], arguments].concat();
        let mut command = tool.command(&arguments);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let out = process.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let address: serde_json::Value = serde_json::from_str(&line).unwrap();
        let url = address["url"].as_str().unwrap();
        let host = url.strip_prefix("http://").unwrap().trim_end_matches('/');
        Page {
            process,
            host: host.to_owned(),
        }
    }

    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            request += &format!("Host: {}\r\n", self.host);
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if method == "POST" {
            request += "Content-Type: application/x-www-form-urlencoded\r\n";
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
            .write_all(format!("{request}\r\n{body}").as_bytes())
            .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        Response {
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], "")
    }

    /// Submits a form of this page.
    fn submit(&self, form: &str) -> Response {
        let origin = format!("http://{}", self.host);
        self.request("POST", "/change", &[("Origin", &origin)], form)
    }

    /// The overview, when it contains this text.
    fn overview_with(&self, text: &str) -> Response {
        let end = Instant::now() + LONG;
        loop {
            let page = self.get("/");
            if page.body.contains(text) {
                return page;
            }
            assert!(Instant::now() < end, "{text:?} is not in {}", page.body);
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Response {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &str| {
            line.split_once(": ")
                .filter(|(n, _)| *n == name)
                .map(|(_, v)| v.len())
        };
        let line = self.head.lines().find(|line| of(line).is_some())?;
        Some(line.split_once(": ")?.1)
    }

    /// The values of the hidden fields of a form, as its browser would send them.
    fn form(&self) -> String {
        let fields = self.body.split("<input type=\"hidden\" name=\"").skip(1);
        let fields: Vec<_> = fields
            .map(|field| {
                let (name, rest) = field.split_once("\" value=\"").unwrap();
                let (value, _) = rest.split_once('"').unwrap();
                format!("{name}={}", value.replace(' ', "+"))
            })
            .collect();
        fields.join("&")
    }
}

/// A page with dead letters, two of which have the error `timeout`.
fn letters() -> [Letter; 3] {
    [
        Letter::new("command orders.place", "handlers", "timeout"),
        Letter::new("event orders.placed", "mail", "refused"),
        Letter::new("event orders.placed", "mail", "timeout"),
    ]
}

#[tokio::test]
async fn every_response_is_protected_by_its_headers() {
    let server = Redis::start();
    let (tool, _) = redis(&server).await;
    let page = Page::start(&tool, &[]);
    let evil = [("Host", "evil.example")];
    for (response, status) in [
        (page.get("/"), 200),
        (page.get("/style.css"), 200),
        (page.get("/dead-letters"), 200),
        (page.get("/dead-letter?position=1-1"), 404),
        (page.get("/missing"), 404),
        (page.get("/dead-letters?older_than=soon"), 400),
        (page.request("GET", "/", &evil, ""), 403),
        (page.request("POST", "/", &[], ""), 403),
    ] {
        assert_eq!(response.status(), status, "{}", response.head);
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            ),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
        ] {
            assert_eq!(response.header(name), Some(value), "{}", response.head);
        }
        assert!(!response.body.contains("<script") && !response.body.contains("style="));
    }
}

#[tokio::test]
async fn another_name_for_this_machine_is_refused() {
    let server = Redis::start();
    let (tool, _) = redis(&server).await;
    let page = Page::start(&tool, &[]);
    let port = page.host.rsplit_once(':').unwrap().1;
    for host in [
        "evil.example",
        &format!("evil.example:{port}"),
        "10.0.0.1",
        "",
    ] {
        let response = page.request("GET", "/dead-letters", &[("Host", host)], "");
        assert_eq!(response.status(), 403, "{host}");
        assert!(!response.body.contains("redis://"), "{}", response.body);
    }
    // A tunnel may have another port.
    for host in ["localhost", "localhost:1", "127.0.0.1:1", "[::1]:1"] {
        let response = page.request("GET", "/dead-letters", &[("Host", host)], "");
        assert_eq!(response.status(), 200, "{host}");
    }
}

#[tokio::test]
async fn the_page_listens_on_loopback_only() {
    for address in ["0.0.0.0:0", "10.0.0.1:80", "[::]:0"] {
        let server = Redis::start();
        let tool = Tool::new(server.url(), "shop");
        let error = tool.error(2, &["serve", "--listen", address]);
        let expected = format!(
            "error: --listen {address} is not a loopback address: everyone who can reach the page can read messages. \
             Listen on 127.0.0.1, and use an SSH tunnel from other machines\n"
        );
        assert_eq!(error, expected);
    }
    let help = tool().args(["serve", "--help"]).output().unwrap();
    assert!(
        String::from_utf8(help.stdout)
            .unwrap()
            .contains("[default: 127.0.0.1:0]")
    );
}

#[tokio::test]
async fn a_page_on_another_loopback_address_is_reached_by_it() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    let found = bury(&broker, &letters()).await;
    let page = Page::start(&tool, &["--listen", "127.0.0.2:0", "--allow-changes"]);
    assert!(page.host.starts_with("127.0.0.2:"), "{}", page.host);
    assert_eq!(page.get("/").status(), 200);
    for host in ["evil.example", "127.0.0.3", "127.0.0.2.evil.example"] {
        let response = page.request("GET", "/dead-letters", &[("Host", host)], "");
        assert_eq!(response.status(), 403, "{host}");
    }
    let path = format!("/confirm?action=discard&position={}", found[0].position);
    assert_eq!(page.submit(&page.get(&path).form()).status(), 303);
    assert_eq!(buried(&broker).await.len(), 2);
}

#[tokio::test]
async fn a_page_that_is_read_only_changes_nothing() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    let found = bury(&broker, &letters()).await;
    let page = Page::start(&tool, &[]);
    let position = &found[0].position;
    for path in [
        "/",
        "/dead-letters",
        &format!("/dead-letter?position={position}"),
    ] {
        let body = page.get(path).body;
        assert!(body.contains("read-only"), "{body}");
        assert!(
            !body.contains("/confirm") && !body.contains("token"),
            "{body}"
        );
    }
    let confirm = page.get(&format!("/confirm?action=discard&position={position}"));
    assert_eq!(confirm.status(), 403);
    assert!(
        confirm.body.contains("serve --allow-changes"),
        "{}",
        confirm.body
    );
    let change = page.submit(&format!(
        "action=discard&position={position}&number=1&token="
    ));
    assert_eq!(change.status(), 403);
    assert_eq!(buried(&broker).await.len(), 3);
}

#[tokio::test]
async fn a_change_that_another_site_requests_is_refused() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    let found = bury(&broker, &letters()).await;
    let page = Page::start(&tool, &["--allow-changes"]);
    let path = format!("/confirm?action=discard&position={}", found[0].position);
    let form = page.get(&path).form();
    assert!(form.contains("token="), "{form}");
    let own = format!("http://{}", page.host);
    let post = |headers: &[(&str, &str)], form: &str| {
        page.request("POST", "/change", headers, form).status()
    };
    assert_eq!(post(&[], &form), 403, "without an origin");
    for origin in [
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        &own.replace("http", "https"),
    ] {
        assert_eq!(post(&[("Origin", origin)], &form), 403, "{origin}");
    }
    let rebound = [("Host", "evil.example"), ("Origin", "http://evil.example")];
    assert_eq!(post(&rebound, &form), 403);
    let token = form
        .split('&')
        .find(|field| field.starts_with("token="))
        .unwrap();
    for other in ["token=", "token=00000000-0000-4000-8000-000000000000", "x="] {
        let form = form.replace(token, other);
        assert_eq!(post(&[("Origin", &own)], &form), 403, "{other}");
    }
    // A page of another process.
    let other = Page::start(&tool, &["--allow-changes"]);
    assert_eq!(other.submit(&form).status(), 403);
    // `GET` changes nothing.
    assert_eq!(page.get(&format!("/change?{form}")).status(), 405);
    assert_eq!(buried(&broker).await.len(), 3);
    assert_eq!(page.submit(&form).status(), 303);
    assert_eq!(buried(&broker).await.len(), 2);
}

async fn dead_letters_are_replayed_and_discarded<T: Inspect>(tool: &Tool, broker: &T) {
    let stored = async |topic| match &broker.inspect(&[topic]).await.unwrap()[..] {
        [topic] => topic.stored,
        _ => 0,
    };
    create_group(broker, topic(Kind::Event, "orders.placed"), "mail").await;
    let found = bury(broker, &letters()).await;
    let page = Page::start(tool, &["--allow-changes"]);

    let position = found[1].position.replace(' ', "%20");
    let confirm = page.get(&format!("/confirm?action=replay&position={position}"));
    assert!(
        confirm.body.contains("Replay 1 dead letter?"),
        "{}",
        confirm.body
    );
    let done = page.submit(&confirm.form());
    assert_eq!(
        (done.status(), done.header("location")),
        (303, Some("/dead-letters?replayed=1"))
    );
    assert_eq!(stored(topic(Kind::Event, "orders.placed")).await, 1);
    assert!(
        page.get("/dead-letters?replayed=1")
            .body
            .contains("1 dead letter replayed.")
    );
    assert_eq!(page.submit(&confirm.form()).status(), 404, "it is gone");

    let confirm = page.get("/confirm?action=discard&error=timeout&message=event%20orders.placed");
    assert!(
        confirm.body.contains("Discard 1 dead letter?"),
        "{}",
        confirm.body
    );
    assert_eq!(
        page.submit(&confirm.form()).header("location"),
        Some("/dead-letters?discarded=1")
    );
    let left = buried(broker).await;
    assert_eq!((left.len(), &*left[0].origin), (1, "command orders.place"));

    // Another dead letter, after the question was asked.
    let confirm = page.get("/confirm?action=discard");
    let added = bury(broker, &letters()[..1]).await;
    assert_eq!(
        page.submit(&confirm.form()).header("location"),
        Some("/dead-letters?discarded=1")
    );
    let left = buried(broker).await;
    assert_eq!((left.len(), &left[0].position), (1, &added[1].position));
    let confirm = page.get("/confirm?action=discard");
    assert_eq!(
        page.submit(&confirm.form()).header("location"),
        Some("/dead-letters?discarded=1")
    );
    assert_eq!(buried(broker).await.len(), 0);
    let nothing = page.get("/confirm?action=discard").body;
    assert!(
        nothing.contains("Discard 0 dead letters?") && !nothing.contains("<button"),
        "{nothing}"
    );
}

#[tokio::test]
async fn dead_letters_of_redis_are_replayed_and_discarded() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    dead_letters_are_replayed_and_discarded(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_of_kafka_are_replayed_and_discarded() {
    let (tool, broker) = kafka("cli-page").await;
    dead_letters_are_replayed_and_discarded(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_of_sqlite_are_replayed_and_discarded() {
    let (_directory, tool, broker) = sqlite().await;
    dead_letters_are_replayed_and_discarded(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_of_postgres_are_replayed_and_discarded() {
    let (tool, broker) = postgres("cli_page").await;
    dead_letters_are_replayed_and_discarded(&tool, &broker).await;
}

#[tokio::test]
async fn a_dead_letter_that_appears_after_the_question_is_left() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    let shown = bury(&broker, &letters()).await;
    let page = Page::start(&tool, &["--allow-changes"]);
    let confirm = page.get("/confirm?action=discard");
    // As many dead letters as were shown, but not the same ones.
    tool.out(&["dead-letters", "discard", "--yes", &shown[0].position]);
    let there = bury(&broker, &letters()[..1]).await;
    assert_eq!(there.len(), shown.len());
    let refused = page.submit(&confirm.form());
    assert_eq!(refused.status(), 409);
    assert!(
        refused.body.contains("Nothing was done")
            && refused.body.contains("Discard 2 dead letters?"),
        "{}",
        refused.body
    );
    assert_eq!(buried(&broker).await.len(), 3);
    assert_eq!(
        page.submit(&refused.form()).header("location"),
        Some("/dead-letters?discarded=2")
    );
    let left = buried(&broker).await;
    assert_eq!((left.len(), &left[0].position), (1, &there[2].position));
    // A form without the last position selects nothing.
    let form = page.get("/confirm?action=discard").form();
    let until = form
        .split('&')
        .find(|field| field.starts_with("until="))
        .unwrap();
    assert_eq!(page.submit(&form.replace(until, "x=")).status(), 409);
    assert_eq!(buried(&broker).await.len(), 1);
}

#[tokio::test]
async fn the_groups_of_a_database_are_shown() {
    let (_directory, tool, broker) = sqlite().await;
    create_group(&broker, topic(Kind::Event, "orders.placed"), "mail").await;
    append(&broker, topic(Kind::Event, "orders.placed"), [record("{}")]).await;
    let page = Page::start(&tool, &[]);
    let overview = page.overview_with("no worker").body;
    let address = broker.address();
    assert!(overview.contains(address), "{address}: {overview}");
}

#[tokio::test]
async fn a_change_that_fails_in_part_says_so() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    bury(&broker, &[Letter::new("nonsense", "handlers", "a")]).await;
    bury(&broker, &letters()[..1]).await;
    let page = Page::start(&tool, &["--allow-changes"]);
    let form = page.get("/confirm?action=replay").form();
    let failed = page.submit(&form);
    assert_eq!(failed.status(), 502);
    let text = "1 dead letter replayed; 1 dead letter could not be replayed: redis://";
    assert!(failed.body.contains(text), "{}", failed.body);
    assert_eq!(buried(&broker).await.len(), 1);
}

/// Text that must appear escaped in every place.
const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[2J\u{202e}";

#[tokio::test]
async fn hostile_messages_are_escaped() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    let hostile_topic = topic(Kind::Command, HOSTILE);
    create_group(&broker, hostile_topic.clone(), HOSTILE).await;
    append(&broker, hostile_topic, [record("{}")]).await;
    let mut letter = Letter::new("command <script>", HOSTILE, HOSTILE);
    letter.body = HOSTILE.as_bytes().to_vec();
    letter.headers = format!("id: {HOSTILE}\n");
    letter.failed = HOSTILE.to_owned();
    let found = bury(&broker, &[letter]).await;
    let page = Page::start(&tool, &["--allow-changes"]);
    let overview = page.overview_with("no worker");
    let position = &found[0].position;
    let query = "%3Cscript%3E%22%27%3E%3Cimg%3E";
    let pages = [
        overview,
        page.get("/dead-letters"),
        page.get(&format!("/dead-letter?position={position}")),
        page.get(&format!("/confirm?action=discard&position={position}")),
        page.get(&format!(
            "/dead-letters?message={query}&group={query}&error={query}&older_than={query}"
        )),
        page.get(&format!(
            "/dead-letters?message={query}&replayed={query}&discarded={query}"
        )),
        page.get(&format!("/confirm?action={query}&position={query}")),
        page.get(&format!("/confirm?action=discard&message={query}")),
        page.get(&format!("/dead-letters?after={query}")),
        page.get(&format!("/dead-letter?position={query}")),
        page.get(&format!("/{query}")),
    ];
    for response in &pages {
        let body = &response.body;
        assert!(
            !body.contains("<script") && !body.contains("<img"),
            "{body}"
        );
        assert!(!body.contains(['\x1b', '\u{202e}']), "{body:?}");
        // No attribute is left by a quote.
        assert!(!body.contains("\"'><"), "{body}");
    }
    for page in &pages[..4] {
        assert!(page.body.contains("&lt;script&gt;"), "{}", page.body);
    }
    let details = &pages[2].body;
    assert!(
        details.contains("onerror=alert(1)&gt;\\u{1b}[2J\\u{202e}\n"),
        "{details}"
    );
}

#[tokio::test]
async fn a_body_that_is_not_text_is_shown_as_a_dump() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    let mut letter = Letter::new("command a", "handlers", "e");
    letter.body = vec![0xff, 0x3c, 0x62];
    let found = bury(&broker, &[letter]).await;
    let page = Page::start(&tool, &[]);
    let details = page
        .get(&format!("/dead-letter?position={}", found[0].position))
        .body;
    assert!(details.contains("00000000  ff 3c 62  "), "{details}");
    assert!(details.contains(".&lt;b\n"), "{details}");
}

#[tokio::test]
async fn a_broker_that_is_gone_is_reported_without_its_password() {
    let mut server = Redis::with(RedisOptions {
        password: Some("secret".to_owned()),
        ..RedisOptions::default()
    });
    let (tool, broker) = redis(&server).await;
    create_group(&broker, topic(Kind::Event, "orders.placed"), "mail").await;
    bury(&broker, &letters()).await;
    let page = Page::start(&tool, &["--allow-changes", "--timeout", "500ms"]);
    let before = page.overview_with("orders.placed").body;
    let form = page.get("/confirm?action=discard").form();
    server.kill();
    let address = format!("redis://{}", server.host_and_port());
    let overview = page.overview_with("The broker does not answer.");
    assert_eq!(overview.status(), 200);
    assert!(
        overview.body.contains("orders.placed"),
        "the last figures are shown"
    );
    let mut pages = vec![before, overview.body];
    for response in [
        page.get("/dead-letters"),
        page.get("/dead-letter?position=1-1"),
        page.get("/confirm?action=discard"),
        page.submit(&form),
    ] {
        assert_eq!(response.status(), 502, "{}", response.body);
        assert!(
            response.body.contains("The broker does not answer"),
            "{}",
            response.body
        );
        pages.push(response.body);
    }
    for body in pages {
        assert!(body.contains(&address), "{body}");
        assert!(!body.contains("secret"), "{body}");
    }
    server.launch();
    let again = page.overview_with("No topics.").body;
    assert!(!again.contains("does not answer"), "{again}");
}
