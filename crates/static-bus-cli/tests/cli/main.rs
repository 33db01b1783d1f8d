//! The program on real brokers: exact output, exit status, and nothing that a message or a URL should not show.

mod connection;
mod dead_letters;
mod inspection;
mod support;
mod watch;
