//! Values that can't be got as they were put are refused at the put, with words that help.

use crate::{comes_back, is_refused, travel};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

fn three() -> Option<u32> {
    Some(3)
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct WrongDefault {
    #[serde(default = "three", skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    id: u32,
}

#[test]
fn a_default_that_is_not_what_was_skipped_is_refused_and_other_values_are_not() {
    comes_back(WrongDefault { limit: Some(9), id: 1 });
    is_refused(WrongDefault { limit: None, id: 1 }, "another value");
    comes_back(WrongDefault { limit: Some(9), id: 1 });
    is_refused(vec![WrongDefault { limit: Some(1), id: 1 }, WrongDefault { limit: None, id: 1 }], "another value");
}

#[test]
fn a_field_that_is_skipped_in_one_direction_is_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct OnlyWritten {
        #[serde(skip_deserializing)]
        a: u32,
        b: u32,
        #[serde(skip_serializing, default)]
        c: u32,
    }
    // All three are numbers of one width, and the type reads as many as it writes.
    comes_back(OnlyWritten { a: 0, b: 0, c: 0 });
    is_refused(OnlyWritten { a: 5, b: 6, c: 0 }, "another value");

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct OnlyRead {
        #[serde(skip_serializing)]
        a: u32,
        b: u32,
    }
    is_refused(OnlyRead { a: 1, b: 2 }, "missing field `a`");
}

#[test]
fn what_a_type_says_itself_reaches_the_user() {
    struct NotNow;
    impl Serialize for NotNow {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("the moon is full"))
        }
    }
    impl<'de> Deserialize<'de> for NotNow {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    is_refused(NotNow, "the moon is full");
    is_refused(vec![Some(NotNow)], "the moon is full");
}

/// Takes numbers below ten. Its code to read is its own, its code to write is derived.
#[derive(Debug, PartialEq, Serialize)]
struct Digit {
    digit: u8,
}

impl<'de> Deserialize<'de> for Digit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Digit;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a digit")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Digit, A::Error> {
                match seq.next_element()? {
                    Some(digit @ 0..10) => Ok(Digit { digit }),
                    _ => Err(serde::de::Error::custom("that is no digit")),
                }
            }
        }
        deserializer.deserialize_struct("Digit", &["digit"], Visitor)
    }
}

fn small<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if number < 1000 { Ok(number) } else { Err(serde::de::Error::custom("too large")) }
}

fn halved<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(if *number > 100 { number / 2 } else { *number })
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fields {
    #[serde(deserialize_with = "small")]
    small: u64,
    #[serde(serialize_with = "halved")]
    halved: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Odd(u8);

impl TryFrom<u8> for Odd {
    type Error = &'static str;
    fn try_from(number: u8) -> Result<Self, &'static str> {
        if number % 2 == 1 { Ok(Self(number)) } else { Err("even") }
    }
}

impl From<Odd> for u8 {
    fn from(odd: Odd) -> Self {
        odd.0
    }
}

impl Clone for Odd {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

#[test]
fn a_value_that_its_own_type_does_not_take_is_refused_also_after_others_were_taken() {
    comes_back(Odd(1));
    is_refused(Odd(2), "even");
    comes_back(vec![Odd(1), Odd(3)]);
    is_refused(vec![Odd(1), Odd(2)], "even");
    comes_back(Some(Box::new(Odd(1))));
    is_refused(Some(Box::new(Odd(2))), "even");

    comes_back(Digit { digit: 1 });
    is_refused(Digit { digit: 10 }, "that is no digit");

    comes_back(Fields { small: 1, halved: 1 });
    is_refused(Fields { small: 1000, halved: 1 }, "too large");
    is_refused(Fields { small: 1, halved: 500 }, "another value");
}

#[test]
fn types_of_different_widths_are_refused_or_come_back() {
    /// Writes 64 bits and reads 32.
    #[derive(Debug, PartialEq, Deserialize)]
    struct Wide(u32);
    impl Serialize for Wide {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u64(self.0.into())
        }
    }
    comes_back(Wide(7));
    comes_back(Wide(u32::MAX));

    /// Writes a part that it does not read.
    #[derive(Debug)]
    struct Confused;
    impl Serialize for Confused {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str("text")
        }
    }
    impl<'de> Deserialize<'de> for Confused {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            u64::deserialize(deserializer).map(|_| Self)
        }
    }
    is_refused(Confused, "invalid type: string \"text\", expected u64");
}

#[test]
fn a_panic_in_deserialize_is_an_error_at_the_put_and_spoils_nothing() {
    #[derive(Debug, Serialize)]
    struct Panics(u8);
    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("out of tea")
        }
    }
    is_refused(Panics(1), "out of tea");
    comes_back((1, "other".to_string()));
}

#[test]
fn a_deep_nest_is_an_error_at_the_put() {
    #[derive(Debug, Serialize, Deserialize)]
    struct List {
        next: Option<Box<List>>,
    }
    #[derive(Debug, Serialize, Deserialize)]
    enum Tree {
        Leaf,
        Node(Vec<Tree>),
    }
    let list = |n| (1..n).fold(List { next: None }, |list, _| List { next: Some(Box::new(list)) });
    let tree = |n| (1..n).fold(Tree::Leaf, |tree, _| Tree::Node(vec![tree]));
    assert!(travel(&list(60)).is_ok() && travel(&tree(60)).is_ok());
    is_refused(list(10_000), "nested more than 128 deep");
    is_refused(tree(10_000), "nested more than 128 deep");
    // A value of any depth comes back, or is refused.
    for depth in 1..200 {
        let _ = (travel(&list(depth)), travel(&tree(depth)));
    }
    let deep_json = (0..10_000).fold(serde_json::Value::Null, |inner, _| serde_json::Value::Array(vec![inner]));
    is_refused(DeepJson(deep_json), "nested more than 128 deep");
}

/// Drops its levels without recursion.
#[derive(Serialize, Deserialize)]
struct DeepJson(serde_json::Value);

impl Drop for DeepJson {
    fn drop(&mut self) {
        let mut json = self.0.take();
        while let serde_json::Value::Array(mut items) = json {
            json = items.pop().unwrap_or_default();
        }
    }
}
