//! Each value is read as it was recorded, or it is refused when it is recorded.

use crate::at;
use proptest::{collection::vec, option, prelude::*};
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::RawValue;
use static_bus::log::json::{RecordError, read, record};
use static_bus::sim::Unsorted;
use static_bus::time::Time;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// The results of recording some values at times 0, 1, 2, …, and the log.
fn recorded<M: Serialize>(
    values: impl IntoIterator<Item = M>,
) -> (Vec<Result<(Time, M), RecordError<Unsorted>>>, Vec<u8>) {
    let mut log = vec![];
    let values = (0..).map(at).zip(values).map(Ok);
    let results = record(values, &mut log).collect();
    (results, log)
}

fn read_back<M: DeserializeOwned>(log: &[u8]) -> Vec<(Time, M)> {
    read(log).map(Result::unwrap).collect()
}

/// The text of the error with which a value is refused.
fn refusal<M: Serialize + Debug>(value: M) -> String {
    let (results, log) = recorded([value]);
    assert!(log.is_empty(), "nothing is written of what is refused");
    let [
        Err(
            error @ RecordError::Value {
                time: Time::EPOCH, ..
            },
        ),
    ] = &results[..]
    else {
        panic!("not refused, but {results:?}")
    };
    error.to_string()
}

/// A value of each kind that serde has, most of them nested.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Value {
    Unit,
    Newtype(Wide),
    Tuple(f32, Option<f64>, (i128, u128)),
    Struct {
        narrow: Option<f32>,
        nested: Option<Option<u8>>,
        unit: Option<()>,
        marker: Option<Marker>,
        wrapped: Option<Wide>,
    },
    Texts(char, String, Result<Wide, Option<bool>>),
    Maps {
        signed: BTreeMap<i64, Option<f64>>,
        named: BTreeMap<Option<String>, ()>,
        variants: BTreeMap<Key, BTreeMap<bool, f32>>,
    },
    List(Vec<Value>),
    Boxed(Option<Box<Value>>),
}
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Wide(f64);
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Marker;
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Key {
    Bid,
    Ask,
}

/// Numbers of any bits, and often those that JSON does not have.
fn wide() -> impl Strategy<Value = f64> {
    prop_oneof![
        20 => any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |x| x.is_finite()),
        1 => Just(-0.0),
        1 => proptest::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
    ]
}
fn narrow() -> impl Strategy<Value = f32> {
    prop_oneof![
        20 => any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |x| x.is_finite()),
        1 => Just(-0.0),
        1 => proptest::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
    ]
}
/// Texts that JSON escapes, without the letters of `NaN` and `inf`.
fn text() -> impl Strategy<Value = String> {
    "[xyz\"\\\\/\n\t\u{0}\u{7f}\u{2028}é☃\u{1f600}]{0,4}"
}
fn map<K: Debug + Ord + Clone, V: Debug>(
    key: impl Strategy<Value = K>,
    value: impl Strategy<Value = V>,
) -> impl Strategy<Value = BTreeMap<K, V>> {
    proptest::collection::btree_map(key, value, 0..3)
}
fn value() -> impl Strategy<Value = Value> {
    let structs = (
        option::of(narrow()),
        option::weighted(0.9, option::weighted(0.9, any::<u8>())),
        option::weighted(0.1, Just(())),
        option::weighted(0.1, Just(Marker)),
        option::of(wide().prop_map(Wide)),
    )
        .prop_map(|(narrow, nested, unit, marker, wrapped)| Value::Struct {
            narrow,
            nested,
            unit,
            marker,
            wrapped,
        });
    let maps = (
        map(any::<i64>(), option::of(wide())),
        map(text().prop_map(Some), Just(())),
        map(
            proptest::sample::select(vec![Key::Bid, Key::Ask]),
            map(any::<bool>(), narrow()),
        ),
    )
        .prop_map(|(signed, named, variants)| Value::Maps {
            signed,
            named,
            variants,
        });
    let result = prop_oneof![
        wide().prop_map(|x| Ok(Wide(x))),
        option::of(any::<bool>()).prop_map(Err)
    ];
    let leaf = prop_oneof![
        Just(Value::Unit),
        wide().prop_map(|x| Value::Newtype(Wide(x))),
        (narrow(), option::of(wide()), any::<(i128, u128)>())
            .prop_map(|(a, b, c)| Value::Tuple(a, b, c)),
        structs,
        (any::<char>(), text(), result).prop_map(|(a, b, c)| Value::Texts(a, b, c)),
        maps,
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::List),
            option::of(inner.prop_map(Box::new)).prop_map(Value::Boxed),
        ]
    })
}

