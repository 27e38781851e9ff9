//! What travels as the bytes that it is in memory: numbers in a row, wherever they are, and plain data.

use crate::{comes_back, travel};
use bytemuck::{Pod, Zeroable};
use multiproc_travel::pass::{self, Plain, PlainVec, identity};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet, LinkedList, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

fn len<T: Serialize + serde::de::DeserializeOwned>(value: &T) -> usize {
    let mut bytes = Vec::new();
    pass::encode_plain(value, &mut bytes).unwrap();
    bytes.len()
}

/// More than the numbers themselves: lengths, kinds.
const AROUND: usize = 100;

#[test]
fn numbers_in_a_row_travel_as_their_bytes_wherever_they_are() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Job {
        boxed: Box<[f64]>,
        shared: Arc<[u64]>,
        counted: Rc<[i16]>,
        maybe: Option<Vec<f32>>,
        rows: Vec<Vec<u32>>,
        named: BTreeMap<String, Vec<u64>>,
        cow: Cow<'static, [u8]>,
        queue: VecDeque<u64>,
        list: LinkedList<u64>,
        set: BTreeSet<u128>,
        hashed: HashSet<i64>,
        array: [u64; 32],
        result: Result<Vec<usize>, Vec<isize>>,
    }
    let job = Job {
        boxed: vec![f64::NAN; 0].into(),
        shared: (0..1000).collect(),
        counted: (0..1000).collect(),
        maybe: Some(vec![1.5; 1000]),
        rows: vec![(0..500).collect(), vec![], (0..500).collect()],
        named: [("a".to_string(), vec![u64::MAX; 1000])].into(),
        cow: Cow::Owned((0..=255).collect()),
        queue: (0..1000).collect(),
        list: (0..1000).collect(),
        set: (0..1000).collect(),
        hashed: (0..1000).collect(),
        array: [7; 32],
        result: Err(vec![-1; 1000]),
    };
    let numbers = 8000 + 2000 + 4000 + 4000 + 8000 + 256 + 8000 + 8000 + 16_000 + 8000 + 256 + 8000;
    assert!(len(&job) < numbers + 2 * AROUND, "{} bytes", len(&job));
    comes_back(job);
}

#[test]
fn numbers_in_a_row_keep_every_bit() {
    let patterns = [0u64, 1, 0x7ff0_0000_0000_0001, 0xfff8_0000_0000_0000, u64::MAX];
    let floats: Box<[f64]> = patterns.iter().map(|&bits| f64::from_bits(bits)).collect();
    let back: Vec<u64> = travel(&floats).unwrap().iter().map(|float| float.to_bits()).collect();
    assert_eq!(back, patterns);
}

#[test]
fn items_of_several_types_are_told_apart_from_numbers_in_a_row() {
    /// Writes numbers of two types as one sequence.
    struct Mixed;
    impl Serialize for Mixed {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut items = serializer.serialize_seq(None)?;
            items.serialize_element(&1u8)?;
            items.serialize_element(&2u8)?;
            items.serialize_element(&3u64)?;
            items.end()
        }
    }
    impl<'de> Deserialize<'de> for Mixed {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            assert_eq!(Vec::<u64>::deserialize(deserializer)?, [1, 2, 3]);
            Ok(Self)
        }
    }
    travel(&Mixed).unwrap();
}

#[test]
fn a_vector_of_numbers_is_read_by_its_own_code_where_it_has_some() {
    /// Reads numbers by a visitor of its own, which makes a `Vec`, too.
    #[derive(Debug, PartialEq)]
    struct Doubled(Vec<u32>);
    impl Serialize for Doubled {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.iter().map(|n| n / 2))
        }
    }
    impl<'de> Deserialize<'de> for Doubled {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Double;
            impl<'de> serde::de::Visitor<'de> for Double {
                type Value = Vec<u32>;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("numbers")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<u32>, A::Error> {
                    let mut all = Vec::new();
                    while let Some(n) = items.next_element::<u32>()? {
                        all.push(2 * n);
                    }
                    Ok(all)
                }
            }
            deserializer.deserialize_seq(Double).map(Self)
        }
    }
    comes_back(Doubled(vec![2, 4, 6]));
}

