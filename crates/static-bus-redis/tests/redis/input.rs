//! Mistakes of users: the error names the server and the remedy, and never the password.

use std::{
    error::Error,
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

use static_bus_redis::RedisTransport;
use static_bus_remote::{Transport, transport::TransportError};

use crate::support::*;
use test_brokers::redis::{Redis, RedisOptions};

pub const SECRET: &str = "s3cr3t";

/// The text of the error of `connect`. Neither the error nor its causes contain the password.
pub async fn refusal(url: &str) -> String {
    let config = RedisTransport::builder(url).deadline(Duration::from_secs(10));
    assert!(!format!("{config:?}").contains(SECRET), "{config:?}");
    let error: TransportError = config.connect().await.expect_err("it is refused");
    let mut texts = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(e) = cause {
        texts += &format!(" {e} {e:?}");
        cause = e.source();
    }
    assert!(!texts.contains(SECRET), "{texts}");
    error.to_string()
}

#[tokio::test]
async fn a_malformed_url_is_refused() {
    for url in [
        "",
        "localhost",
        "http://user:s3cr3t@example.com",
        "redis://user:s3cr3t",
        "redis://:s3cr3t@host:port",
        "redis://:s3cr3t@host:6379/abc",
        "redis://:pa/s3cr3t@host:6379/0",
        "redis://user:s3cr3t/host",
        "redis+sentinel://user:s3cr3t@host",
        "redis+sentinel://user:12/s3cr3t@host/name",
        "redis-cluster://:s3cr3t@host/3",
        "redis-cluster://user:12/s3cr3t@host",
    ] {
        let text = refusal(url).await;
        assert!(text.contains("the URL cannot be read"), "{url}: {text}");
        assert!(text.contains("redis://[[user]:password@]host"), "{text}");
    }
    let text = refusal("redis://:s3cr3t@host:6379/abc").await;
    assert!(text.starts_with("redis://host:6379: "), "{text}");
    let text = refusal("rediss-cluster://:s3cr3t@host:6379/3").await;
    assert!(text.starts_with("rediss-cluster://host:6379: "), "{text}");
}

#[tokio::test]
async fn a_refused_connection_names_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let text = refusal(&format!("redis://user:s3cr3t@{address}")).await;
    assert_eq!(
        text,
        format!(
            "redis://{address}: connection refused: start the server, or correct the host and \
             port of the URL"
        )
    );
}

#[tokio::test]
async fn wrong_credentials_are_refused() {
    let redis = Redis::with(RedisOptions {
        password: Some("right".to_owned()),
        ..RedisOptions::default()
    });
    let address = redis.host_and_port();
    for credentials in ["", ":s3cr3t@", "nobody:s3cr3t@"] {
        let text = refusal(&format!("redis://{credentials}{address}")).await;
        let start = format!("redis://{address}: the server refuses the credentials");
        assert!(text.starts_with(&start), "{text}");
    }
    let transport = connect(&redis).await;
    transport.check().await.unwrap();
    assert!(!format!("{transport:?}").contains("right"));
    assert_eq!(transport.address(), format!("redis://{address}"));
    redis.command(&[
        "ACL", "SETUSER", "ann", "on", ">s3cr3t", "~*", "+@all", "-info",
    ]);
    let text = refusal(&format!("redis://ann:s3cr3t@{address}")).await;
    assert!(text.contains("ACL"), "{text}");
    redis.command(&["ACL", "SETUSER", "ann", "+info"]);
    let url = format!("redis://ann:s3cr3t@{address}");
    let ann = redis_at(&url).connect();
    ann.await.unwrap().check().await.unwrap();
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let redis = Redis::start();
    redis.command(&[
        "ACL", "SETUSER", "ann", "on", ">s3cr3t", "~*", "+@all", "-xadd",
    ]);
    let url = format!("redis://ann:s3cr3t@{}", redis.host_and_port());
    let transport = redis_at(&url).connect().await.unwrap();
    let result = transport.append(vec![(command("c"), record("1"))]).await;
    let text = result[0].as_ref().unwrap_err().to_string();
    assert!(
        text.contains("xadd") && text.contains("ACL SETUSER"),
        "{text}"
    );
}

