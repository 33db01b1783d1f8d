//! The trace context of OpenTelemetry in the attributes of messages, in the format of
//! [W3C Trace Context](https://www.w3.org/TR/trace-context/).

use std::{borrow::Cow, str::FromStr};

use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    trace::{FutureExt, SpanContext, TraceContextExt, TraceState},
};

use super::{Envelope, envelope::attribute, received::Received};

/// The handler of a message, with the span of the sender as the current one; without a span, if the message has none.
pub(crate) fn continued<F: Future>(
    message: &Received,
    handler: F,
) -> impl Future<Output = F::Output> + use<F> {
    let mut context = Context::new();
    let parent = message.value(attribute::TRACE_PARENT);
    let state = message.value(attribute::TRACE_STATE);
    if let Some(sender) = sender(parent.as_deref(), state.as_deref()) {
        context = context.with_remote_span_context(sender);
    }
    handler.with_context(context)
}

/// Adds the current span, if there is one.
pub(crate) fn inject(envelope: &mut Envelope<'_>) {
    Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        if !span.is_valid() {
            return;
        }
        let sampled = span.trace_flags() & TraceFlags::SAMPLED;
        let parent = format!("00-{}-{}-{sampled:02x}", span.trace_id(), span.span_id());
        envelope.trace_parent = Some(Cow::Owned(parent));
        let state = span.trace_state().header();
        envelope.trace_state = (!state.is_empty()).then_some(Cow::Owned(state));
    });
}

/// The span of the sender; `None` if there is none, or it cannot be parsed.
fn sender(parent: Option<&str>, state: Option<&str>) -> Option<SpanContext> {
    let mut parts = parent?.split('-');
    let mut hex = |digits: usize| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let part = parts.next()?;
        (part.len() == digits && part.bytes().all(is_hex)).then_some(part)
    };
    let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    // A later version may have more parts.
    if version == "ff" || version == "00" && parts.next().is_some() {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let state = state.and_then(|state| TraceState::from_str(state).ok());
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let span = SpanContext::new(trace, span, flags, true, state.unwrap_or_default());
    span.is_valid().then_some(span)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[tokio::test]
    async fn the_context_of_a_sender_is_sent_on_as_it_came() {
        for (parent, state) in [
            (PARENT, Some("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")),
            (PARENT, None),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
                None,
            ),
        ] {
            let mut received = Envelope::new("shop", "orders.place", "application/json");
            received.trace_parent = Some(parent.into());
            received.trace_state = state.map(Cow::Borrowed);
            let record = Arc::new(received.record(bytes::Bytes::new(), None));
            let mut sent = Envelope::new("shop", "users.get", "application/json");
            continued(&Received::new(record), async { inject(&mut sent) }).await;
            assert_eq!(sent.trace_parent, received.trace_parent);
            assert_eq!(sent.trace_state, received.trace_state);
        }
    }

    #[test]
    fn a_context_of_a_later_version_is_read_as_far_as_it_is_known() {
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more";
        let later = sender(Some(later), None).unwrap();
        assert_eq!(Some(later), sender(Some(PARENT), None));
    }

    #[test]
    fn a_context_that_cannot_be_parsed_is_ignored() {
        for parent in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(sender(Some(parent), None), None, "{parent}");
        }
        // The state is optional: without it the trace is still one.
        let without = sender(Some(PARENT), Some("not a list")).unwrap();
        assert_eq!(without.trace_state(), &TraceState::default());
    }
}
