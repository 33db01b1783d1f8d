//! Transactions: commands of which all run, with no other command in between, or none.

use redis::{Pipeline, ToRedisArgs, Value};

use super::link::Link;
use static_bus_remote::transport::TransportError;

/// The commands between `MULTI` and `EXEC`.
pub(super) struct Transaction(Pipeline);

impl Transaction {
    pub fn new() -> Self {
        let mut commands = Pipeline::with_capacity(6);
        commands.cmd("MULTI");
        Transaction(commands)
    }

    /// Begins the next command.
    pub fn cmd(&mut self, name: &str) -> &mut Self {
        self.0.cmd(name);
        self
    }

    /// Adds an argument to the last command.
    pub fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.0.arg(argument);
        self
    }

    /// Adds arguments to the last command.
    pub fn args<T: AsRef<str>>(&mut self, arguments: impl IntoIterator<Item = T>) -> &mut Self {
        for argument in arguments {
            self.0.arg(argument.as_ref());
        }
        self
    }

    /// Runs the transaction, unless it is empty. Returns the answers to its commands.
    pub async fn run(mut self, link: &Link) -> Result<Vec<Value>, TransportError> {
        let length = self.0.len() - 1;
        if length == 0 {
            return Ok(Vec::new());
        }
        self.0.cmd("EXEC");
        let server = link.server();
        let mut answers = link.send_atomic(&self.0).await?;
        let executed = answers.pop().unwrap_or_default();
        // The refusal of a command says more than that of `EXEC`, which follows from it.
        for answer in answers {
            answer.extract_error().map_err(|e| server.error(&e))?;
        }
        match executed.extract_error().map_err(|e| server.error(&e))? {
            Value::Array(answers) if answers.len() == length => Ok(answers),
            _ => Err(server.unexpected("EXEC")),
        }
    }
}
