//! Values at random.

use crate::travel;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

macro_rules! data {
    ($($item:item)*) => { $(#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)] $item)* };
}

data! {
    struct Options {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        a: Option<u8>,
        b: Option<Option<String>>,
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        c: Vec<Tree>,
        d: u64,
    }
    enum Tree {
        Leaf,
        Number(f64),
        Pair(i16, Box<Tree>),
        Options(Box<Options>),
        Map { map: BTreeMap<String, Tree>, hash: HashMap<u8, Vec<u32>> },
        Tagged(Box<Tagged>),
        Untagged(Untagged),
        Adjacent(Adjacent),
        Flat(Flat),
        Bytes(Vec<u8>, [u16; 7], (u8, u8)),
        Many(Vec<Tree>),
    }
    #[serde(tag = "kind")]
    enum Tagged { Unit, Struct { tree: Tree, n: i64 }, Inner(Flat) }
    #[serde(untagged)]
    enum Untagged { Bool(bool), Narrow(u8), Wide(u64), Text(String), List(Vec<Untagged>), Struct { a: u8, b: Option<u8> }, Unit }
    #[serde(tag = "t", content = "c")]
    enum Adjacent { Unit, Newtype(u8), Tuple(u8, String), Struct { a: Option<u8> } }
    struct Flat { id: u32, #[serde(flatten)] rest: BTreeMap<String, i8> }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[a-z]{0,3}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-z]{0,3}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn untagged() -> impl Strategy<Value = Untagged> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Untagged::Bool),
        any::<u8>().prop_map(Untagged::Narrow),
        (0u64..1000).prop_map(Untagged::Wide),
        ".{0,3}".prop_map(Untagged::Text),
        any::<(u8, Option<u8>)>().prop_map(|(a, b)| Untagged::Struct { a, b }),
        Just(Untagged::Unit),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| prop::collection::vec(inner, 0..3).prop_map(Untagged::List))
}

fn adjacent() -> impl Strategy<Value = Adjacent> {
    prop_oneof![
        Just(Adjacent::Unit),
        any::<u8>().prop_map(Adjacent::Newtype),
        any::<(u8, String)>().prop_map(|(n, text)| Adjacent::Tuple(n, text)),
        any::<Option<u8>>().prop_map(|a| Adjacent::Struct { a }),
    ]
}

fn flat() -> impl Strategy<Value = Flat> {
    (any::<u32>(), prop::collection::btree_map("[a-hj-z]{1,3}", any::<i8>(), 0..3)).prop_map(|(id, rest)| Flat { id, rest })
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Leaf),
        any::<f64>().prop_map(Tree::Number),
        untagged().prop_map(Tree::Untagged),
        adjacent().prop_map(Tree::Adjacent),
        flat().prop_map(Tree::Flat),
        any::<(Vec<u8>, [u16; 7], (u8, u8))>().prop_map(|(a, b, c)| Tree::Bytes(a, b, c)),
    ];
    leaf.prop_recursive(5, 24, 3, |inner| {
        let trees = prop::collection::vec(inner.clone(), 0..3);
        let options = (any::<Option<u8>>(), any::<Option<Option<String>>>(), trees.clone(), any::<u64>())
            .prop_map(|(a, b, c, d)| Options { a, b, c, d });
        let map = prop::collection::btree_map(".{0,3}", inner.clone(), 0..3);
        let hash = prop::collection::hash_map(any::<u8>(), any::<Vec<u32>>(), 0..3);
        let tagged = prop_oneof![
            Just(Tagged::Unit),
            (inner.clone(), any::<i64>()).prop_map(|(tree, n)| Tagged::Struct { tree, n }),
            flat().prop_map(Tagged::Inner),
        ];
        prop_oneof![
            (any::<i16>(), inner).prop_map(|(n, tree)| Tree::Pair(n, Box::new(tree))),
            options.prop_map(|options| Tree::Options(Box::new(options))),
            (map, hash).prop_map(|(map, hash)| Tree::Map { map, hash }),
            tagged.prop_map(|tagged| Tree::Tagged(Box::new(tagged))),
            trees.prop_map(Tree::Many),
        ]
    })
}

fn holds_wide(tree: &Tree) -> bool {
    // In an untagged enum the narrow variant takes a small number: only that may be refused.
    format!("{tree:?}").contains("Wide(")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_value_comes_back_or_is_refused(tree in tree()) {
        match travel(&tree) {
            Ok(back) => prop_assert_eq!(back, tree),
            Err(error) => prop_assert!(holds_wide(&tree) || error.contains("128 deep"), "{} of {:?}", error, tree),
        }
    }

    #[test]
    fn json_comes_back(value in json()) {
        prop_assert_eq!(travel(&value), Ok(value));
    }
}
