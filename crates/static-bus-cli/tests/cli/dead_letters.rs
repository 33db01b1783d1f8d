//! `dead-letters list`, `show`, `replay` and `discard`.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use jiff::{Timestamp, ToSpan as _};
use serde_json::json;
use static_bus_remote::{
    Transport,
    transport::{Inspect, Kind},
};
use test_brokers::redis::Redis;

use crate::support::{
    Letter, Tool, buried, bury, create_group, kafka, position, postgres, printed, redis, sqlite,
    topic,
};

/// Dead letters of two messages and three groups, one of them recent, one hostile.
fn letters() -> Vec<Letter> {
    let mut recent = Letter::new(
        "event orders.placed",
        "mail",
        "orders.placed: its handler failed: refused",
    );
    recent.failed = (Timestamp::now() - 10.minutes()).to_string();
    let mut hostile = Letter::new(
        "command orders.place",
        "handlers",
        "\x1b]0;owned\x07<script>\u{9b}2J\ntimeout",
    );
    hostile.body = b"\x1b[2J\xff\x00".to_vec();
    vec![
        Letter::new(
            "command orders.place",
            "handlers",
            "orders.place: its handler failed: Timeout",
        ),
        Letter::new(
            "event orders.placed",
            "stock",
            "orders.placed: its handler failed: no stock",
        ),
        recent,
        hostile,
    ]
}

/// The texts of the errors that are left, by their number in [`letters`].
async fn left<T: Transport>(broker: &T) -> Vec<usize> {
    let number = |error: &str| letters().iter().position(|letter| letter.error == error);
    let left = buried(broker).await;
    left.iter()
        .map(|letter| number(&letter.error).unwrap())
        .collect()
}

async fn dead_letters_are_listed<T: Transport>(tool: &Tool, broker: &T) {
    assert_eq!(tool.out(&["dead-letters", "list"]), "no dead letters\n");
    let letters = bury(broker, &letters()).await;
    let positions: Vec<_> = letters.iter().map(position).collect();
    let width = positions[0].len();
    let [a, b, c, d] = &positions[..] else {
        panic!("{positions:?}");
    };
    let recent = letters[2].last_failure[..19].replace('T', " ");
    assert_eq!(
        tool.out(&["dead-letters", "list"]),
        format!(
            "\
{:width$}  MESSAGE               GROUP     ATTEMPTS  LAST FAILURE (UTC)   ERROR
{a}  command orders.place  handlers         3  2026-11-24 10:00:00  orders.place: its handler failed: Timeout
{b}  event orders.placed   stock            3  2026-11-24 10:00:00  orders.placed: its handler failed: no stock
{c}  event orders.placed   mail             3  {recent}  orders.placed: its handler failed: refused
{d}  command orders.place  handlers         3  2026-11-24 10:00:00  \\u{{1b}}]0;owned\\u{{7}}<script>\\u{{9b}}2J\\ntimeout
",
            "POSITION"
        )
    );
    let page = tool.out(&["dead-letters", "list", "--limit", "2"]);
    assert!(
        page.ends_with(&format!("\nThere may be more: --after {b}\n")),
        "{page}"
    );
    let rest = tool.json(&["dead-letters", "list", "--after", b, "--limit", "1"]);
    let expected = json!({
        "position": c,
        "kind": "event",
        "message": "orders.placed",
        "group": "mail",
        "service": "orders",
        "attempts": 3,
        "error": "orders.placed: its handler failed: refused",
        "first_failure": "2026-11-24T09:00:00Z",
        "last_failure": letters[2].last_failure,
        "place": "stream 1-1",
    });
    assert_eq!(rest, [expected]);
    for (filter, expected) in [
        (&["--message", "orders.place"][..], vec![a, d]),
        (&["--message", "event orders.placed"], vec![b, c]),
        (&["--group", "mail"], vec![c]),
        (&["--error", "timeout"], vec![a, d]),
        (&["--older-than", "1h"], vec![a, b, d]),
        (&["--younger-than", "1h"], vec![c]),
        (&["--error", "timeout", "--group", "stock"], vec![]),
    ] {
        let found = tool.json(&[&["dead-letters", "list"], filter].concat());
        let found: Vec<_> = found
            .iter()
            .map(|l| l["position"].as_str().unwrap())
            .collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    assert!(
        tool.error(1, &["dead-letters", "list", "--after", "nonsense"])
            .contains("is not the position")
    );
}