#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Point {
    x: f32,
    y: f32,
}

#[test]
fn plain_data_comes_back_alone_and_as_a_part() {
    let (a, b) = (Point { x: 1.0, y: -0.0 }, Point { x: f32::MAX, y: 2.5 });
    comes_back(Plain(a));
    comes_back(PlainVec(vec![a, b, a]));
    comes_back(PlainVec::<Point>(vec![]));
    comes_back((1u8, Some(Plain([1u64, 2])), vec![PlainVec(vec![a]), PlainVec(vec![])], "end".to_string()));
    assert!(len(&PlainVec(vec![a; 1000])) < 8000 + AROUND);
    let json = serde_json::to_string(&Plain(a)).unwrap();
    assert_eq!(serde_json::from_str::<Plain<Point>>(&json).unwrap(), Plain(a));
}

#[test]
fn plain_data_without_bytes_is_refused_where_its_number_would_be_lost() {
    comes_back(Plain([0u8; 0]));
    comes_back(PlainVec::<[u8; 0]>(vec![]));
    let error = travel(&PlainVec(vec![[0u8; 0]; 5])).unwrap_err().to_string();
    assert!(error.contains("put their number"), "{error}");
}

#[test]
fn bytes_that_make_no_plain_data_are_an_error() {
    let mut bytes = Vec::new();
    pass::encode_plain(&PlainVec(vec![1u8; 7]), &mut bytes).unwrap();
    for error in [
        pass::decode_plain::<Plain<Point>>(&bytes).unwrap_err().to_string(),
        pass::decode_plain::<PlainVec<Point>>(&bytes).unwrap_err().to_string(),
    ] {
        assert!(error.contains("invalid length 7"), "{error}");
    }
}

#[test]
fn plain_data_of_another_type_is_another_type() {
    #[derive(Clone, Copy, Pod, Zeroable)]
    #[repr(C)]
    struct Place {
        x: f32,
        y: f32,
    }
    assert_ne!(identity::<Plain<Point>>(), identity::<Plain<Place>>());
    assert_ne!(identity::<Plain<Point>>(), identity::<PlainVec<Point>>());
    assert_ne!(identity::<(u8, Plain<Point>)>(), identity::<(u8, Plain<Place>)>());
    mod wide {
        #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        pub(super) struct Point {
            x: f64,
            y: f64,
        }
    }
    assert_ne!(identity::<PlainVec<Point>>(), identity::<PlainVec<wide::Point>>());
    assert_ne!(identity::<Vec<Plain<Point>>>(), identity::<Vec<Plain<wide::Point>>>());
    assert_ne!(identity::<Plain<[u8; 4]>>(), identity::<Plain<[u8; 8]>>());
    assert_eq!(identity::<Vec<Plain<Point>>>(), identity::<Vec<Plain<Point>>>());
}

#[test]
fn types_that_are_read_from_any_bytes_are_tried_once() {
    use crate::tried::{Counted, put};
    let parts = || (Counted::ONE, serde_bytes::ByteBuf::from(vec![1; 9]), Plain([1u8; 3]), PlainVec(vec![1u16]));
    assert_eq!((put(&parts()), put(&parts())), (1, 0));
}

#[test]
fn bytes_that_a_type_reads_by_code_of_its_own_are_tried_each_time() {
    use crate::tried::{Counted, put};
    #[derive(Serialize, Deserialize)]
    struct Message(Counted, #[serde(with = "serde_bytes")] Vec<u8>);
    let message = || Message(Counted::ONE, vec![1; 9]);
    assert_eq!((put(&message()), put(&message())), (1, 1));

    mod short {
        pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
            serde_bytes::serialize(bytes, serializer)
        }
        pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
            let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
            if bytes.len() > 10 { Err(serde::de::Error::custom("too long for me")) } else { Ok(bytes) }
        }
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Short(#[serde(with = "short")] Vec<u8>);
    comes_back(Short(vec![1; 10]));
    let error = travel(&Short(vec![1; 11])).unwrap_err().to_string();
    assert!(error.contains("too long for me"), "{error}");
    comes_back(Short(vec![1; 10]));
}
