//! Independent commands, of which each may be refused on its own while a slot moves.

use std::{collections::HashSet, sync::Arc, time::Duration};

use redis::{Pipeline, RedisError, Value};
use tokio::time::Instant;

use super::{
    super::{
        errors::{is_no_primary, is_redirect},
        request::All,
    },
    Link,
};
use static_bus_remote::transport::TransportError;

impl Link {
    /// Sends independent commands, one for each of these keys, and commands without a key after them, in one round trip.
    /// Commands that are refused while their slot moves are sent again, unless a later one with the same key was run.
    /// Returns the answers, those of the commands without a key for each time that they were sent.
    pub async fn send_each(
        &self,
        mut commands: Pipeline,
        keys: &[Arc<str>],
        limit: Duration,
    ) -> Result<Vec<Value>, TransportError> {
        let end = Instant::now() + limit;
        let tail: Vec<_> = commands.cmd_iter().skip(keys.len()).cloned().collect();
        let keyed = keys.len();
        let request = All {
            commands: &commands,
            keyed,
        };
        let mut answers = self.call(request, limit).await?;
        let mut sent: Vec<_> = (0..keys.len()).collect();
        loop {
            let again = to_repeat(&sent, &answers, keys);
            let left = end.saturating_duration_since(Instant::now());
            if again.is_empty() || left.is_zero() {
                return Ok(answers);
            }
            let mut rest = Pipeline::with_capacity(again.len() + tail.len());
            let open = commands.cmd_iter().zip(&sent);
            let open = open.filter(|(_, number)| again.contains(number));
            for command in open.map(|(command, _)| command).chain(&tail) {
                rest.add_command(command.clone());
            }
            let keyed = again.len();
            let request = All {
                commands: &rest,
                keyed,
            };
            let Ok(more) = self.call(request, left).await else {
                // The refusals stay.
                return Ok(answers);
            };
            let mut more = more.into_iter();
            for number in &again {
                answers[*number] = more.next().unwrap_or_default();
            }
            answers.extend(more);
            (commands, sent) = (rest, again);
        }
    }
}

/// Those of the commands that were sent which are to be sent again: they were refused, and so was each later one with the
/// same key.
fn to_repeat(sent: &[usize], answers: &[Value], keys: &[Arc<str>]) -> Vec<usize> {
    let is_refused = |number: usize| match &answers[number] {
        Value::ServerError(e) => {
            let error = RedisError::from(e.clone());
            is_redirect(&error) || is_no_primary(&error)
        }
        _ => false,
    };
    let mut again: Vec<usize> = Vec::new();
    if !sent.iter().any(|n| is_refused(*n)) {
        return again;
    }
    let mut run = HashSet::new();
    for number in sent.iter().rev() {
        match is_refused(*number) && !run.contains(&keys[*number]) {
            true => again.push(*number),
            false => _ = run.insert(&keys[*number]),
        }
    }
    again.reverse();
    again
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use redis::Value;

    use super::to_repeat;

    fn error(line: &str) -> Value {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn a_refused_command_is_sent_again_unless_a_later_one_with_its_key_was_run() {
        let keys = ["a", "a", "b", "b", "c"].map(Arc::<str>::from);
        let (ask, run) = (error("ASK 1 a:1"), Value::Okay);
        let again = |answers: [&Value; 5]| {
            let answers = answers.map(Value::clone);
            to_repeat(&[0, 1, 2, 3, 4], &answers, &keys)
        };
        assert!(again([&run; 5]).is_empty());
        assert_eq!(again([&ask; 5]), [0, 1, 2, 3, 4]);
        assert_eq!(again([&run, &ask, &ask, &run, &ask]), [1, 4]);
        assert_eq!(again([&ask, &run, &ask, &ask, &run]), [2, 3]);
        let other = error("WRONGTYPE no");
        assert_eq!(again([&other, &ask, &ask, &other, &run]), [1]);
    }
}
