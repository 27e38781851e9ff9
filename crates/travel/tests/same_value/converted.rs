//! Types with code of their own in one direction, and types that change the order of items.

use crate::tried::{Counted, put};
use crate::{comes_back, is_refused, travel};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::ops::Bound;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

#[derive(Deserialize)]
#[serde(rename = "Span")]
struct RawSpan {
    from: u32,
    to: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSpan")]
struct Span {
    from: u32,
    to: u32,
}

impl TryFrom<RawSpan> for Span {
    type Error = String;
    fn try_from(raw: RawSpan) -> Result<Self, String> {
        if raw.from <= raw.to { Ok(Self { from: raw.from, to: raw.to }) } else { Err("it ends before it starts".into()) }
    }
}

/// Reads at most 100.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "wire::Percent")]
struct Percent {
    value: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "wire::Point", into = "wire::Point")]
struct Point {
    x: i32,
    y: i32,
}

mod wire {
    use serde::{Deserialize, Serialize};

    #[derive(Deserialize)]
    pub(super) struct Percent {
        value: u8,
    }

    impl From<Percent> for super::Percent {
        fn from(wire: Percent) -> Self {
            Self { value: wire.value.min(100) }
        }
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct Point {
        x: i16,
        y: i16,
    }

    impl From<Point> for super::Point {
        fn from(wire: Point) -> Self {
            Self { x: i32::from(wire.x) + i32::from(wire.x > 1000), y: wire.y.into() }
        }
    }