#[tokio::test]
async fn tls_to_a_port_without_it_is_refused() {
    let redis = Redis::start();
    let text = refusal(&format!("rediss://:s3cr3t@{}", redis.host_and_port())).await;
    let start = format!("rediss://{}: no TLS connection", redis.host_and_port());
    assert!(text.starts_with(&start), "{text}");
}

#[tokio::test]
async fn a_server_with_another_protocol_is_refused() {
    let address = speak(|_| "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned());
    let text = refusal(&format!("redis://{address}")).await;
    assert!(text.contains("does not speak the Redis protocol"), "{text}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error_after_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let config = RedisTransport::builder(url).deadline(Duration::from_millis(200));
    let error = config.connect().await.unwrap_err().to_string();
    assert!(error.contains("firewall"), "{error}");
}

/// A server with this `INFO server`.
fn with_information(information: &'static str) -> String {
    speak(move |request| {
        let answers = request.split_terminator('*').skip(1).map(|command| {
            if command.contains("INFO\r\n$6\r\nserver") {
                format!("${}\r\n{information}\r\n", information.len())
            } else if command.contains("HELLO") {
                "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned()
            } else {
                "+OK\r\n".to_owned()
            }
        });
        answers.collect()
    })
}

#[tokio::test]
async fn an_old_server_is_refused() {
    let address = with_information("# Server\r\nredis_version:6.2.14\r\nredis_mode:standalone\r\n");
    let text = refusal(&format!("redis://{address}")).await;
    assert!(text.contains("too old: version 6.2.14"), "{text}");
    // Versions before 6 do not know the protocol RESP3.
    let unknown = "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n";
    let address = speak(move |request| unknown.repeat(request.matches('*').count()));
    let text = refusal(&format!("redis://{address}")).await;
    assert!(text.contains("too old"), "{text}");
}

#[tokio::test]
async fn a_node_of_a_valkey_cluster_is_refused_as_a_single_server() {
    let address = with_information(
        "# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.1.0\r\nserver_mode:cluster\r\n",
    );
    let text = refusal(&format!("redis://{address}")).await;
    assert!(text.contains("its URL is redis-cluster://"), "{text}");
}

#[tokio::test]
async fn a_server_that_may_evict_messages_is_refused() {
    let redis = Redis::start();
    let set = |name, value| redis.command(&["CONFIG", "SET", name, value]);
    set("maxmemory-policy", "allkeys-lru");
    // Without a limit nothing is evicted.
    redis_at(redis.url()).connect().await.unwrap();
    set("maxmemory", "1gb");
    let text = refusal(redis.url()).await;
    assert_eq!(
        text,
        format!(
            "redis://{}: its `maxmemory-policy` is allkeys-lru: messages would be evicted when \
             memory is short; set it to noeviction, in the configuration or with CONFIG SET",
            redis.host_and_port()
        )
    );
    set("maxmemory-policy", "noeviction");
    redis_at(redis.url()).connect().await.unwrap();
}

#[tokio::test]
async fn the_error_of_a_full_server_names_the_remedy() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let result = transport.append(vec![(command("c"), record("1"))]).await;
    let text = result[0].as_ref().unwrap_err().to_string();
    let start = format!("redis://{}: OOM command not allowed", redis.host_and_port());
    assert!(text.starts_with(&start), "{text}");
    assert!(
        text.ends_with("; the server is full: raise `maxmemory`"),
        "{text}"
    );
}

/// The address of a server with these answers.
fn speak(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut request) {
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            if stream.write_all(answer(&text).as_bytes()).is_err() {
                break;
            }
        }
    });
    address
}

#[tokio::test]
async fn the_longest_deadline_is_accepted() {
    let redis = Redis::start();
    let builder = RedisTransport::builder(redis.url()).deadline(Duration::MAX);
    let transport = builder.connect().await.unwrap();
    let sent = vec![(command("orders.place"), record("1"))];
    transport.append(sent).await.remove(0).unwrap();
}
