//! Errors of the client as errors of an engine: what happened, and what can be done.

use std::sync::Arc;

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};

use super::input::is_server;
use static_bus_remote::transport::TransportError;

/// What an error of the client means here.
pub(super) fn error(address: &Arc<str>, doing: &str, error: &KafkaError) -> TransportError {
    let code = match error {
        // Its text has the value, which may be secret.
        KafkaError::ClientConfig(_, _, name, _) => {
            return TransportError::new(
                address.clone(),
                format!("{doing}: the setting `{name}` is unknown, or cannot have its value"),
            );
        }
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    };
    let reason = match code {
        Some(code) => format!("{doing}: {code}; {}", remedy(code)),
        None => format!("{doing}: {error}"),
    };
    TransportError {
        address: address.clone(),
        reason: reason.into(),
        source: Some(Arc::new(error.clone())),
    }
}

/// What an error code means here.
pub(super) fn code(address: &Arc<str>, doing: &str, code: RDKafkaErrorCode) -> TransportError {
    error(address, doing, &KafkaError::Global(code))
}

/// A call that the cluster did not answer in time.
pub(super) fn unanswered(address: &Arc<str>, doing: &str) -> TransportError {
    code(address, doing, RDKafkaErrorCode::OperationTimedOut)
}

/// What the client reported of a connection, in its words.
pub(super) fn connection(
    address: &Arc<str>,
    code: RDKafkaErrorCode,
    report: &str,
) -> TransportError {
    use RDKafkaErrorCode::{Authentication, Resolve, SSL, SaslAuthenticationFailed};
    let code = match report.contains("SSL handshake") {
        true => SSL,
        false => code,
    };
    let what = match code {
        Authentication | SaslAuthenticationFailed => "the credentials are refused",
        SSL => "no encrypted connection can be made",
        Resolve => "the server's name is not known",
        _ => "no server can be reached",
    };
    TransportError {
        address: address.clone(),
        reason: format!("{what} ({report}); {}", remedy(code)).into(),
        source: Some(Arc::new(KafkaError::Global(code))),
    }
}

fn remedy(code: RDKafkaErrorCode) -> &'static str {
    use RDKafkaErrorCode as Code;
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "check the user, the password and the mechanism, and that the server has this user"
        }
        Code::SSL => "check `Tls::ca`, and that the port is one with TLS",
        Code::Resolve => "check the servers' names",
        Code::AllBrokersDown | Code::BrokerTransportFailure => {
            "check the addresses, that Kafka runs there, and whether the port wants TLS or SASL"
        }
        Code::MessageTimedOut | Code::OperationTimedOut | Code::RequestTimedOut => {
            "the cluster is overloaded or cannot be reached, and may or may not have done it"
        }
        Code::MessageSizeTooLarge => {
            "raise `message.max.bytes` here and `max.message.bytes` of the topic, or send less"
        }
        Code::QueueFull => {
            "the cluster is slower than this program: send less, or raise \
             `queue.buffering.max.messages` and `queue.buffering.max.kbytes`"
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            "servers of the cluster are down: look after them"
        }
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => {
            "the user lacks a permission: grant it with kafka-acls"
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            "the topic is gone: call again, which creates it"
        }
        Code::InvalidReplicationFactor => "the cluster has fewer servers than `replication` says",
        Code::PolicyViolation | Code::InvalidConfig => {
            "the cluster does not allow such topics: create it by other means"
        }
        Code::PurgeQueue | Code::PurgeInflight | Code::Fatal => {
            "the client was closed, and the cluster may or may not have it: call again"
        }
        _ => "see the server's log",
    }
}

/// Servers as they are shown, without anything that could be a secret.
pub(super) fn address(servers: &str) -> Arc<str> {
    let shown = servers.split(',').map(|server| {
        let host = server.rsplit_once('@').map_or(server, |(_, host)| host);
        match is_server(host) {
            true => host.trim(),
            false => "?",
        }
    });
    format!("kafka://{}", shown.collect::<Vec<_>>().join(",")).into()
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn an_address_holds_no_secret() {
        assert_eq!(&*address("a:1, b.c:2"), "kafka://a:1,b.c:2");
        assert_eq!(&*address("me:hush@a:1"), "kafka://a:1");
        assert_eq!(&*address("hush me,b"), "kafka://?,b");
    }
}
