//! Records that are written in several transactions, so that each of them passes in time.

use std::sync::Arc;

use static_bus_remote::transport::{Record, Topic, TransportError};

use super::{
    append::check,
    bounds::BYTES,
    dialect::Dialect,
    record::size,
    store::{Store, Work},
};

/// Records of a call, which are written in one transaction.
#[derive(Clone)]
pub(crate) struct Part {
    call: Arc<Vec<(Topic, Record)>>,
    /// Their places in the call.
    places: Vec<usize>,
}

impl Part {
    pub fn iter(&self) -> impl Iterator<Item = (&Topic, &Record)> {
        self.placed().map(|(_, topic, record)| (topic, record))
    }

    /// The records with their places.
    pub fn placed(&self) -> impl Iterator<Item = (usize, &Topic, &Record)> {
        self.places.iter().map(|place| {
            let (topic, record) = &self.call[*place];
            (*place, topic, record)
        })
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The number of bytes of the records.
    pub fn size(&self) -> usize {
        self.iter().map(|(_, record)| size(record)).sum()
    }
}

impl From<Vec<(Topic, Record)>> for Part {
    fn from(call: Vec<(Topic, Record)>) -> Self {
        Part {
            places: (0..call.len()).collect(),
            call: Arc::new(call),
        }
    }
}

/// Writes the records that are small enough, one part after the other, and calls `written` with the output of each. Returns the result
/// of each record. After a part without an answer the others are not tried: each would wait as long again.
pub(crate) async fn write<D: Dialect, W: Work<D>>(
    store: &Arc<Store<D>>,
    records: Vec<(Topic, Record)>,
    max_record: usize,
    work: impl Fn(Part) -> W,
    mut written: impl FnMut(&Part, W::Output, &mut [Result<(), TransportError>]),
) -> Vec<Result<(), TransportError>> {
    let check = |(topic, record): &_| check(store, topic, record, max_record);
    let mut results: Vec<_> = records.iter().map(check).collect();
    let accepted = results
        .iter()
        .enumerate()
        .filter(|(_, result)| result.is_ok());
    let accepted = accepted.map(|(place, _)| place).collect();
    let mut unanswered: Option<TransportError> = None;
    for part in parts(Arc::new(records), accepted) {
        let result = match &unanswered {
            Some(error) => Err(error.clone()),
            None => store.transact(work(part.clone())).await,
        };
        match result {
            Ok(output) => written(&part, output, &mut results),
            Err(error) => {
                for place in part.places {
                    results[place] = Err(error.clone());
                }
                unanswered = Some(error).filter(|error| error.kind().is_transient());
            }
        }
    }
    results
}

/// The parts of a call with records in these places.
fn parts(call: Arc<Vec<(Topic, Record)>>, places: Vec<usize>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut bytes = 0;
    for place in places {
        bytes += size(&call[place].1);
        match parts.last_mut() {
            Some(part) if bytes <= BYTES => part.places.push(place),
            _ => {
                bytes = size(&call[place].1);
                parts.push(Part {
                    call: call.clone(),
                    places: vec![place],
                });
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use static_bus_remote::transport::Kind;

    use super::*;

    #[test]
    fn a_part_has_a_megabyte_or_one_record() {
        let topic = Topic {
            kind: Kind::Command,
            name: "archive".into(),
        };
        let record = |size: usize| Record {
            body: vec![0; size].into(),
            ..Record::default()
        };
        let sizes = [400_000, 7, 600_000, 400_000, 3_000_000, 0, 1];
        let call = sizes.map(|size| (topic.clone(), record(size))).into();
        let parts = parts(Arc::new(call), vec![0, 2, 3, 4, 5, 6]);
        let places: Vec<_> = parts.iter().map(|part| &*part.places).collect();
        assert_eq!(places, [&[0, 2][..], &[3], &[4], &[5, 6]]);
        assert_eq!(parts[0].size(), BYTES);
        assert_eq!(parts[3].len(), 2);
    }
}
