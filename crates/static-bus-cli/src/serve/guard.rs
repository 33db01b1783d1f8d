//! The protection of the page against other web sites that the same browser shows.
//!
//! - A name of another site that resolves to this machine (DNS rebinding) is refused, because `Host` must be a loopback
//!   name, or the address on which the page listens.
//! - A form of another site (CSRF) is refused, because its `Origin` differs, and because it lacks the token of this
//!   process.
//! - No other site can show the page in a frame, and the page loads nothing but its style sheet.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::layout;

/// The headers of each response.
const HEADERS: [(header::HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // With `no-referrer` browsers would send forms without their origin.
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (
        header::HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        header::HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Refuses requests of other sites, and adds the headers. The page listens on `address`.
pub async fn protect(State(address): State<IpAddr>, request: Request, next: Next) -> Response {
    let mut response = match refusal(address, request.method(), request.headers()) {
        None => next.run(request).await,
        Some(reason) => layout::refused(StatusCode::FORBIDDEN, reason).into_response(),
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The reason for which a request is refused.
fn refusal(address: IpAddr, method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let host = text(header::HOST).unwrap_or_default();
    if !is_own(host, address) {
        return Some("This page is reached by its own address, 127.0.0.1 or localhost only.");
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let origin = text(header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
    match origin {
        Some(origin) if origin == host => None,
        _ => Some("This change was requested by another page."),
    }
}

/// Returns `true` for a loopback name, and for the address on which the page listens, with or without a port. Name and
/// port may be those of a tunnel.
fn is_own(host: &str, address: IpAddr) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let own = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    ["127.0.0.1", "localhost", "[::1]", &own].contains(&name)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// The address on which a page listens by default.
    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn only_loopback_names_are_accepted() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost:8080",
            "[::1]",
            "[::1]:1",
        ] {
            assert!(is_own(host, LOCALHOST), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:80",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "127.0.0.1:80@evil.example",
            "127.0.0.1:x",
            "127.0.0.2",
        ] {
            assert!(!is_own(host, LOCALHOST), "{host}");
        }
    }

    #[test]
    fn the_address_on_which_the_page_listens_is_accepted() {
        let address = IpAddr::from([127, 0, 0, 2]);
        for host in [
            "127.0.0.2",
            "127.0.0.2:80",
            "127.0.0.1:80",
            "localhost:8080",
        ] {
            assert!(is_own(host, address), "{host}");
        }
        for host in [
            "127.0.0.3:80",
            "127.0.0.2.evil.example:80",
            "127.0.0.2:80@evil.example",
            "evil.example:80",
        ] {
            assert!(!is_own(host, address), "{host}");
        }
    }

    #[test]
    fn a_change_needs_the_origin_of_this_page() {
        let refused = |method, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:80"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            refusal(LOCALHOST, &method, &headers).is_some()
        };
        assert!(!refused(Method::GET, None));
        assert!(!refused(Method::POST, Some("http://127.0.0.1:80")));
        for origin in [
            None,
            Some("null"),
            Some("https://127.0.0.1:80"),
            Some("http://127.0.0.1:81"),
            Some("http://evil.example"),
        ] {
            assert!(refused(Method::POST, origin), "{origin:?}");
            assert!(refused(Method::PUT, origin), "{origin:?}");
        }
    }
}
