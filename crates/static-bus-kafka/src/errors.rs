//! Errors of `librdkafka` as errors of the engine, with a remedy.

use std::sync::Arc;

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};

use super::input::is_server;
use static_bus_remote::transport::{TransportError, TransportErrorKind};

/// An error of a client. `doing` names the operation.
pub(super) fn error(address: &Arc<str>, doing: &str, error: &KafkaError) -> TransportError {
    let code = match error {
        // The text of this error contains the value, which may be secret.
        KafkaError::ClientConfig(_, _, name, _) => {
            let reason =
                format!("{doing}: the setting `{name}` is unknown or has an invalid value");
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
        // A name with a NUL byte.
        (None, KafkaError::Nul(_)) => TransportErrorKind::Refused,
        (None, _) => TransportErrorKind::Unreachable,
    };
    TransportError::new(kind, address.clone(), reason).with_source(error.clone())
}

/// An error code of the cluster. `doing` names the operation.
pub(super) fn code(address: &Arc<str>, doing: &str, code: RDKafkaErrorCode) -> TransportError {
    error(address, doing, &KafkaError::Global(code))
}

/// The error of an operation without an answer in time.
pub(super) fn unanswered(address: &Arc<str>, doing: &str) -> TransportError {
    code(address, doing, RDKafkaErrorCode::OperationTimedOut)
}

/// The refusal of a record for its size. `client` and `topic` are the largest sizes that they accept.
pub(super) fn too_large(
    address: &Arc<str>,
    name: &str,
    size: usize,
    (client, topic): (usize, usize),
) -> TransportError {
    let reason = format!("appending to {name}: a record of {size} bytes, and ");
    let reason = reason
        + &match (size > client, size > topic) {
            (true, true) => format!(
                "this client sends {client} and the topic accepts {topic}: raise the setting `message.max.bytes` \
                 and `max.message.bytes` of the topic"
            ),
            (true, false) => {
                format!("this client sends {client}: raise the setting `message.max.bytes`")
            }
            _ => format!("the topic accepts {topic}: raise `max.message.bytes` of the topic"),
        };
    let reason = reason + ", or send a smaller message";
    TransportError::new(TransportErrorKind::TooLarge, address.clone(), reason)
}

/// The failure of a connection, with the text that the client reported.
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
    let failure = match code {
        Authentication | SaslAuthenticationFailed => "the credentials are refused",
        SSL => "the TLS handshake failed",
        Resolve => "a server's name cannot be resolved",
        _ => "no server can be reached",
    };
    let reason = format!("{failure} ({report}); {}", remedy(code));
    TransportError::new(kind(code), address.clone(), reason).with_source(KafkaError::Global(code))
}

/// The class of an error code. Codes about the state of the client or the cluster are transient.
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
            "check the user, the password and the mechanism, and that the cluster has this user"
        }
        Code::SSL => "check `Tls::ca`, and that the port expects TLS",
        Code::Resolve => "check the names of the servers",
        Code::AllBrokersDown | Code::BrokerTransportFailure => {
            "check the addresses, that Kafka is running, and whether the port expects TLS or SASL"
        }
        Code::MessageTimedOut | Code::OperationTimedOut | Code::RequestTimedOut => {
            "the cluster is overloaded or cannot be reached, and may have executed the request"
        }
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => {
            "raise the setting `message.max.bytes` and `max.message.bytes` of the topic, or send a smaller message"
        }
        Code::QueueFull => {
            "the cluster is slower than this program: send fewer messages, or raise \
             `queue.buffering.max.messages` and `queue.buffering.max.kbytes`"
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            "servers of the cluster are down: restore them"
        }
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => {
            "the user lacks a permission: grant it with kafka-acls.sh"
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            "the topic is gone: the next call creates it again"
        }
        Code::InvalidReplicationFactor => "the cluster has fewer servers than `replication`",
        Code::PolicyViolation | Code::InvalidConfig => {
            "the cluster does not allow this topic: create it with the tools of Kafka"
        }
        Code::PurgeQueue | Code::PurgeInflight | Code::Fatal => {
            "the client was closed, and the cluster may have executed the request: call again"
        }
        _ => "see the log of the server",
    }
}

/// Returns `true` if a repetition of the call may succeed.
pub(super) fn is_transient(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    code.is_none_or(|code| kind(code) == TransportErrorKind::Unreachable)
}

/// Returns `true` if a record or its batch was refused for its size.
pub(super) fn is_too_large(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{MessageBatchTooLarge, MessageSizeTooLarge};
    matches!(
        error.rdkafka_error_code(),
        Some(MessageSizeTooLarge | MessageBatchTooLarge)
    )
}

/// Returns `true` if a record was refused for another reason than its size.
pub(super) fn is_refused_record(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::TopicAuthorizationFailed
                | Code::PolicyViolation
                | Code::InvalidTopic
                | Code::InvalidRecord
                | Code::InvalidTimestamp
                | Code::InvalidMessageSize
                | Code::UnsupportedForMessageFormat
                | Code::UnsupportedCompressionType
        )
    )
}

/// Returns `true` if an error of a client is a lost connection, which the client restores by itself.
pub(super) fn is_lost_connection(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{BrokerTransportFailure, Resolve};
    matches!(
        error.rdkafka_error_code(),
        Some(BrokerTransportFailure | Resolve)
    )
}

/// The servers for errors and logs, without secrets.
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

    use super::{address, connection, error, too_large, unanswered};

    #[test]
    fn each_error_code_has_its_kind() {
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
            // Of a producer that is replaced.
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
            assert_eq!(connection(&at, code, "reported").kind(), kind, "{code:?}");
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
    fn a_record_that_is_too_large_names_the_limits_to_raise() {
        let at = "kafka://a:1".into();
        let text = |limits| too_large(&at, "t", 10, limits).to_string();
        let begin = "kafka://a:1: appending to t: a record of 10 bytes, and";
        let end = "or send a smaller message";
        assert_eq!(
            text((5, 20)),
            format!("{begin} this client sends 5: raise the setting `message.max.bytes`, {end}")
        );
        assert_eq!(
            text((20, 5)),
            format!("{begin} the topic accepts 5: raise `max.message.bytes` of the topic, {end}")
        );
        assert_eq!(
            text((6, 5)),
            format!(
                "{begin} this client sends 6 and the topic accepts 5: raise the setting `message.max.bytes` and \
                 `max.message.bytes` of the topic, {end}"
            )
        );
    }

    #[test]
    fn an_address_contains_no_secret() {
        assert_eq!(&*address("a:1, b.c:2"), "kafka://a:1,b.c:2");
        assert_eq!(&*address("me:hush@a:1"), "kafka://a:1");
        assert_eq!(&*address("hush me,b"), "kafka://?,b");
    }
}
