//! serde's attributes.

use crate::{comes_back, is_refused, travel};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

macro_rules! data {
    ($($item:item)*) => { $(#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)] $item)* };
}

data! {
    struct Limits {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        id: u32,
    }
    #[serde(untagged)]
    enum Untagged { Number(i64), Text(String), Point { x: f64, y: f64 }, Pair(u8, bool), Home(IpAddr), Nothing }
    #[serde(tag = "type")]
    enum Tagged { Point { x: f64, y: f64 }, Limits(Limits), Unit, Home { at: IpAddr } }
    #[serde(tag = "t", content = "c")]
    enum Adjacent { Number(u64), Pair(u8, String), Point { x: f64 }, Unit }
    struct Inner { a: u32, b: Option<String> }
    struct Flat {
        id: u64,
        #[serde(flatten)]
        inner: Inner,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    #[serde(rename = "Other", rename_all = "kebab-case")]
    struct Renamed { first_field: u8, #[serde(rename = "zweites")] second: u8, #[serde(alias = "old", default)] third: u8 }
    #[serde(rename_all = "UPPERCASE")]
    enum Kinds { Unit, Newtype(u8), Tuple(u8, char), #[serde(alias = "Record")] Struct { a: u8 }, #[serde(other)] Other }
    struct Skipped { a: u8, #[serde(skip)] b: u8, c: String }
    #[serde(transparent)]
    struct Clear { inner: Vec<u16> }
    struct Unit;
    struct Empty {}
    struct Newtype(u64);
    struct Tuple(u8, String);
    #[serde(from = "(u8, u8)", into = "(u8, u8)")]
    struct Converted { sum: u16, difference: i16 }
    #[serde(try_from = "u32", into = "u32")]
    struct Even(u32);
    #[serde(deny_unknown_fields)]
    struct Strict { a: u8, #[serde(default)] b: u8 }
    struct Hex(#[serde(with = "hex")] u64);
    struct Bytes { #[serde(with = "serde_bytes")] bytes: Vec<u8>, buf: serde_bytes::ByteBuf }
    struct Borrowed<'a> { text: Cow<'a, str>, #[serde(with = "Far")] far: Elsewhere }
    enum WithHidden { #[serde(skip)] Hidden, A(u8), #[serde(skip_deserializing)] OneWay, B(u8) }
    #[serde(tag = "kind")]
    enum Holder { It { deep: Deep } }
    enum Deep { Json(serde_json::Value), Untagged(Untagged), Tagged(Tagged), Plain(u8) }
    struct Nested<T> { before: u8, it: T, after: Option<T> }
    struct OneName { #[serde(rename(serialize = "a", deserialize = "b"))] x: u8 }
}

#[derive(Clone, Debug, PartialEq)]
struct Elsewhere(u8, u8);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Elsewhere")]
struct Far(u8, u8);

impl From<(u8, u8)> for Converted {
    fn from((a, b): (u8, u8)) -> Self {
        Self { sum: u16::from(a) + u16::from(b), difference: i16::from(a) - i16::from(b) }
    }
}

impl From<Converted> for (u8, u8) {
    fn from(Converted { sum, difference }: Converted) -> Self {
        let a = (sum as i16 + difference) / 2;
        (a as u8, (sum as i16 - a) as u8)
    }
}

impl TryFrom<u32> for Even {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        if number % 2 == 0 { Ok(Self(number)) } else { Err(format!("{number} is odd")) }
    }
}

impl From<Even> for u32 {
    fn from(even: Even) -> Self {
        even.0
    }
}

mod hex {
    use super::*;

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{number:x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        u64::from_str_radix(&String::deserialize(deserializer)?, 16).map_err(serde::de::Error::custom)
    }
}

#[test]
fn skip_serializing_if_shifts_nothing() {
    for limit in [None, Some(3)] {
        for name in [None, Some("n".to_string())] {
            let limits = Limits { limit, name, id: 1 };
            comes_back(limits.clone());
            comes_back(vec![limits.clone(), Limits { limit: None, name: None, id: 9 }]);
            comes_back(Nested { before: 1, it: limits.clone(), after: Some(limits) });
        }
    }
}

#[test]
fn untagged_enums_come_back() {
    let ip = "::1".parse().unwrap();
    let all = [
        Untagged::Number(-1),
        Untagged::Text("t".into()),
        Untagged::Point { x: 1.0, y: -0.0 },
        Untagged::Pair(1, true),
        Untagged::Nothing,
    ];
    for value in all.clone() {
        comes_back(value.clone());
        comes_back(Deep::Untagged(value.clone()));
        comes_back(Holder::It { deep: Deep::Untagged(value.clone()) });
        comes_back(Nested { before: 0, it: value.clone(), after: Some(value) });
    }
    comes_back(all.to_vec());
    // Its forms for people are texts, and another variant is the first that takes a text.
    is_refused(Untagged::Home(ip), "another value");
}

#[test]
fn an_untagged_value_that_an_earlier_variant_takes_is_refused_each_time() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Width {
        Narrow(u8),
        Wide(u64),
    }
    comes_back(Width::Wide(300));
    is_refused(Width::Wide(5), "another value");
    comes_back(Width::Wide(300));
    comes_back(Width::Narrow(5));
}

#[test]
fn internally_tagged_enums_come_back() {
    let ip = "10.0.0.1".parse().unwrap();
    let limits = Limits { limit: None, name: None, id: 1 };
    for value in [Tagged::Point { x: 1.0, y: 2.0 }, Tagged::Limits(limits), Tagged::Unit, Tagged::Home { at: ip }] {
        comes_back(value.clone());
        comes_back(Deep::Tagged(value.clone()));
        comes_back(vec![Tagged::Unit, value.clone()]);
        comes_back(Nested { before: 0, it: value.clone(), after: Some(value) });
    }
}

#[test]
fn adjacently_tagged_enums_come_back() {
    for value in [Adjacent::Number(u64::MAX), Adjacent::Pair(1, "p".into()), Adjacent::Point { x: 0.5 }, Adjacent::Unit] {
        comes_back(value.clone());
        comes_back(vec![Adjacent::Unit, value]);
    }
}

#[test]
fn flattened_structs_come_back() {
    for b in [None, Some("b".to_string())] {
        let rest = BTreeMap::from([("x".into(), 1), ("y".into(), 2)]);
        let flat = Flat { id: 1, inner: Inner { a: 2, b }, rest };
        comes_back(flat.clone());
        comes_back((flat, 1u8));
    }
}

#[test]
fn names_of_fields_and_variants_do_not_matter() {
    comes_back(Renamed { first_field: 1, second: 2, third: 3 });
    for value in [Kinds::Unit, Kinds::Newtype(1), Kinds::Tuple(1, 'ß'), Kinds::Struct { a: 1 }, Kinds::Other] {
        comes_back(value.clone());
        comes_back(vec![Kinds::Unit, value]);
    }
    // Names that differ between the two directions: the value comes back, or is refused.
    comes_back_or_is_refused(&OneName { x: 1 });
}

fn comes_back_or_is_refused<T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    for _ in 0..2 {
        if let Ok(back) = travel(value) {
            assert_eq!(&back, value);
        }
    }
}

#[test]
fn plain_structs_and_enums_come_back() {
    comes_back(Unit);
    comes_back(Empty {});
    comes_back(Newtype(u64::MAX));
    comes_back(Tuple(1, "t".into()));
    comes_back(Clear { inner: vec![1, 2] });
    comes_back(Strict { a: 1, b: 2 });
    comes_back(Bytes { bytes: vec![0, 255], buf: serde_bytes::ByteBuf::from(vec![1]) });
    comes_back(Borrowed { text: Cow::Borrowed("c"), far: Elsewhere(1, 2) });
    comes_back(Nested { before: 1, it: (), after: Some(()) });
}

#[test]
fn converted_types_come_back() {
    comes_back(Converted::from((200, 100)));
    comes_back(Hex(0xdead));
    comes_back(vec![Even(2), Even(4)]);
}

#[test]
fn a_skipped_field_is_its_default_as_its_type_declares() {
    let got = travel(&Skipped { a: 1, b: 7, c: "c".into() }).unwrap();
    assert_eq!(got, Skipped { a: 1, b: 0, c: "c".into() });
}

#[test]
fn hidden_variants_shift_nothing() {
    for value in [WithHidden::A(1), WithHidden::B(2)] {
        comes_back(value.clone());
        comes_back(vec![value.clone(), WithHidden::A(0), value]);
    }
    is_refused(WithHidden::Hidden, "cannot be serialized");
    is_refused(WithHidden::OneWay, "unknown variant `OneWay`");
    is_refused(vec![WithHidden::A(1), WithHidden::OneWay], "unknown variant `OneWay`");
}

#[test]
fn values_of_json_come_back() {
    let json = serde_json::json!({"a": [1, -2, 0.5, null, true, "text"], "b": {"c": {}}, "big": u64::MAX});
    comes_back(json.clone());
    comes_back(Deep::Json(json.clone()));
    comes_back(vec![Deep::Plain(1), Deep::Json(json.clone()), Deep::Plain(2)]);
    comes_back(HashMap::from([("k".to_string(), json)]));
    comes_back(serde_json::Value::Null);
}

#[test]
fn raw_json_is_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Raw(Box<serde_json::value::RawValue>);
    let raw = Raw(serde_json::value::RawValue::from_string("{\"a\": 1}".into()).unwrap());
    is_refused(raw, "its Deserialize does not take what its Serialize writes");
}
