//! More of what serde can express: the same value, or an error at the put.

use crate::{comes_back, is_refused};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::marker::PhantomData;

macro_rules! data {
    ($($item:item)*) => { $(#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)] $item)* };
}

data! {
    #[serde(untagged)]
    enum Id { Number(u64), Text(String) }
    struct Wrapped(Id);
    #[derive(Eq, Ord)]
    struct Key { a: u8, b: Option<String> }
    #[derive(Eq, Ord)]
    enum Place { Here, There(u8), At { x: i8 } }
    struct Optional { outer: Option<Option<u8>>, unit: Option<()>, deep: Option<Option<Option<Vec<()>>>> }
    struct Empties { unit: (), none: [u8; 0], phantom: PhantomData<String>, list: Vec<PhantomData<u8>>, of: Vec<[(); 2]> }
    struct Wide { i: i128, u: u128, list: Vec<i128>, map: BTreeMap<i128, u128> }
    struct Tree<T> { value: T, children: Vec<Tree<T>>, parent: Option<Box<Tree<T>>> }
    struct Part { a: u8, #[serde(default, skip_serializing_if = "Option::is_none")] b: Option<u8>, #[serde(skip)] cache: u8 }
    struct FlatPart { #[serde(flatten)] part: Part, #[serde(flatten)] more: Option<Other>, id: u8 }
    struct Other { c: u8 }
    enum Hidden { #[serde(skip)] Not, #[serde(rename = "b")] B(u8), #[serde(alias = "sea")] C, #[serde(skip)] Nor(u8), D { d: u8 } }
    enum WithOther { Known, #[serde(other)] Unknown }
    struct Aliased { #[serde(alias = "old")] a: u8, #[serde(rename = "c", alias = "d")] b: u8 }
    #[serde(bound(serialize = "T: Serialize + Clone", deserialize = "T: Deserialize<'de>"))]
    struct Bounded<T: Clone>(T, #[serde(default)] u8);
    #[serde(tag = "kind", content = "of")]
    enum Mixed<T> { One(T), Two(T, T), Three { a: T }, Four, Five(Option<T>), Six(()) }
    enum VariantWith { #[serde(with = "negated")] A(i32), B(i32) }
}

mod negated {
    use super::*;

    pub(super) fn serialize<S: Serializer>(number: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        number.wrapping_neg().serialize(serializer)
    }

    /// Takes small numbers only.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        i32::deserialize(deserializer).map(|number| number.wrapping_neg().min(1000))
    }
}

#[test]
fn newtypes_around_untagged_enums_come_back() {
    for id in [Id::Number(1), Id::Text("1".into())] {
        comes_back(Wrapped(id.clone()));
        comes_back(vec![Wrapped(Id::Number(0)), Wrapped(id.clone())]);
        comes_back(Some(Bounded(Some(id), 1)));
    }
}

#[test]
fn maps_with_keys_of_any_type_come_back() {
    comes_back(BTreeMap::from([(Key { a: 1, b: None }, 1), (Key { a: 1, b: Some("b".into()) }, 2)]));
    comes_back(BTreeMap::from([(Place::Here, "a".to_string()), (Place::There(1), "b".into()), (Place::At { x: 1 }, "c".into())]));
    comes_back(BTreeMap::from([((), Place::Here)]));
    comes_back(BTreeMap::from([(Some(Some(1u8)), ()), (Some(None), ()), (None, ())]));
    comes_back(BTreeMap::from([(BTreeMap::from([(1, 'a')]), BTreeMap::from([(false, vec![1u8])]))]));
}

#[test]
fn layers_and_nothings_come_back() {
    for outer in [None, Some(None), Some(Some(1))] {
        for unit in [None, Some(())] {
            for deep in [None, Some(None), Some(Some(None)), Some(Some(Some(vec![]))), Some(Some(Some(vec![(), ()])))] {
                comes_back(Optional { outer, unit, deep });
            }
        }
    }
    comes_back(Empties { unit: (), none: [], phantom: PhantomData, list: vec![PhantomData; 3], of: vec![[(), ()]; 2] });
    comes_back(vec![Some(Mixed::Six::<u8>(())), None]);
}

#[test]
fn wide_numbers_come_back_wherever_they_are() {
    let map = BTreeMap::from([(i128::MIN, u128::MAX), (0, 0)]);
    comes_back(Wide { i: i128::MIN, u: u128::MAX, list: vec![i128::MAX, -1], map });
    for value in [Mixed::One(i128::MIN), Mixed::Two(1, i128::MAX), Mixed::Three { a: -1 }, Mixed::Four, Mixed::Five(None)] {
        comes_back(value.clone());
        comes_back(Some(value));
    }
    comes_back(Mixed::Five(Some(Some(1u128))));
}

#[test]
fn types_inside_themselves_come_back() {
    fn leaf<T>(value: T) -> Tree<T> {
        Tree { value, children: vec![], parent: None }
    }
    let parent = Some(Box::new(Tree { value: Id::Text("p".into()), children: vec![], parent: None }));
    comes_back(Tree { value: Id::Number(1), children: vec![leaf(Id::Text("t".into())), leaf(Id::Number(2))], parent });
    comes_back(Tree {
        value: Some(1),
        children: vec![leaf(None), Tree { children: vec![leaf(Some(2))], ..leaf(None) }],
        parent: None,
    });
}

#[test]
fn flattened_parts_with_something_skipped_come_back() {
    for b in [None, Some(1)] {
        for more in [None, Some(Other { c: 3 })] {
            comes_back(FlatPart { part: Part { a: 1, b, cache: 0 }, more, id: 2 });
        }
    }
}

#[test]
fn hidden_and_renamed_variants_and_fields_come_back() {
    for value in [Hidden::B(1), Hidden::C, Hidden::D { d: 1 }] {
        comes_back(value.clone());
        comes_back(vec![value.clone(), Hidden::C, value]);
    }
    is_refused(Hidden::Not, "cannot be serialized");
    is_refused(Hidden::Nor(1), "cannot be serialized");
    comes_back(vec![WithOther::Known, WithOther::Unknown, WithOther::Known]);
    comes_back(Aliased { a: 1, b: 2 });
}

#[test]
fn a_variant_with_code_of_its_own_is_tried_at_each_put() {
    comes_back(VariantWith::A(5));
    comes_back(VariantWith::B(2000));
    is_refused(VariantWith::A(2000), "another value");
    comes_back(vec![VariantWith::A(-3), VariantWith::B(1)]);
}

#[test]
fn a_remote_type_that_changes_values_is_refused() {
    #[derive(Clone, Debug, PartialEq)]
    struct Secs(u8);
    #[derive(Serialize, Deserialize)]
    #[serde(remote = "Secs")]
    struct SecsDef(#[serde(getter = "get")] u8);
    fn get(secs: &Secs) -> u8 {
        secs.0
    }
    impl From<SecsDef> for Secs {
        fn from(def: SecsDef) -> Self {
            Self(def.0 % 60)
        }
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Time {
        #[serde(with = "SecsDef")]
        secs: Secs,
    }
    comes_back(Time { secs: Secs(59) });
    is_refused(Time { secs: Secs(61) }, "another value");
}

#[test]
fn a_container_that_is_read_by_its_own_code_is_tried_at_each_put() {
    /// Derived code writes it; its own code reads a tuple and changes it.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    struct Pair(u8, u8);
    impl<'de> Deserialize<'de> for Pair {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            <(u8, u8)>::deserialize(deserializer).map(|(a, b)| Self(a.min(9), b))
        }
    }
    comes_back(Pair(1, 2));
    is_refused(Pair(10, 2), "another value");
    is_refused(vec![Some(Pair(1, 2)), Some(Pair(10, 2))], "another value");

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(transparent)]
    struct Clear {
        pair: Pair,
    }
    comes_back(Clear { pair: Pair(1, 2) });
    is_refused(Clear { pair: Pair(10, 2) }, "another value");
}
