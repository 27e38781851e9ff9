//! I7: the number by which a queue tells its type from others.

use multiproc_travel::pass::{Descriptor, identity, type_name};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod one {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Job {
        pub(super) id: u64,
        name: Option<String>,
        kind: Kind,
        rest: Vec<Job>,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Kind {
        Small,
        Large(u64),
        Both(Box<Kind>, Box<Kind>),
        Named { name: String },
    }
}

mod same {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Job {
        id: u64,
        name: Option<String>,
        kind: Box<Kind>,
        rest: std::collections::VecDeque<Job>,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Kind {
        Small,
        Large(u64),
        Both(Box<Kind>, Box<Kind>),
        Named { name: Box<str> },
    }
}

mod other {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Job {
        id: u64,
        name: Option<String>,
        kind: Kind,
        rest: Vec<Job>,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Kind {
        Small,
        Large(u64),
        Both(Box<Kind>, Box<Kind>),
        Named { name: u64 },
    }
}

#[test]
fn every_type_has_a_number_of_its_own() {
    #[derive(Deserialize)]
    struct A {
        _x: u8,
    }
    #[derive(Deserialize)]
    struct B {
        _y: u8,
    }
    #[derive(Deserialize)]
    struct Unit;
    #[derive(Deserialize)]
    struct Meters(u32);
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        A(u8),
    }
    let _ = (Meters(1).0, |u: Untagged| match u {
        Untagged::A(n) => n,
    });
    fn of<T: DeserializeOwned>() -> (u64, String) {
        (identity::<T>(), type_name::<T>())
    }
    let all = [
        of::<u8>(),
        of::<u16>(),
        of::<u32>(),
        of::<u64>(),
        of::<u128>(),
        of::<i8>(),
        of::<i16>(),
        of::<i32>(),
        of::<i64>(),
        of::<i128>(),
        of::<f32>(),
        of::<f64>(),
        of::<bool>(),
        of::<char>(),
        of::<String>(),
        of::<()>(),
        of::<Option<u8>>(),
        of::<Option<u16>>(),
        of::<Option<Option<u8>>>(),
        of::<Vec<u8>>(),
        of::<Vec<u16>>(),
        of::<Vec<Vec<u8>>>(),
        of::<(u8,)>(),
        of::<(u8, u8)>(),
        of::<(u8, u16)>(),
        of::<(u16, u8)>(),
        of::<[u8; 3]>(),
        of::<[u8; 4]>(),
        of::<BTreeMap<u8, u8>>(),
        of::<BTreeMap<u8, u16>>(),
        of::<A>(),
        of::<B>(),
        of::<Unit>(),
        of::<Meters>(),
        of::<Untagged>(),
        of::<serde_json::Value>(),
        of::<one::Job>(),
        of::<one::Kind>(),
        of::<other::Job>(),
        of::<other::Kind>(),
        of::<Descriptor>(),
        of::<(Descriptor, u8)>(),
        of::<std::time::Duration>(),
        of::<std::net::IpAddr>(),
        of::<std::num::NonZeroU64>(),
    ];
    for (i, (number, name)) in all.iter().enumerate() {
        for (others, other) in &all[..i] {
            assert_ne!(number, others, "{name} and {other} have one number");
        }
    }
}

#[test]
fn modules_and_boxes_do_not_count() {
    assert_eq!(identity::<one::Job>(), identity::<same::Job>());
    assert_ne!(identity::<one::Job>(), identity::<other::Job>());
    assert_eq!(identity::<Vec<String>>(), identity::<std::sync::Arc<[Box<str>]>>());
    assert_eq!(identity::<u64>(), identity::<usize>());
}

/// A queue of the first type must not open as a queue of the second.
#[test]
fn types_whose_messages_have_other_bytes_have_other_numbers() {
    fn bytes<T: Serialize + DeserializeOwned>(value: T) -> (u64, Vec<u8>) {
        let mut bytes = Vec::new();
        multiproc_travel::pass::encode_plain(&value, &mut bytes).unwrap();
        (identity::<T>(), bytes)
    }
    let numbers = [
        bytes(vec![1u8, 2]),
        bytes(Box::<[u8]>::from([1, 2])),
        bytes(std::collections::VecDeque::from([1u8, 2])),
        bytes(std::sync::Arc::<[u8]>::from([1, 2])),
    ];
    let texts = [bytes("a".to_string()), bytes(Box::<str>::from("a")), bytes(std::rc::Rc::<str>::from("a"))];
    let small = [bytes(1u64), bytes(1usize), bytes(std::num::NonZeroU64::MIN), bytes(Box::new(1u64))];
    for all in [&numbers[..], &texts, &small] {
        for (one, other) in all.iter().flat_map(|one| all.iter().map(move |other| (one, other))) {
            assert_eq!(one.0 == other.0, one.1 == other.1);
        }
    }
}

#[test]
fn the_number_is_the_same_in_every_program_and_build() {
    // They change with the codec's version only: programs built before and after another change must agree.
    assert_eq!((identity::<u32>(), identity::<one::Job>()), (18152114553801617310, 17055686109491471088));
}

#[test]
fn a_type_inside_itself_has_a_number() {
    #[derive(Deserialize)]
    enum Endless {
        Again(Box<Endless>),
    }
    let _ = |Endless::Again(it)| drop(it);
    #[derive(Deserialize)]
    struct Wide {
        _a: Option<Box<Wide>>,
        _b: Option<Box<Wide>>,
        _c: Vec<Wide>,
        _d: BTreeMap<String, Wide>,
    }
    assert_ne!(identity::<Endless>(), identity::<Wide>());
}

#[test]
fn a_panic_in_deserialize_costs_the_number_only_its_precision() {
    struct Panics;
    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("never read")
        }
    }
    assert_eq!(identity::<Panics>(), identity::<Panics>());
    assert_ne!(identity::<Panics>(), identity::<(Panics,)>());
}

#[test]
fn names_are_for_people() {
    assert_eq!(type_name::<Vec<one::Job>>(), "Vec<Job>");
    assert_eq!(type_name::<(u8, Option<[String; 2]>)>(), "(u8, Option<[String; 2]>)");
    assert_eq!(type_name::<&'static str>(), "&str");
}
