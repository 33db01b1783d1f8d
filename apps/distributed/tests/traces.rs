//! The spans that a collector receives.

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::mpsc,
    thread,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message;

#[cfg(feature = "redis")]
use support::Service;
use support::run;

/// A collector: the address, and the bodies of the requests.
fn collector() -> (String, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, bodies) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                lines.push(line.trim().to_lowercase());
            }
            assert_eq!(lines[0], "post /v1/traces http/1.1");
            let length = lines
                .iter()
                .find_map(|it| it.strip_prefix("content-length: "));
            let mut body = vec![0; length.unwrap().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            sender.send(body).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            reader.get_mut().write_all(answer).unwrap();
        }
    });
    (url, bodies)
}

/// A span, with the name of its service.
struct Exported {
    service: String,
    span: Span,
}

/// The spans in requests.
fn spans(bodies: &mpsc::Receiver<Vec<u8>>) -> Vec<Exported> {
    let mut all = Vec::new();
    for body in bodies.try_iter() {
        let request = ExportTraceServiceRequest::decode(&*body).unwrap();
        for of_service in request.resource_spans {
            let attributes = of_service.resource.unwrap().attributes;
            let name = attributes.iter().find(|it| it.key == "service.name");
            let service = match name.and_then(|it| it.value.clone()?.value) {
                Some(Value::StringValue(name)) => name,
                other => panic!("the name of a service is {other:?}"),
            };
            let spans = of_service.scope_spans.into_iter().flat_map(|it| it.spans);
            all.extend(spans.map(|span| Exported {
                service: service.clone(),
                span,
            }));
        }
    }
    all
}

/// The only child of a span with this name, in this service.
#[track_caller]
fn child<'s>(spans: &'s [Exported], parent: &Span, service: &str, name: &str) -> &'s Span {
    let mut children = spans.iter().filter(|it| {
        it.span.trace_id == parent.trace_id
            && it.span.parent_span_id == parent.span_id
            && (&*it.service, &*it.span.name) == (service, name)
    });
    let child = children.next();
    assert!(children.next().is_none(), "{name} in {service}: several");
    &child
        .unwrap_or_else(|| panic!("no {name} in {service}"))
        .span
}

#[test]
fn the_spans_of_handlers_and_of_sends_reach_a_collector() {
    let (url, bodies) = collector();
    run(&["--bus", "memory", "--traces", &url]);
    let spans = spans(&bodies);
    let service = "users+inventory+notifications+orders+customer";
    assert!(spans.iter().all(|it| it.service == service));
    for name in [
        "command orders.place",
        "event orders.placed",
        "query users.get",
    ] {
        assert!(spans.iter().any(|it| it.span.name == name), "{name}");
    }
}

#[test]
#[cfg(feature = "redis")]
fn an_order_that_crosses_processes_is_one_trace() {
    let redis = test_brokers::redis::Redis::start();
    let (collector, bodies) = collector();
    let bus = [
        "--bus",
        "redis",
        "--url",
        redis.url(),
        "--traces",
        &collector,
    ];
    let services = ["orders", "notifications", "inventory", "users"]
        .map(|module| Service::start(&[&bus[..], &["--serve", module]].concat()));
    run(&[&bus[..], &["--drive"]].concat());
    for service in services {
        service.interrupt();
    }

    let spans = spans(&bodies);
    let is_order =
        |it: &&Exported| it.service == "customer" && it.span.name == "command orders.place";
    let orders: Vec<_> = spans.iter().filter(is_order).collect();
    assert_eq!(orders.len(), 4);
    for Exported { span: sent, .. } in orders {
        let handled = child(&spans, sent, "orders", "command orders.place");
        let asked = child(&spans, handled, "orders", "query users.get");
        child(&spans, asked, "users", "query users.get");
    }
    // Two orders are placed. Each of the subscribers continues the trace of its order.
    let is_placed =
        |it: &&Exported| it.service == "orders" && it.span.name == "event orders.placed";
    let placed: Vec<_> = spans.iter().filter(is_placed).collect();
    assert_eq!(placed.len(), 2);
    for Exported {
        span: published, ..
    } in placed
    {
        child(&spans, published, "inventory", "event orders.placed");
        let mailed = child(&spans, published, "notifications", "event orders.placed");
        let asked = child(&spans, mailed, "notifications", "query users.get");
        child(&spans, asked, "users", "query users.get");
    }
}