/// True if JSON has `null` for a part of the value that is neither `None` nor a unit. `Debug` prints every
/// part, and floating-point numbers so that different ones differ.
fn json_changes(value: &Value) -> bool {
    let debug = format!("{value:?}");
    ["NaN", "inf", "Some(None)", "Some(())", "Some(Marker)"]
        .iter()
        .any(|part| debug.contains(part))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_value_is_read_as_it_was_recorded_or_refused(values in vec(value(), 1..4)) {
        let (results, log) = recorded(values.clone());
        let passed: Vec<(Time, Value)> = results.into_iter().flatten().collect();
        let fit: Vec<(Time, Value)> =
            (0..).map(at).zip(values).filter(|(_, value)| !json_changes(value)).collect();
        prop_assert_eq!(format!("{:?}", passed), format!("{:?}", fit));
        prop_assert_eq!(format!("{:?}", read_back::<Value>(&log)), format!("{:?}", fit));
    }
}

#[derive(Debug, Serialize)]
enum Input<T> {
    Price(Price<T>),
}
#[derive(Debug, Serialize)]
struct Price<T> {
    value: T,
}
fn price<T>(value: T) -> Input<T> {
    Input::Price(Price { value })
}

#[test]
fn a_refusal_names_the_message_the_field_and_the_remedy() {
    assert_eq!(
        refusal(price(f32::NAN)),
        "`Price.value` at 1970-01-01T00:00:00Z cannot be logged: JSON has no NaN; record `None` or a text in its place"
    );
    assert_eq!(
        refusal(price([Some(f64::NEG_INFINITY)])),
        "`Price.value` at 1970-01-01T00:00:00Z cannot be logged: JSON has no -inf; record `None` or a text in its place"
    );
    assert_eq!(
        refusal(price(Some(price(Some(()))))),
        "`Price.value.Price.value` at 1970-01-01T00:00:00Z cannot be logged: JSON has the same `null` for this `Some` as \
         for `None`; record an enum with a variant for each"
    );
    assert_eq!(
        refusal(price(BTreeMap::from([((1, 2), "x")]))),
        "`Price.value` at 1970-01-01T00:00:00Z cannot be logged: a key of a map is neither a text nor a number; record \
         the map as a list of pairs"
    );
    assert_eq!(
        refusal((f64::NAN, 1)),
        "`(f64, i32)` at 1970-01-01T00:00:00Z cannot be logged: JSON has no NaN; record `None` or a text in its place"
    );
}

#[derive(Debug)]
struct Broken;
impl Serialize for Broken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error, SerializeSeq};
        let mut list = serializer.serialize_seq(None)?;
        list.serialize_element(&1)?;
        Err(Error::custom("out of ink"))
    }
}

#[test]
fn an_input_whose_serialization_fails_is_refused_with_the_reason() {
    assert_eq!(
        refusal(price(Broken)),
        "`Price.value` at 1970-01-01T00:00:00Z cannot be logged: its `Serialize` fails (out of ink); mend that"
    );
}

#[test]
fn json_in_an_input_is_kept_if_it_has_no_line_breaks() {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let (results, log) = recorded([price(raw("[1, 2]")), price(raw("[3,\n4]")), price(raw("5"))]);
    assert_eq!(
        String::from_utf8(log).unwrap(),
        "[0,{\"Price\":{\"value\":[1, 2]}}]\n[2,{\"Price\":{\"value\":5}}]\n"
    );
    let refused = results[1].as_ref().unwrap_err().to_string();
    assert!(
        refused.ends_with(
            "cannot be logged: it contains JSON with line breaks; record that JSON in compact form"
        ),
        "{refused}"
    );
}

