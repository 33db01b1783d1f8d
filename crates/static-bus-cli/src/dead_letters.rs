//! The commands `dead-letters list`, `show`, `replay` and `discard`.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
};

use static_bus_remote::{
    DeadLetter, DeadLetterFilter, DeadLetters, Transport, TransportError, transport::Inspect,
};

use super::{
    args::{Change, DeadLetterCommand, List},
    failure::Failure,
    output::{
        Column::{Left, Right},
        Output, Table,
    },
    report::{self, ChangeReport, LetterDetails, LetterReport, argument},
    text,
};

/// The number of dead letters that are changed at once.
const BATCH: usize = 100;
/// The greatest length of an error in a table, in characters.
const ERROR_LENGTH: usize = 100;

/// The change of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Replay,
    Discard,
}

/// The dead letters that are changed.
pub enum Target {
    /// Those at these positions.
    At(Vec<DeadLetter>),
    /// Those that match, up to a position: later ones appeared after the confirmation. `None` if none matches.
    Matching(DeadLetterFilter, Option<String>),
}

/// A selection that is to be confirmed.
pub struct Selected {
    pub target: Target,
    pub number: usize,
    /// The number of dead letters of each message and group.
    pub groups: BTreeMap<(String, String), usize>,
}

/// The result of a change.
#[derive(Default)]
pub struct Changed {
    pub done: usize,
    pub failed: usize,
    /// The first failure.
    pub error: Option<TransportError>,
    /// The failure to read further dead letters, which are unchanged.
    pub unread: Option<TransportError>,
}

pub async fn run<T: Inspect>(
    broker: T,
    command: DeadLetterCommand,
    output: Output,
) -> Result<(), Failure> {
    let letters = DeadLetters::of(broker);
    match command {
        DeadLetterCommand::List(args) => list(&letters, &args, output).await,
        DeadLetterCommand::Show { position } => show(&letters, &position, output).await,
        DeadLetterCommand::Replay(args) => change(&letters, Action::Replay, &args, output).await,
        DeadLetterCommand::Discard(args) => change(&letters, Action::Discard, &args, output).await,
    }
}

async fn list<T: Transport>(
    letters: &DeadLetters<T>,
    args: &List,
    output: Output,
) -> Result<(), Failure> {
    let after = args.after.as_deref().map(report::position);
    let found = letters
        .find(&args.filter.build(), after.as_deref(), args.limit)
        .await?;
    if output.is_json() {
        let reports: Vec<_> = found.iter().map(LetterReport::new).collect();
        return Ok(output.objects(&reports)?);
    }
    let Some(last) = found.last() else {
        return Ok(output.print("no dead letters\n")?);
    };
    let columns = [
        Left("POSITION"),
        Left("MESSAGE"),
        Left("GROUP"),
        Right("ATTEMPTS"),
        Left("LAST FAILURE (UTC)"),
        Left("ERROR"),
    ];
    let mut table = Table::new(columns);
    for letter in &found {
        table.row([
            text::visible(&argument(&letter.position)),
            text::visible(&letter.origin),
            text::visible(&letter.group),
            letter.attempts.to_string(),
            text::time(&letter.last_failure),
            text::visible(&text::shortened(&letter.error, ERROR_LENGTH)),
        ]);
    }
    let mut text = table.to_string();
    if found.len() == args.limit {
        let last = text::visible(&argument(&last.position));
        _ = writeln!(text, "\nThere may be more: --after {last}");
    }
    Ok(output.print(&text)?)
}

async fn show<T: Transport>(
    letters: &DeadLetters<T>,
    positions: &[String],
    output: Output,
) -> Result<(), Failure> {
    let found = at(letters, positions).await?;
    if output.is_json() {
        let details: Vec<_> = found.iter().map(LetterDetails::new).collect();
        return Ok(output.objects(&details)?);
    }
    let texts: Vec<_> = found.iter().map(describe).collect();
    Ok(output.print(&texts.join("\n"))?)
}

fn describe(letter: &DeadLetter) -> String {
    let mut text = String::new();
    for (name, value) in fields(letter) {
        _ = writeln!(text, "{name:15}{value}");
    }
    text.push_str("headers\n");
    for (name, value) in letter.record.headers.iter() {
        _ = writeln!(text, "  {}: {}", text::visible(name), text::visible(&value));
    }
    let bytes = text::number(letter.record.body.len() as u64);
    _ = writeln!(text, "body ({bytes} bytes)");
    for line in text::body(&letter.record.body) {
        _ = writeln!(text, "  {line}");
    }
    text
}