    impl From<super::Point> for Point {
        fn from(point: super::Point) -> Self {
            Self { x: point.x as i16, y: point.y as i16 }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawLevel")]
enum Level {
    Low(u8),
    High(u8),
}

#[derive(Deserialize)]
#[serde(rename = "Level")]
enum RawLevel {
    Low(u8),
    High(u8),
}

impl TryFrom<RawLevel> for Level {
    type Error = &'static str;
    fn try_from(raw: RawLevel) -> Result<Self, &'static str> {
        match raw {
            RawLevel::Low(n @ 0..50) => Ok(Self::Low(n)),
            RawLevel::High(n @ 50..) => Ok(Self::High(n)),
            _ => Err("neither low nor high"),
        }
    }
}

#[test]
fn a_type_that_is_read_as_another_is_tried_at_each_put() {
    let span = |from, to| Span { from, to };
    comes_back(span(2, 5));
    is_refused(span(5, 2), "it ends before it starts");
    comes_back(vec![Some(Box::new(span(1, 2)))]);
    is_refused(vec![Some(Box::new(span(2, 1)))], "it ends before it starts");
    comes_back(HashMap::from([(1, (span(1, 2), Rc::new(span(1, 2))))]));
    is_refused(HashMap::from([(1, (span(1, 2), Rc::new(span(2, 1))))]), "it ends before it starts");
    comes_back(Cow::<'static, Span>::Owned(span(1, 2)));
    is_refused(Cow::<'static, Span>::Owned(span(2, 1)), "it ends before it starts");
    comes_back(Percent { value: 100 });
    is_refused(Percent { value: 200 }, "another value");
    comes_back(Level::Low(1));
    is_refused(Level::Low(99), "neither low nor high");
}

#[test]
fn a_type_that_is_read_as_another_of_its_name_is_tried_at_each_put() {
    comes_back(Point { x: 1, y: 2 });
    is_refused(Point { x: 2000, y: 2 }, "another value");
}

/// Values of a shape that was tried are not tried again. Two shapes of one value may share a place in a thread's memory, which
/// depends on the build. Hence several types.
fn is_tried_once<T: Serialize + DeserializeOwned>(value: impl Fn() -> T) {
    #[derive(Serialize, Deserialize)]
    struct Salted<T, const N: usize>(Counted, T);
    fn is_tried_again<T: Serialize + DeserializeOwned, const N: usize>(value: T) -> bool {
        let value = Salted::<T, N>(Counted::ONE, value);
        assert_eq!(put(&value), 1);
        put(&value) > 0
    }
    let again = is_tried_again::<T, 0>(value()) && is_tried_again::<T, 1>(value()) && is_tried_again::<T, 2>(value());
    assert!(!again, "a {} was tried again", std::any::type_name::<T>());
}

#[test]
fn derived_types_and_those_of_the_library_are_tried_once() {
    #[derive(Serialize, Deserialize)]
    struct Meters<T>(T);
    #[derive(Serialize, Deserialize)]
    enum Kind {
        Unit,
        New(Meters<Box<u8>>),
        Tuple(u8, Option<Meters<u8>>),
        Named { a: Vec<Meters<u16>>, b: Duration },
    }
    #[derive(Serialize, Deserialize)]
    struct List {
        value: Meters<(u8, String)>,
        next: Option<Box<List>>,
    }
    is_tried_once(|| Box::new(Meters(1)));
    is_tried_once(|| Some(Box::new(Meters((1, "a".to_string())))));
    is_tried_once(|| (Arc::new(Some(Meters(1))), Rc::new(Meters(Rc::<str>::from("s")))));
    is_tried_once(|| Cow::<'static, str>::from("cow"));
    is_tried_once(|| Cow::<'static, [u8]>::from(vec![1]));
    is_tried_once(|| (Mutex::new(Meters(1)), Cell::new(1), RefCell::new(Meters(()))));
    is_tried_once(|| Kind::Unit);
    is_tried_once(|| Kind::New(Meters(Box::new(1))));
    is_tried_once(|| Kind::Tuple(1, Some(Meters(1))));
    is_tried_once(|| Kind::Named { a: vec![Meters(1)], b: Duration::from_secs(1) });
    is_tried_once(|| BTreeMap::from([("a".to_string(), Meters([1; 3]))]));
    is_tried_once(|| HashMap::from([(1, HashSet::from([1, 2, 3]))]));
    is_tried_once(|| Err::<Meters<u8>, _>(IpAddr::from([127, 0, 0, 1])));
    is_tried_once(|| (1..2, Bound::Included(Meters(1)), std::cmp::Reverse(Meters('a'))));
    is_tried_once(|| (SystemTime::UNIX_EPOCH, std::num::NonZeroU8::MIN, PathBuf::from("p")));
    is_tried_once(|| {
        let last = List { value: Meters((1, "a".into())), next: None };
        List { value: Meters((2, "b".into())), next: Some(Box::new(last)) }
    });
}

fn odd<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if number % 2 == 1 { Ok(number) } else { Err(serde::de::Error::custom("even")) }
}

#[test]
fn a_newtype_with_code_of_its_own_to_read_is_tried_at_each_put() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Odd(#[serde(deserialize_with = "odd")] u64);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Nested(Odd);
    comes_back(Odd(1));
    is_refused(Odd(2), "even");
    comes_back(Nested(Odd(1)));
    is_refused(Nested(Odd(2)), "even");
}

fn sorted<'de, T: Deserialize<'de> + Ord, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let mut items = Vec::deserialize(deserializer)?;
    items.sort();
    Ok(items)
}

#[test]
fn a_field_that_is_sorted_when_it_is_read_is_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sorted {
        #[serde(deserialize_with = "sorted")]
        numbers: Vec<u32>,
        #[serde(deserialize_with = "sorted")]
        texts: Vec<String>,
    }
    let value = |numbers: &[u32], texts: &[&str]| Sorted {
        numbers: numbers.to_vec(),
        texts: texts.iter().map(|text| text.to_string()).collect(),
    };
    comes_back(value(&[1, 2, 3], &["a", "b"]));
    is_refused(value(&[3, 1, 2], &["a", "b"]), "not in its order");
    is_refused(value(&[1, 2, 3], &["b", "a"]), "not in its order");
    is_refused((HashSet::from([1, 2, 3, 4, 5]), Holder(value(&[3, 1, 2], &[]))), "not in its order");

    #[derive(Serialize, Deserialize)]
    struct Holder<T>(T);
}

#[test]
fn what_has_no_order_comes_back() {
    type Fixed = BuildHasherDefault<DefaultHasher>;
    /// A set whose name the codec does not know.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(transparent)]
    struct Friends(HashSet<String>);
    /// A set that is written as a list.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(from = "Vec<u8>", into = "Vec<u8>")]
    struct Listed(HashSet<u8>);
    impl From<Vec<u8>> for Listed {
        fn from(list: Vec<u8>) -> Self {
            Self(list.into_iter().collect())
        }
    }
    impl From<Listed> for Vec<u8> {
        fn from(set: Listed) -> Self {
            set.0.into_iter().collect()
        }
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        id: u8,
        #[serde(flatten)]
        rest: HashMap<String, u8>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "t")]
    enum Tagged {
        Flat(Flat),
        Set { set: HashSet<u8> },
    }
    let texts = |n: u8| (0..n).map(|n| n.to_string());
    let rest = || texts(9).zip(0..).collect();
    for n in [2, 3, 20] {
        comes_back(Friends(texts(n).collect()));
        comes_back(Listed((0..n).collect()));
        comes_back(vec![Listed((0..n).collect()), Listed((0..2).collect())]);
        comes_back(vec![Some(HashSet::<String>::from_iter(texts(n)))]);
        comes_back((0..n).map(|n| (n, n.to_string())).collect::<HashMap<u8, String, Fixed>>());
        comes_back((0..n).collect::<HashSet<u8, Fixed>>());
    }
    comes_back(Flat { id: 1, rest: rest() });
    comes_back(Tagged::Flat(Flat { id: 1, rest: rest() }));
    comes_back(Tagged::Set { set: HashSet::from([1, 2, 3]) });
    let heap = BinaryHeap::from_iter((0..20).rev().chain(5..30));
    for _ in 0..2 {
        assert_eq!(travel(&heap).unwrap().into_sorted_vec(), heap.clone().into_sorted_vec());
    }
}
