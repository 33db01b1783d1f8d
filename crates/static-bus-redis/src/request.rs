//! What is sent on a connection, and the answers, which may be refusals.

use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value, cmd};

use super::{
    errors::{ends_connection, is_redirect},
    scripts::Lua,
    server::Connection,
};

/// What is sent on a connection, once or again.
pub(super) trait Request {
    type Answer;

    /// Sends the request. A node that a slot is moving to serves it only after `ASKING`.
    fn send_on(
        &self,
        connection: &mut Connection,
        is_asking: bool,
    ) -> impl Future<Output = RedisResult<Self::Answer>> + Send;

    /// The error after which another connection or another server may serve the request.
    fn refusal(&self, answer: &Self::Answer) -> Option<RedisError>;

    /// Returns whether nothing of the request was run.
    fn is_all_refused(&self, answer: &Self::Answer) -> bool;
}

/// A command.
pub(super) struct One<'a>(pub &'a Cmd);

/// Commands, of which each may be refused on its own.
pub(super) struct All<'a> {
    pub commands: &'a Pipeline,
    /// The number of commands with keys. Those after them are run wherever they are sent.
    pub keyed: usize,
}

/// `MULTI`, commands, and `EXEC`.
pub(super) struct Atomic<'a>(pub &'a Pipeline);

/// The call of a script, which is loaded if the server does not have it.
pub(super) struct Script<'a>(pub &'a Lua, pub &'a Cmd);

fn asking() -> Cmd {
    cmd("ASKING")
}

async fn send(connection: &mut Connection, command: &Cmd, is_asking: bool) -> RedisResult<Value> {
    if !is_asking {
        return connection.send(command).await;
    }
    let mut commands = Pipeline::with_capacity(2);
    commands.add_command(asking()).add_command(command.clone());
    let answer = connection.send_all(&commands).await?.pop();
    answer.unwrap_or_default().extract_error()
}

impl Request for One<'_> {
    type Answer = RedisResult<Value>;

    async fn send_on(
        &self,
        connection: &mut Connection,
        is_asking: bool,
    ) -> RedisResult<Self::Answer> {
        Ok(send(connection, self.0, is_asking).await)
    }

    fn refusal(&self, answer: &Self::Answer) -> Option<RedisError> {
        let error = answer.as_ref().err();
        error.filter(|e| is_refusal(e)).cloned()
    }

    fn is_all_refused(&self, answer: &Self::Answer) -> bool {
        answer.is_err()
    }
}

impl Request for Script<'_> {
    type Answer = RedisResult<Value>;

    async fn send_on(
        &self,
        connection: &mut Connection,
        is_asking: bool,
    ) -> RedisResult<Self::Answer> {
        let Script(script, command) = self;
        match send(connection, command, is_asking).await {
            Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                connection.send(&script.load()).await?;
                Ok(send(connection, command, is_asking).await)
            }
            answer => Ok(answer),
        }
    }

    fn refusal(&self, answer: &Self::Answer) -> Option<RedisError> {
        One(self.1).refusal(answer)
    }

    fn is_all_refused(&self, answer: &Self::Answer) -> bool {
        answer.is_err()
    }
}

impl Request for All<'_> {
    type Answer = Vec<Value>;

    async fn send_on(
        &self,
        connection: &mut Connection,
        is_asking: bool,
    ) -> RedisResult<Self::Answer> {
        if !is_asking {
            return connection.send_all(self.commands).await;
        }
        let mut commands = Pipeline::with_capacity(self.commands.len() * 2);
        for command in self.commands.cmd_iter() {
            commands.add_command(asking()).add_command(command.clone());
        }
        let answers = connection.send_all(&commands).await?;
        Ok(answers.into_iter().skip(1).step_by(2).collect())
    }

    fn refusal(&self, answer: &Self::Answer) -> Option<RedisError> {
        refusal_among(answer)
    }

    fn is_all_refused(&self, answer: &Self::Answer) -> bool {
        let is_error = |value: &Value| matches!(value, Value::ServerError(_));
        answer.iter().take(self.keyed).all(is_error)
    }
}

impl Request for Atomic<'_> {
    type Answer = Vec<Value>;

    async fn send_on(
        &self,
        connection: &mut Connection,
        is_asking: bool,
    ) -> RedisResult<Self::Answer> {
        if !is_asking {
            return connection.send_all(self.0).await;
        }
        // It holds until `EXEC`.
        let mut commands = Pipeline::with_capacity(self.0.len() + 1);
        commands.add_command(asking());
        for command in self.0.cmd_iter() {
            commands.add_command(command.clone());
        }
        let mut answers = connection.send_all(&commands).await?;
        answers.drain(..1);
        Ok(answers)
    }

    fn refusal(&self, answer: &Self::Answer) -> Option<RedisError> {
        refusal_among(answer)
    }

    fn is_all_refused(&self, answer: &Self::Answer) -> bool {
        // `ERR` says that there was no `MULTI`: then the commands were run.
        matches!(answer.last(), Some(Value::ServerError(e)) if e.code() != "ERR")
    }
}

/// Returns whether another connection or another server may serve a command that got this error.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    ends_connection(error) || is_redirect(error)
}

/// The refusal of some commands that says most. A slot that has moved is not moving any more.
fn refusal_among(answers: &[Value]) -> Option<RedisError> {
    let errors = answers.iter().filter_map(|value| match value {
        Value::ServerError(e) => Some(RedisError::from(e.clone())),
        _ => None,
    });
    let rank = |error: &RedisError| match error.code() {
        Some("MOVED") => 0,
        Some("ASK") => 1,
        Some("TRYAGAIN") => 2,
        _ => 3,
    };
    errors.filter(is_refusal).min_by_key(rank)
}