async fn dead_letters_are_shown<T: Transport>(tool: &Tool, broker: &T) {
    let letters = bury(broker, &letters()).await;
    let (first, hostile) = (position(&letters[0]), position(&letters[3]));
    let headers = "\
headers
  specversion: 1.0
  id: 7
  source: shop
  type: orders.place
  datacontenttype: application/json
";
    assert_eq!(
        tool.out(&["dead-letters", "show", &first]),
        format!(
            "\
position       {first}
message        command orders.place
group          handlers
error          orders.place: its handler failed: Timeout
attempts       3
first failure  2026-11-24 09:00:00
last failure   2026-11-24 10:00:00
service        orders
place          stream 1-1
key            42
{headers}body (13 bytes)
  {{\"invoice\":7}}
"
        )
    );
    let shown = tool.out(&["dead-letters", "show", &hostile]);
    let body =
        "body (6 bytes)\n  00000000  1b 5b 32 4a ff 00                                .[2J..\n";
    assert!(shown.ends_with(body), "{shown}");
    assert!(
        !shown.contains(|c: char| c.is_control() && c != '\n'),
        "{shown:?}"
    );

    let shown = tool.out(&["dead-letters", "show", &first, &hostile, "--json"]);
    assert!(
        !shown.contains(|c: char| c.is_control() && c != '\n'),
        "{shown:?}"
    );
    let objects: Vec<serde_json::Value> = shown
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(
        (&objects[0]["body"], &objects[0]["body_encoding"]),
        (&json!("{\"invoice\":7}"), &json!("utf-8"))
    );
    assert_eq!(
        (&objects[0]["key"], &objects[0]["headers"][1]),
        (&json!("42"), &json!(["id", "7"]))
    );
    assert_eq!(
        (&objects[1]["body"], &objects[1]["body_encoding"]),
        (&json!("1b5b324aff00"), &json!("hex"))
    );
    assert_eq!(objects[1]["error"], letters[3].error);

    tool.out(&["dead-letters", "discard", "--yes", &first]);
    let error = tool.error(1, &["dead-letters", "show", &first]);
    let expected = format!(
        "error: there is no dead letter at {first}: it was replayed or discarded, or the position is wrong; \
         `dead-letters list` has the positions\n"
    );
    assert_eq!(error, expected);
}

async fn dead_letters_are_replayed_and_discarded<T: Inspect>(tool: &Tool, broker: &T) {
    let stored = async |topic| match &broker.inspect(&[topic]).await.unwrap()[..] {
        [topic] => topic.stored,
        _ => 0,
    };
    let [place, placed] = [
        topic(Kind::Command, "orders.place"),
        topic(Kind::Event, "orders.placed"),
    ];
    // An event without a group may be dropped.
    create_group(broker, placed.clone(), "stock").await;
    let letters = bury(broker, &letters()).await;
    let out = tool.out(&["dead-letters", "replay", "--yes", &position(&letters[1])]);
    assert_eq!(out, "replayed 1 dead letter\n");
    assert_eq!(left(broker).await, [0, 2, 3]);
    assert_eq!(
        (stored(place.clone()).await, stored(placed.clone()).await),
        (0, 1)
    );

    let replay = ["dead-letters", "replay", "--yes", "--error", "TIMEOUT"];
    assert_eq!(
        tool.json(&replay),
        [json!({"action": "replay", "done": 2, "failed": 0})]
    );
    assert_eq!(left(broker).await, [2]);
    assert_eq!(stored(place.clone()).await, 2);
    let none = tool.out(&["dead-letters", "discard", "--yes", "--older-than", "1h"]);
    assert_eq!(none, "discarded 0 dead letters\n");

    let discard = [
        "dead-letters",
        "discard",
        "--yes",
        "--message",
        "orders.placed",
    ];
    assert_eq!(tool.out(&discard), "discarded 1 dead letter\n");
    assert_eq!(left(broker).await, [0; 0]);
    assert_eq!((stored(place).await, stored(placed).await), (2, 1));
}

async fn many_dead_letters_are_changed_in_batches<T: Transport>(tool: &Tool, broker: &T) {
    let letter = |_| Letter::new("command orders.place", "handlers", "timeout");
    let mut letters: Vec<_> = (0..1234).map(letter).collect();
    // It cannot be replayed.
    letters.insert(150, Letter::new("nonsense", "handlers", "timeout"));
    bury(broker, &letters).await;
    let printed = tool.run(&["dead-letters", "replay", "--all", "--yes"]);
    assert_eq!(
        (printed.status, &*printed.out),
        (1, "replayed 1,234 dead letters\n")
    );
    let expected = format!(
        "error: 1,234 dead letters replayed; 1 dead letter could not be replayed: {}: the dead letter's origin cannot be \
         read: \"nonsense\"\n",
        broker.address()
    );
    assert_eq!(printed.err, expected);
    assert_eq!(buried(broker).await.len(), 1);
}

#[tokio::test]
async fn dead_letters_are_listed_on_redis() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    dead_letters_are_listed(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_are_listed_on_kafka() {
    let (tool, broker) = kafka("cli-list").await;
    dead_letters_are_listed(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_are_listed_on_sqlite() {
    let (_directory, tool, broker) = sqlite().await;
    dead_letters_are_listed(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_are_listed_on_postgres() {
    let (tool, broker) = postgres("cli_list").await;
    dead_letters_are_listed(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_are_shown_on_redis() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    dead_letters_are_shown(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_are_shown_on_kafka() {
    let (tool, broker) = kafka("cli-show").await;
    dead_letters_are_shown(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_are_shown_on_sqlite() {
    let (_directory, tool, broker) = sqlite().await;
    dead_letters_are_shown(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_are_shown_on_postgres() {
    let (tool, broker) = postgres("cli_show").await;
    dead_letters_are_shown(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_are_replayed_and_discarded_on_redis() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    dead_letters_are_replayed_and_discarded(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_are_replayed_and_discarded_on_kafka() {
    let (tool, broker) = kafka("cli-change").await;
    dead_letters_are_replayed_and_discarded(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_are_replayed_and_discarded_on_sqlite() {
    let (_directory, tool, broker) = sqlite().await;
    dead_letters_are_replayed_and_discarded(&tool, &broker).await;
}

#[tokio::test]
async fn dead_letters_are_replayed_and_discarded_on_postgres() {
    let (tool, broker) = postgres("cli_change").await;
    dead_letters_are_replayed_and_discarded(&tool, &broker).await;
}

#[tokio::test]
async fn many_dead_letters_are_changed_in_batches_on_redis() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    many_dead_letters_are_changed_in_batches(&tool, &broker).await;
}

#[tokio::test]
async fn many_dead_letters_are_changed_in_batches_on_kafka() {
    let (tool, broker) = kafka("cli-many").await;
    many_dead_letters_are_changed_in_batches(&tool, &broker).await;
}

#[tokio::test]
async fn many_dead_letters_are_changed_in_batches_on_sqlite() {
    let (_directory, tool, broker) = sqlite().await;
    many_dead_letters_are_changed_in_batches(&tool, &broker).await;
}

#[tokio::test]
async fn many_dead_letters_are_changed_in_batches_on_postgres() {
    let (tool, broker) = postgres("cli_many").await;
    many_dead_letters_are_changed_in_batches(&tool, &broker).await;
}

/// The number of entries that the server has read since the last call.
fn reads(server: &Redis) -> usize {
    let stats = server.command(&["INFO", "commandstats"]);
    server.command(&["CONFIG", "RESETSTAT"]);
    let line = stats
        .lines()
        .find_map(|l| l.strip_prefix("cmdstat_xrange:calls="));
    line.map_or(0, |line| line.split_once(',').unwrap().0.parse().unwrap())
}

#[tokio::test]
async fn the_reads_of_a_change_grow_with_the_number_of_dead_letters_and_no_faster() {
    const LETTERS: usize = 1500;
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    let letter = |_| Letter::new("command orders.place", "handlers", "timeout");
    let letters: Vec<_> = (0..LETTERS).map(letter).collect();
    let positions: Vec<_> = bury(&broker, &letters).await.iter().map(position).collect();
    reads(&server);
    let last: Vec<_> = positions[LETTERS - 50..].iter().map(|p| &**p).collect();
    let shown = tool.json(&[&["dead-letters", "show"][..], &last].concat());
    assert_eq!(shown.len(), 50);
    let read = reads(&server);
    assert!(read <= LETTERS + 10, "{read} to show 50");
    let discard = ["dead-letters", "discard", "--error", "timeout", "--yes"];
    assert_eq!(tool.out(&discard), "discarded 1,500 dead letters\n");
    let read = reads(&server);
    // Once to count them, and once to discard them.
    assert!(read <= 2 * LETTERS + 10, "{read} to discard {LETTERS}");
}

#[tokio::test]
async fn a_change_needs_a_selection_and_a_confirmation() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    let letters = bury(&broker, &letters()).await;
    let first = position(&letters[0]);
    for verb in ["replay", "discard"] {
        let unconfirmed = format!(
            "error: {verb} asks for confirmation, and the input is not a terminal: add --yes\n"
        );
        assert_eq!(tool.error(2, &["dead-letters", verb, &first]), unconfirmed);
        assert_eq!(tool.error(2, &["dead-letters", verb, "--all"]), unconfirmed);
        let unclear = format!(
            "error: name the dead letters to {verb}: either positions, or a filter such as --message, or --all\n"
        );
        for arguments in [
            &["--yes"][..],
            &["--yes", "--all", "--group", "mail"],
            &["--yes", "--all", &first],
            &["--yes", "--group", "mail", &first],
        ] {
            let arguments = [&["dead-letters", verb], arguments].concat();
            assert_eq!(tool.error(2, &arguments), unclear);
        }
    }
    assert_eq!(left(&broker).await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_position_that_is_named_twice_counts_once() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    let letters = bury(&broker, &letters()).await;
    let (first, last) = (position(&letters[0]), position(&letters[3]));
    let shown = tool.json(&["dead-letters", "show", &first, &last, &first]);
    let shown: Vec<_> = shown.iter().map(|letter| &letter["position"]).collect();
    assert_eq!(shown, [&first, &last]);
    let out = tool.out(&["dead-letters", "replay", "--yes", &first, &first]);
    assert_eq!(out, "replayed 1 dead letter\n");
    let place = topic(Kind::Command, "orders.place");
    let topics = broker.inspect(&[place]).await.unwrap();
    assert_eq!(topics[0].stored, 1);
    assert_eq!(left(&broker).await, [1, 2, 3]);
}

#[tokio::test]
async fn at_a_terminal_a_change_asks_first() {
    let server = Redis::start();
    let (tool, broker) = redis(&server).await;
    bury(&broker, &letters()).await;
    let answered = |answer: &str| {
        let program = tool.command(&[]);
        let program = program.get_program().to_str().unwrap();
        let line = format!("{program} dead-letters discard --error timeout");
        // The program `script` runs a command in a terminal.
        let mut terminal = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .envs(
                tool.command(&[])
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script` is a part of every Debian");
        let mut input = terminal.stdin.take().unwrap();
        input.write_all(answer.as_bytes()).unwrap();
        printed(terminal.wait_with_output().unwrap())
    };
    let refused = answered("n\n");
    assert_eq!(refused.status, 0);
    let question = "  2 × command orders.place, handlers\r\nDiscard 2 dead letters? [y/N] ";
    assert!(refused.out.contains(question), "{refused:?}");
    assert!(
        refused.out.ends_with("discarded 0 dead letters\r\n"),
        "{refused:?}"
    );
    assert_eq!(left(&broker).await, [0, 1, 2, 3]);

    let confirmed = answered("y\n");
    assert!(
        confirmed.out.ends_with("discarded 2 dead letters\r\n"),
        "{confirmed:?}"
    );
    assert_eq!(left(&broker).await, [1, 2]);
}
