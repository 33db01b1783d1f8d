//! Lua scripts, which the server runs atomically.

use std::sync::LazyLock;

use redis::{Cmd, Script, cmd};

/// A script. The server identifies it by its hash.
pub(super) struct Lua {
    code: String,
    hash: String,
}

impl Lua {
    fn new(code: &str) -> Self {
        let code = format!("{}\n{code}", include_str!("lua/common.lua"));
        let hash = Script::new(&code).get_hash().to_owned();
        Lua { code, hash }
    }

    /// A call with these keys, without arguments yet.
    pub fn call<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) -> Cmd {
        let keys: Vec<_> = keys.into_iter().collect();
        let mut command = cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len());
        for key in keys {
            command.arg(key.as_ref());
        }
        command
    }

    /// The command that loads the script into the server.
    pub fn load(&self) -> Cmd {
        let mut command = cmd("SCRIPT");
        command.arg("LOAD").arg(&self.code);
        command
    }
}

macro_rules! scripts {
    ($($name:ident $file:literal)*) => {
        $(pub(super) static $name: LazyLock<Lua> =
            LazyLock::new(|| Lua::new(include_str!(concat!("lua/", $file))));)*
    };
}

scripts! {
    BACKLOG "backlog.lua"
    CANCEL "cancel.lua"
    CLAIM "claim.lua"
    COUNT "count.lua"
    CREATE "create.lua"
    DUE "due.lua"
    INSPECT "inspect.lua"
    LEAVE "leave.lua"
    LETTERS "letters.lua"
    PRUNE "prune.lua"
    READ "read.lua"
    REBALANCE "rebalance.lua"
    RECLAIM "reclaim.lua"
    RELEASE "release.lua"
    RENEW "renew.lua"
    SWEEP "sweep.lua"
    TAKE "take.lua"
    TRIM "trim.lua"
}
