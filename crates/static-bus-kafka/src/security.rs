//! Encryption and authentication.

use std::{fmt, path::PathBuf};

/// Encryption of the connections with TLS. The certificate of a server must match the host name by which the
/// server is addressed.
#[derive(Clone, Default)]
pub struct Tls {
    /// The trusted certificates, as a PEM file. Default: those of the operating system.
    pub ca: Option<PathBuf>,
    /// The certificate of this client, as a PEM file, for a cluster that requires one.
    pub certificate: Option<PathBuf>,
    /// The private key of the certificate, as a PEM file.
    pub key: Option<PathBuf>,
    /// The password of the private key.
    pub key_password: Option<String>,
}

/// The mechanism and the credentials of SASL authentication.
#[derive(Clone)]
#[non_exhaustive]
pub enum Sasl {
    /// `PLAIN`. The password is sent as it is: use it with [`Tls`] only.
    Plain {
        /// The name of the user.
        user: String,
        /// The password of the user.
        password: String,
    },
    /// `SCRAM-SHA-256`.
    ScramSha256 {
        /// The name of the user.
        user: String,
        /// The password of the user.
        password: String,
    },
    /// `SCRAM-SHA-512`.
    ScramSha512 {
        /// The name of the user.
        user: String,
        /// The password of the user.
        password: String,
    },
}

/// The settings of `librdkafka` for encryption and authentication.
pub(super) fn settings(tls: Option<&Tls>, sasl: Option<&Sasl>) -> Vec<(&'static str, String)> {
    let protocol = match (tls, sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    let mut settings = vec![("security.protocol", protocol.to_owned())];
    if let Some(tls) = tls {
        for (name, path) in [
            ("ssl.ca.location", &tls.ca),
            ("ssl.certificate.location", &tls.certificate),
            ("ssl.key.location", &tls.key),
        ] {
            if let Some(path) = path {
                settings.push((name, path.to_string_lossy().into_owned()));
            }
        }
        if let Some(password) = &tls.key_password {
            settings.push(("ssl.key.password", password.clone()));
        }
    }
    if let Some(sasl) = sasl {
        let (mechanism, user, password) = sasl.parts();
        settings.push(("sasl.mechanism", mechanism.to_owned()));
        settings.push(("sasl.username", user.to_owned()));
        settings.push(("sasl.password", password.to_owned()));
    }
    settings
}

impl Sasl {
    fn parts(&self) -> (&'static str, &str, &str) {
        match self {
            Sasl::Plain { user, password } => ("PLAIN", user, password),
            Sasl::ScramSha256 { user, password } => ("SCRAM-SHA-256", user, password),
            Sasl::ScramSha512 { user, password } => ("SCRAM-SHA-512", user, password),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &self.ca)
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mechanism, user, _) = self.parts();
        f.debug_struct("Sasl")
            .field("mechanism", &mechanism)
            .field("user", &user)
            .finish_non_exhaustive()
    }
}
