//! Errors of the client as errors of an engine: what happened, and what can be done.

use std::sync::Arc;

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};

use super::input::is_server;
use static_bus_remote::transport::{TransportError, TransportErrorKind};

/// What an error of the client means here.
pub(super) fn error(address: &Arc<str>, doing: &str, error: &KafkaError) -> TransportError {
    let code = match error {
        // Its text has the value, which may be secret.
        KafkaError::ClientConfig(_, _, name, _) => {
            let reason =
                format!("{doing}: the setting `{name}` is unknown, or cannot have its value");
            return TransportError::new(TransportErrorKind::Refused, address.clone(), reason);
        }
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    };
    let reason = match code {
        Some(code) => format!("{doing}: {code}; {}", remedy(code)),
        None => format!("{doing}: {error}"),
    };
    let kind = match (code, error) {
        (Some(code), _) => kind(code),
        // A name with a zero byte.
        (None, KafkaError::Nul(_)) => TransportErrorKind::Refused,
        (None, _) => TransportErrorKind::Unreachable,
    };
    TransportError::new(kind, address.clone(), reason).with_source(error.clone())
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
    let reason = format!("{what} ({report}); {}", remedy(code));
    TransportError::new(kind(code), address.clone(), reason).with_source(KafkaError::Global(code))
}

/// The class of an error code. Codes of the client's and the cluster's state are outages, which end.
fn kind(code: RDKafkaErrorCode) -> TransportErrorKind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
            TransportErrorKind::TooLarge
        }
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::UnacceptableCredential
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::DelegationTokenAuthorizationFailed
        | Code::DelegationTokenExpired => TransportErrorKind::Unauthorized,
        Code::PolicyViolation
        | Code::InvalidArgument
        | Code::InvalidType
        | Code::InvalidTopic
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::InvalidRequest
        | Code::InvalidRequiredAcks
        | Code::InvalidGroupId
        | Code::InvalidSessionTimeout
        | Code::InvalidTransactionTimeout
        | Code::InvalidCommitOffsetSize
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidReplicaAssignment
        | Code::InvalidConfig
        | Code::OffsetMetadataTooLarge
        | Code::NotImplemented
        | Code::UnsupportedFeature
        | Code::UnsupportedVersion
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedCompressionType => TransportErrorKind::Refused,
        _ => TransportErrorKind::Unreachable,
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
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => {
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
    use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};
    use static_bus_remote::transport::TransportErrorKind::{
        Refused, TooLarge, Unauthorized, Unreachable,
    };

    use super::{address, connection, error, unanswered};

    #[test]
    fn an_error_has_the_kind_that_its_code_says() {
        let at = "kafka://a:1".into();
        for (code, kind) in [
            (Code::MessageSizeTooLarge, TooLarge),
            (Code::MessageBatchTooLarge, TooLarge),
            (Code::TopicAuthorizationFailed, Unauthorized),
            (Code::GroupAuthorizationFailed, Unauthorized),
            (Code::ClusterAuthorizationFailed, Unauthorized),
            (Code::TransactionalIdAuthorizationFailed, Unauthorized),
            (Code::SaslAuthenticationFailed, Unauthorized),
            (Code::Authentication, Unauthorized),
            (Code::PolicyViolation, Refused),
            (Code::InvalidTopic, Refused),
            (Code::InvalidRecord, Refused),
            (Code::InvalidConfig, Refused),
            (Code::BrokerTransportFailure, Unreachable),
            (Code::AllBrokersDown, Unreachable),
            (Code::MessageTimedOut, Unreachable),
            (Code::QueueFull, Unreachable),
            (Code::NotEnoughReplicas, Unreachable),
            (Code::UnknownTopicOrPartition, Unreachable),
            (Code::PurgeQueue, Unreachable),
            (Code::Fatal, Unreachable),
            // Of the state of the client, which is replaced.
            (Code::InvalidProducerEpoch, Unreachable),
            (Code::InvalidTransactionalState, Unreachable),
        ] {
            for of in [
                KafkaError::MessageProduction(code),
                KafkaError::AdminOp(code),
                KafkaError::Global(code),
            ] {
                assert_eq!(error(&at, "appending", &of).kind(), kind, "{of:?}");
            }
            assert_eq!(connection(&at, code, "it said so").kind(), kind, "{code:?}");
        }
        assert_eq!(unanswered(&at, "appending").kind(), Unreachable);
        assert_eq!(
            error(&at, "closing", &KafkaError::Canceled).kind(),
            Unreachable
        );
        let name = std::ffi::CString::new("a\0b").unwrap_err();
        assert_eq!(
            error(&at, "appending", &KafkaError::Nul(name)).kind(),
            Refused
        );
    }

    #[test]
    fn an_address_holds_no_secret() {
        assert_eq!(&*address("a:1, b.c:2"), "kafka://a:1,b.c:2");
        assert_eq!(&*address("me:hush@a:1"), "kafka://a:1");
        assert_eq!(&*address("hush me,b"), "kafka://?,b");
    }
}
