//! Validation of the settings before any client is started.

use std::{collections::BTreeMap, sync::Arc};

use rdkafka::{ClientConfig, error::KafkaError, types::RDKafkaConfRes};

use static_bus_remote::transport::{TransportError, TransportErrorKind};

/// Settings that the engine sets itself, with the reason for the refusal of any other value.
const RESERVED: [(&str, &str); 20] = [
    (
        "bootstrap.servers",
        "pass the servers to `KafkaTransport::builder`",
    ),
    (
        "metadata.broker.list",
        "pass the servers to `KafkaTransport::builder`",
    ),
    ("acks", "a confirmed record must be on all replicas in sync"),
    (
        "request.required.acks",
        "a confirmed record must be on all replicas in sync",
    ),
    ("enable.idempotence", "records must not be duplicated"),
    (
        "enable.gapless.guarantee",
        "the engine reports each refused record",
    ),
    ("partitioner", "keys must keep their partitions"),
    ("transactional.id", "the engine chooses it"),
    ("allow.auto.create.topics", "the engine creates topics"),
    ("group.id", "the engine names groups"),
    ("group.instance.id", "members are dynamic"),
    ("group.protocol", "the engine relies on its own choice"),
    (
        "partition.assignment.strategy",
        "the engine relies on its own choice",
    ),
    (
        "enable.auto.commit",
        "the engine commits acknowledged records",
    ),
    (
        "auto.commit.enable",
        "the engine commits acknowledged records",
    ),
    (
        "enable.auto.offset.store",
        "the engine commits acknowledged records",
    ),
    (
        "auto.offset.reset",
        "the engine chooses where a group begins",
    ),
    (
        "isolation.level",
        "records of aborted transactions must not be read",
    ),
    (
        "message.timeout.ms",
        "use `KafkaTransportBuilder::deadline`",
    ),
    (
        "delivery.timeout.ms",
        "use `KafkaTransportBuilder::deadline`",
    ),
];

/// The parts of names that follow the namespace.
const NAME_PARTS: [&str; 6] = [
    "query",
    "command",
    "event",
    "claims",
    "replies",
    "dead-letters",
];

/// Refuses invalid settings.
pub(super) fn check(
    address: &Arc<str>,
    servers: &str,
    namespace: &str,
    extra: &BTreeMap<String, String>,
) -> Result<(), TransportError> {
    let refuse = |reason: String| {
        let address = address.clone();
        Err(TransportError::new(
            TransportErrorKind::Refused,
            address,
            reason,
        ))
    };
    if !servers.split(',').all(is_server) {
        return refuse(
            "invalid list of servers: expected host:port, separated by commas".to_owned(),
        );
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if namespace.is_empty() || namespace.len() > 100 || !namespace.bytes().all(fits) {
        return refuse(format!(
            "invalid namespace {namespace:?}: expected 1 to 100 letters, digits, `.`, `_` and `-`"
        ));
    }
    if let Some(word) = namespace
        .split(['.', '_'])
        .find(|part| NAME_PARTS.contains(part))
    {
        return refuse(format!(
            "invalid namespace {namespace:?}: `{word}` is reserved"
        ));
    }
    for (name, value) in extra {
        if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| reserved == name) {
            return refuse(format!("`{name}` cannot be set: {why}"));
        }
        let mut alone = ClientConfig::new();
        alone.set(name, value);
        let Err(e) = alone.create_native_config() else {
            continue;
        };
        return refuse(match e {
            KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..) => {
                format!("unknown setting `{name}`: expected the name of a setting of librdkafka")
            }
            KafkaError::ClientConfig(_, text, ..) if !is_secret(name) => {
                format!("invalid value of the setting `{name}`: {text}")
            }
            _ => format!("invalid value of the setting `{name}`"),
        });
    }
    Ok(())
}

/// Returns `true` if a text is `host`, `host:port` or `[address]:port`.
pub(super) fn is_server(text: &str) -> bool {
    let text = text.trim();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_address = host.starts_with('[') && host.ends_with(']');
    let fits =
        |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b) || (is_address && b == b':');
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let bare = bare.unwrap_or(host);
    !bare.is_empty() && bare.bytes().all(fits) && port.is_none_or(|p| p.parse::<u16>().is_ok())
}

/// Returns `true` if the value of a setting may be secret.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "pem", "token", "key", "config"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::check;

    fn refusal(servers: &str, namespace: &str, set: Option<(&str, &str)>) -> Option<String> {
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let extra = BTreeMap::from_iter(set);
        check(&"kafka://k".into(), servers, namespace, &extra)
            .err()
            .map(|e| e.to_string())
    }

    #[test]
    fn servers_are_validated() {
        for servers in ["k", "k:9092", "a.b-c:1, d_e:2", "[::1]:9092", "10.0.0.1:1"] {
            assert_eq!(refusal(servers, "p", None), None, "{servers}");
        }
        for servers in [
            "",
            "k:",
            "k:x",
            "k:70000",
            "kafka://k:1",
            "a:1,,b:2",
            "u:p@k:1",
        ] {
            let text = refusal(servers, "p", None).expect(servers);
            assert_eq!(
                text,
                "kafka://k: invalid list of servers: expected host:port, separated by commas"
            );
        }
    }

    #[test]
    fn namespaces_are_validated() {
        assert_eq!(refusal("k", "prod.shop-1", None), None);
        for namespace in ["", "a b", "shop.command", "my_event.x", "ä"] {
            assert!(refusal("k", namespace, None).is_some(), "{namespace}");
        }
    }

    #[test]
    fn settings_are_validated() {
        assert_eq!(refusal("k", "p", Some(("linger.ms", "2"))), None);
        assert_eq!(
            refusal("k", "p", Some(("linger.sm", "2"))).unwrap(),
            "kafka://k: unknown setting `linger.sm`: expected the name of a setting of librdkafka"
        );
        let text = refusal("k", "p", Some(("linger.ms", "soon"))).unwrap();
        assert!(text.starts_with("kafka://k: invalid value of the setting `linger.ms`: "));
        assert_eq!(
            refusal("k", "p", Some(("acks", "1"))).unwrap(),
            "kafka://k: `acks` cannot be set: a confirmed record must be on all replicas in sync"
        );
    }

    #[test]
    fn a_refusal_contains_no_secret() {
        let text = refusal("k", "p", Some(("ssl.key.pem", "hush\0"))).unwrap();
        assert!(!text.contains("hush"), "{text}");
    }
}