/// The names and values of the fields of a dead letter, without headers and body.
pub fn fields(letter: &DeadLetter) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("position", text::visible(&argument(&letter.position))),
        ("message", text::visible(&letter.origin)),
        ("group", text::visible(&letter.group)),
        ("error", text::visible(&letter.error)),
        ("attempts", letter.attempts.to_string()),
        ("first failure", text::time(&letter.first_failure)),
        ("last failure", text::time(&letter.last_failure)),
        ("service", text::visible(&letter.service)),
    ];
    if let Some(place) = &letter.place {
        fields.push(("place", text::visible(place)));
    }
    if let Some(key) = &letter.record.key {
        fields.push(("key", text::visible(key)));
    }
    if letter.omitted > 0 {
        let bytes = text::number(letter.omitted as u64);
        let omitted = format!("{bytes} bytes of the message, so it cannot be replayed");
        fields.push(("omitted", omitted));
    }
    fields
}

/// The dead letters at positions, each of them once.
///
/// # Errors
/// If one of them is gone.
pub async fn at<T: Transport>(
    letters: &DeadLetters<T>,
    positions: &[String],
) -> Result<Vec<DeadLetter>, Failure> {
    let mut seen = HashSet::new();
    let is_first = |position: &&String| seen.insert(report::position(position));
    let positions: Vec<_> = positions.iter().filter(is_first).collect();
    let there: Vec<_> = positions.iter().map(|p| report::position(p)).collect();
    let found = letters.get_all(&there).await?;
    let present = |(letter, position): (Option<DeadLetter>, &String)| {
        letter.ok_or_else(|| {
            Failure::Incomplete(format!(
                "there is no dead letter at {position}: it was replayed or discarded, or the position is wrong; \
                 `dead-letters list` has the positions"
            ))
        })
    };
    found.into_iter().zip(positions).map(present).collect()
}

async fn change<T: Inspect>(
    letters: &DeadLetters<T>,
    action: Action,
    args: &Change,
    output: Output,
) -> Result<(), Failure> {
    let verb = action.as_str();
    let selections = [!args.position.is_empty(), !args.filter.is_empty(), args.all];
    if selections.into_iter().filter(|is_used| *is_used).count() != 1 {
        return Err(Failure::Usage(format!(
            "name the dead letters to {verb}: either positions, or a filter such as --message, or --all"
        )));
    }
    if !args.yes && !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{verb} asks for confirmation, and the input is not a terminal: add --yes"
        )));
    }
    let filter = args.filter.build();
    let selected = match args.position.is_empty() {
        true => Selected::matching(letters, filter, None).await?,
        false => Selected::at(at(letters, &args.position).await?),
    };
    let is_confirmed = selected.number == 0 || args.yes || confirm(action, &selected)?;
    let changed = match is_confirmed {
        true => selected.target.change(letters, action).await,
        false => Changed::default(),
    };
    let Changed { done, failed, .. } = changed;
    if output.is_json() {
        let report = ChangeReport {
            action: verb,
            done,
            failed,
        };
        output.objects(&[report])?;
    } else {
        let done = counted(done);
        output.print(&format!("{} {done}\n", action.past()))?;
    }
    match changed.failure(action) {
        Some(failure) => Err(Failure::Incomplete(failure)),
        None => Ok(()),
    }
}

/// Asks whether to change the dead letters.
fn confirm(action: Action, selected: &Selected) -> io::Result<bool> {
    let mut question = String::new();
    for ((origin, group), number) in &selected.groups {
        let (origin, group) = (text::visible(origin), text::visible(group));
        _ = writeln!(question, "  {number} × {origin}, {group}");
    }
    let number = counted(selected.number);
    _ = write!(question, "{} {number}? [y/N] ", action.imperative());
    let mut terminal = io::stderr();
    terminal.write_all(question.as_bytes())?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// `1 dead letter`, `2 dead letters`.
pub fn counted(number: usize) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} dead letter{plural}", text::number(number as u64))
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Replay => "replay",
            Action::Discard => "discard",
        }
    }

    pub fn imperative(self) -> &'static str {
        match self {
            Action::Replay => "Replay",
            Action::Discard => "Discard",
        }
    }

    pub fn past(self) -> &'static str {
        match self {
            Action::Replay => "replayed",
            Action::Discard => "discarded",
        }
    }
}

