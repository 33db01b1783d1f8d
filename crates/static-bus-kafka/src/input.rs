//! Looks at what was chosen before it is used, so that mistakes are told at start.

use std::{collections::BTreeMap, sync::Arc};

use rdkafka::{ClientConfig, error::KafkaError, types::RDKafkaConfRes};

use static_bus_remote::transport::{TransportError, TransportErrorKind};

/// What the promises rest on, so that nobody else sets it.
const OURS: [(&str, &str); 20] = [
    ("bootstrap.servers", "the servers are given to the builder"),
    (
        "metadata.broker.list",
        "the servers are given to the builder",
    ),
    ("acks", "what is confirmed has to be on all replicas"),
    (
        "request.required.acks",
        "what is confirmed has to be on all replicas",
    ),
    ("enable.idempotence", "records must not be doubled"),
    (
        "enable.gapless.guarantee",
        "a record that is refused is reported",
    ),
    ("partitioner", "keys would change their partitions"),
    ("transactional.id", "transactions are begun by the engine"),
    ("allow.auto.create.topics", "topics are created by name"),
    ("group.id", "groups are named after messages"),
    ("group.instance.id", "members come and go"),
    ("group.protocol", "the engine relies on the one it chooses"),
    (
        "partition.assignment.strategy",
        "the engine relies on the one it chooses",
    ),
    ("enable.auto.commit", "what is handled is committed"),
    ("auto.commit.enable", "what is handled is committed"),
    ("enable.auto.offset.store", "what is handled is committed"),
    ("auto.offset.reset", "a group begins where it was created"),
    (
        "isolation.level",
        "what a transaction undoes must not be read",
    ),
    ("message.timeout.ms", "use `deadline`"),
    ("delivery.timeout.ms", "use `deadline`"),
];

/// The words that follow the namespace in names.
const WORDS: [&str; 6] = [
    "query",
    "command",
    "event",
    "claims",
    "replies",
    "dead-letters",
];

pub(super) fn check(
    address: &Arc<str>,
    servers: &str,
    namespace: &str,
    more: &BTreeMap<String, String>,
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
            "the servers cannot be read: they are host:port, separated by commas".to_owned(),
        );
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if namespace.is_empty() || namespace.len() > 100 || !namespace.bytes().all(fits) {
        return refuse(format!(
            "{namespace:?} cannot be the namespace: it is up to 100 letters, digits, `.`, `_` and `-`"
        ));
    }
    if let Some(word) = namespace
        .split(['.', '_'])
        .find(|part| WORDS.contains(part))
    {
        return refuse(format!(
            "{namespace:?} cannot be the namespace: `{word}` is what follows it in names of topics"
        ));
    }
    for (name, value) in more {
        if let Some((_, why)) = OURS.iter().find(|(ours, _)| ours == name) {
            return refuse(format!("`{name}` cannot be set: {why}"));
        }
        let mut alone = ClientConfig::new();
        alone.set(name, value);
        let Err(e) = alone.create_native_config() else {
            continue;
        };
        return refuse(match e {
            KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..) => format!(
                "there is no setting `{name}`: its name has to be one of librdkafka's configuration"
            ),
            KafkaError::ClientConfig(_, text, ..) if !is_secret(name) => {
                format!("the setting `{name}` cannot have this value: {text}")
            }
            _ => format!("the setting `{name}` cannot have this value"),
        });
    }
    Ok(())
}

/// Whether it reads `host`, `host:port` or `[address]:port`.
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

/// Whether a setting's value may be one that nobody should read.
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
        let more = BTreeMap::from_iter(set);
        check(&"kafka://k".into(), servers, namespace, &more)
            .err()
            .map(|e| e.to_string())
    }

    #[test]
    fn servers_are_hosts_and_ports() {
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
                "kafka://k: the servers cannot be read: they are host:port, separated by commas"
            );
        }
    }

    #[test]
    fn a_namespace_keeps_programs_apart() {
        assert_eq!(refusal("k", "prod.shop-1", None), None);
        for namespace in ["", "a b", "shop.command", "my_event.x", "ä"] {
            assert!(refusal("k", namespace, None).is_some(), "{namespace}");
        }
    }

    #[test]
    fn a_setting_is_known_and_has_a_value_that_it_can_have() {
        assert_eq!(refusal("k", "p", Some(("linger.ms", "2"))), None);
        assert_eq!(
            refusal("k", "p", Some(("linger.sm", "2"))).unwrap(),
            "kafka://k: there is no setting `linger.sm`: its name has to be one of librdkafka's \
             configuration"
        );
        let text = refusal("k", "p", Some(("linger.ms", "soon"))).unwrap();
        assert!(text.starts_with("kafka://k: the setting `linger.ms` cannot have"));
        assert_eq!(
            refusal("k", "p", Some(("acks", "1"))).unwrap(),
            "kafka://k: `acks` cannot be set: what is confirmed has to be on all replicas"
        );
    }

    #[test]
    fn a_secret_is_not_told() {
        let text = refusal("k", "p", Some(("ssl.key.pem", "hush\0"))).unwrap();
        assert!(!text.contains("hush"), "{text}");
    }
}
