//! I6: bytes that a peer made up.

use multiproc_travel::pass;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Serialize, Deserialize)]
enum All {
    Numbers(u8, u64, i128, f64, char, bool),
    Texts { text: String, bytes: serde_bytes::ByteBuf, path: std::path::PathBuf },
    Lists(Vec<u8>, Vec<f64>, Vec<String>, Vec<()>, [u16; 9]),
    Maps(BTreeMap<String, All>, HashMap<u8, Vec<All>>),
    Maybe(Option<Option<Box<All>>>),
    Json(serde_json::Value),
    Untagged(Untagged),
    Unit,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Tree(Vec<Untagged>),
    Number(u64),
    Any(serde_json::Value),
}

fn samples() -> Vec<Vec<u8>> {
    let json = serde_json::json!({"a": [1, 2.5, null, {"b": "c"}]});
    let list = || All::Lists(vec![1], vec![2.0], vec!["x".into()], vec![(); 3], [7; 9]);
    let all = [
        All::Numbers(1, 2, 3, 4.0, '5', true),
        All::Texts { text: "t".into(), bytes: vec![1].into(), path: "/".into() },
        list(),
        All::Maps(BTreeMap::from([("k".into(), All::Unit)]), HashMap::from([(1, vec![list()])])),
        All::Maybe(Some(Some(Box::new(All::Maybe(Some(None)))))),
        All::Json(json.clone()),
        All::Untagged(Untagged::Tree(vec![Untagged::Number(1), Untagged::Any(json)])),
    ];
    all.iter().map(|value| pass::encode(value).unwrap().bytes).collect()
}

/// Proves that decoding ends, without a panic and with the memory there is.
fn read(bytes: &[u8]) {
    let _ = pass::decode_plain::<All>(bytes);
    let _ = pass::decode_plain::<serde_json::Value>(bytes);
    let _ = pass::decode_plain::<Untagged>(bytes);
    let _ = pass::decode_plain::<(String, Vec<u64>, Vec<()>)>(bytes);
    let _ = pass::decode_plain::<Vec<f64>>(bytes);
    let _ = pass::decode_plain::<String>(bytes);
    let _ = pass::decode_plain::<u64>(bytes);
}

#[test]
fn every_byte_of_a_message_may_be_any_other() {
    for sample in samples() {
        for at in 0..sample.len() {
            read(&sample[..at]);
            for byte in 0..=255 {
                let mut bytes = sample.clone();
                bytes[at] = byte;
                read(&bytes);
            }
        }
    }
}

#[test]
fn lengths_without_end_cost_nothing() {
    for kind in 0..64 {
        for inner in 0..64 {
            let mut bytes = vec![kind, 0xff, 0xff, 0xff, 0xff];
            bytes.extend([inner; 300]);
            read(&bytes);
            bytes[1] = inner;
            read(&bytes);
        }
        read(&[kind; 100_000]);
    }
}

#[test]
fn a_type_that_reads_nothing_is_no_endless_loop() {
    #[derive(Debug)]
    struct Nothing;
    impl<'de> Deserialize<'de> for Nothing {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    #[derive(Deserialize)]
    struct Holder {
        _it: Vec<Nothing>,
    }
    // A sequence of 2³² − 1 items, in a struct.
    assert!(pass::decode_plain::<Holder>(&[13, 8, 255, 255, 255, 255, 1, 1, 0]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(prop_oneof![0u8..48, any::<u8>()], 0..200)) {
        read(&bytes);
    }
}