impl Selected {
    /// The dead letters that match now, up to the position `until`.
    pub async fn matching<T: Transport>(
        letters: &DeadLetters<T>,
        filter: DeadLetterFilter,
        until: Option<&str>,
    ) -> Result<Self, TransportError> {
        let (mut number, mut groups, mut last) = (0, BTreeMap::new(), None);
        let mut search = letters.search(filter.clone());
        if let Some(until) = until {
            search = search.until(until);
        }
        while let Some(found) = search.next().await? {
            number += found.len();
            count(&mut groups, &found);
            last = found.last().map(|letter| letter.position.clone());
        }
        Ok(Selected {
            target: Target::Matching(filter, last),
            number,
            groups,
        })
    }

    /// These dead letters.
    pub fn at(letters: Vec<DeadLetter>) -> Self {
        let mut groups = BTreeMap::new();
        count(&mut groups, &letters);
        Selected {
            number: letters.len(),
            target: Target::At(letters),
            groups,
        }
    }
}

fn count(groups: &mut BTreeMap<(String, String), usize>, letters: &[DeadLetter]) {
    for letter in letters {
        let group = (letter.origin.clone(), letter.group.clone());
        *groups.entry(group).or_default() += 1;
    }
}

impl Target {
    /// Changes the dead letters, in batches.
    pub async fn change<T: Inspect>(self, letters: &DeadLetters<T>, action: Action) -> Changed {
        let mut changed = Changed::default();
        match self {
            Target::At(selected) => {
                for batch in selected.chunks(BATCH) {
                    changed.add(action.apply(letters, batch).await);
                }
            }
            Target::Matching(_, None) => {}
            Target::Matching(filter, Some(last)) => {
                let mut search = letters.search(filter).until(last);
                loop {
                    let found = match search.next().await {
                        Ok(Some(found)) => found,
                        Ok(None) => break,
                        Err(error) => {
                            changed.unread = Some(error);
                            break;
                        }
                    };
                    for batch in found.chunks(BATCH) {
                        changed.add(action.apply(letters, batch).await);
                    }
                }
            }
        }
        changed
    }
}

impl Action {
    async fn apply<T: Inspect>(
        self,
        letters: &DeadLetters<T>,
        batch: &[DeadLetter],
    ) -> Vec<Result<(), TransportError>> {
        match self {
            Action::Replay => letters.replay_all(batch).await,
            Action::Discard => {
                let result = letters.discard_all(batch).await;
                vec![result; batch.len()]
            }
        }
    }
}

impl Changed {
    /// The number of dead letters that were changed, and the reasons why others were not. `None` if all were changed.
    pub fn failure(&self, action: Action) -> Option<String> {
        let past = action.past();
        let mut text = format!("{} {past}", counted(self.done));
        if let Some(error) = &self.error {
            let failed = counted(self.failed);
            _ = write!(text, "; {failed} could not be {past}: {error}");
        }
        if let Some(error) = &self.unread {
            _ = write!(text, "; the rest could not be read: {error}");
        }
        let is_complete = self.error.is_none() && self.unread.is_none();
        (!is_complete).then_some(text)
    }

    fn add(&mut self, results: Vec<Result<(), TransportError>>) {
        for result in results {
            match result {
                Ok(()) => self.done += 1,
                Err(error) => {
                    self.failed += 1;
                    self.error.get_or_insert(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unreliable::UnreliableBroker;

    #[tokio::test]
    async fn an_interrupted_change_names_the_number_that_was_done() {
        // Three reads count the dead letters. The fifth is the second page of the change.
        let broker = UnreliableBroker::new(1001, 4).await;
        let letters = DeadLetters::of(broker.clone());
        let all = DeadLetterFilter::default();
        let selected = Selected::matching(&letters, all, None).await.unwrap();
        assert_eq!(selected.number, 1001);
        let changed = selected.target.change(&letters, Action::Discard).await;
        assert_eq!((changed.done, changed.failed), (1000, 0));
        assert_eq!(
            changed.failure(Action::Discard).unwrap(),
            "1,000 dead letters discarded; the rest could not be read: memory: connection refused"
        );
        assert_eq!(broker.positions().await.len(), 1);
    }
}
