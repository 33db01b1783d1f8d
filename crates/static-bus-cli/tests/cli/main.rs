//! The program on real brokers: exact output, exit status, and nothing that a message or a URL should not show.

mod browser;
mod connection;
mod dead_letters;
mod inspection;
mod page;
mod support;
mod watch;