#[test]
fn no_key_of_a_map_is_refused_but_those_that_json_does_not_have() {
    fn map<K: Serialize + Debug>(key: K) -> Vec<(K, ())> {
        vec![(key, ())]
    }
    #[derive(Debug, Serialize)]
    #[serde(transparent)]
    struct Map<K: Serialize>(#[serde(serialize_with = "as_map")] Vec<(K, ())>);
    fn as_map<K: Serialize, S: Serializer>(map: &[(K, ())], s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(map.iter().map(|(key, value)| (key, value)))
    }
    let accepted = |(results, log): (Vec<Result<_, _>>, Vec<u8>)| {
        assert!(
            results
                .into_iter()
                .all(|result: Result<(Time, ()), RecordError<Unsorted>>| result.is_ok())
        );
        String::from_utf8(log).unwrap()
    };
    macro_rules! log_of {
        ($key:expr) => {{
            let (results, log) = recorded([Map(map($key))]);
            accepted((
                results
                    .into_iter()
                    .map(|r| r.map(|(time, _)| (time, ())))
                    .collect(),
                log,
            ))
        }};
    }
    assert_eq!(log_of!("a\n"), "[0,{\"a\\n\":null}]\n");
    assert_eq!(log_of!('a'), "[0,{\"a\":null}]\n");
    assert_eq!(log_of!(-7), "[0,{\"-7\":null}]\n");
    assert_eq!(
        log_of!(u128::MAX),
        format!("[0,{{\"{}\":null}}]\n", u128::MAX)
    );
    assert_eq!(log_of!(true), "[0,{\"true\":null}]\n");
    assert_eq!(log_of!(Key::Bid), "[0,{\"Bid\":null}]\n");
    assert_eq!(log_of!(Some("a")), "[0,{\"a\":null}]\n");
    assert_eq!(log_of!(Wide(1.5)), "[0,{\"1.5\":null}]\n");

    refusal(Map(map(())));
    refusal(Map(map(None::<u8>)));
    refusal(Map(map(f64::NAN)));
    refusal(Map(map([1])));
    refusal(Map(map(Marker)));
    refusal(Map(map(BTreeMap::from([(1, 1)]))));
    refusal(Map(map(Value::Newtype(Wide(1.0)))));
    refusal(Map(map(price(1))));
}

#[test]
fn a_value_is_refused_exactly_if_it_is_nested_too_deep_to_be_read_back() {
    #[derive(Debug, Serialize, Deserialize)]
    enum Nest {
        Core,
        List([Box<Nest>; 1]),
        Fields { inner: Box<Nest> },
        Pair(Box<Nest>, ()),
        Newtype(Box<Nest>),
    }
    type Wrap = fn(Box<Nest>) -> Nest;
    let wraps: [Wrap; 4] = [
        |inner| Nest::List([inner]),
        |inner| Nest::Fields { inner },
        |inner| Nest::Pair(inner, ()),
        |inner| Nest::Newtype(inner),
    ];
    for wrap in wraps {
        let mut read_all = 0;
        for depth in 0..140 {
            let nested = (0..depth).fold(Nest::Core, |nest, _| wrap(Box::new(nest)));
            let (results, log) = recorded([nested]);
            if results[0].is_ok() {
                assert_eq!(read_back::<Nest>(&log).len(), 1);
                read_all = depth;
            } else {
                assert!(log.is_empty());
            }
        }
        let brackets = if read_all > 100 { 1 } else { 2 };
        assert_eq!(read_all, 126 / brackets, "as deep as the format permits");
    }
    let deep = (0..127).fold(Nest::Core, |nest, _| Nest::Newtype(Box::new(nest)));
    let path = vec!["Newtype"; 127].join(".");
    assert_eq!(
        refusal(deep),
        format!(
            "`{path}` at 1970-01-01T00:00:00Z cannot be logged: it is nested more than 126 deep and could not be read \
             back; record it as a flat list"
        )
    );
}
