//! What is tried out, and when.

use crate::{comes_back, travel};
use serde::{Deserialize, Serialize};
use std::cell::Cell;

thread_local! {
    static READ: Cell<u32> = const { Cell::new(0) };
}

/// Derived, and counts how often it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counted(u8, #[serde(skip, default = "count")] ());

fn count() {
    READ.set(READ.get() + 1);
}

/// How often a value is read while it is put.
pub(crate) fn put<T: Serialize + serde::de::DeserializeOwned>(value: &T) -> u32 {
    let before = READ.get();
    multiproc_travel::pass::encode_plain(value, &mut Vec::new()).unwrap();
    READ.get() - before
}

impl Counted {
    pub(crate) const ONE: Self = Self(1, ());
}

#[test]
fn a_shape_is_tried_once_and_a_new_one_anew() {
    #[derive(Serialize, Deserialize)]
    enum Message {
        Nothing,
        One(Counted),
        Many(Vec<Option<Counted>>),
    }
    assert_eq!(put(&Message::Nothing), 0);
    assert_eq!((put(&Message::One(Counted(1, ()))), put(&Message::One(Counted(2, ())))), (1, 0));
    assert_eq!((put(&Message::Many(vec![])), put(&Message::Many(vec![None; 3]))), (0, 0));
    assert_eq!(put(&Message::Many(vec![None, Some(Counted(1, ()))])), 1);
    assert_eq!(put(&Message::Many((0..100).map(|n| (n % 2 == 0).then_some(Counted(n, ()))).collect())), 0);
}

#[test]
fn more_shapes_than_are_remembered_still_come_back() {
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Options(Option<u8>, Option<u16>, [Option<u8>; 8], Option<Box<Options>>);
    for bits in 0..2000u32 {
        let some = |bit: u32| (bits >> bit & 1 == 1).then_some(bit as u8);
        let inner = Options(some(0), None, std::array::from_fn(|i| some(i as u32)), None);
        let outer = Options(some(8), some(9).map(u16::from), inner.2, Some(Box::new(inner.clone())));
        assert_eq!(travel(&outer).unwrap(), outer);
    }
}

#[test]
fn a_value_can_be_put_in_a_destructor_of_a_thread_local() {
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            comes_back((1, Some("late".to_string())));
        }
    }
    thread_local!(static LATE: Late = const { Late });
    std::thread::spawn(|| {
        LATE.with(|_| ());
        comes_back((1, "early".to_string()));
    })
    .join()
    .unwrap();
}

#[test]
fn fields_that_are_read_under_each_others_names_are_tried_each_time() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Swapped {
        #[serde(rename(serialize = "b", deserialize = "a"))]
        a: u32,
        #[serde(rename(serialize = "a", deserialize = "b"))]
        b: u32,
    }
    let put = |a, b| multiproc_travel::pass::encode_plain(&Swapped { a, b }, &mut Vec::new());
    // This value would come back.
    assert!(put(1, 1).is_ok());
    put(1, 2).unwrap_err();
}

#[test]
fn fields_that_a_tuple_leaves_out_are_tried_each_time() {
    fn is_zero(n: &u32) -> bool {
        *n == 0
    }
    fn is_one(n: &u32) -> bool {
        *n == 1
    }
    fn one() -> u32 {
        1
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair(
        #[serde(skip_serializing_if = "is_zero", default)] u32,
        #[serde(skip_serializing_if = "is_one", default = "one")] u32,
    );
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Message {
        Two(
            #[serde(skip_serializing_if = "is_zero", default)] u32,
            #[serde(skip_serializing_if = "is_one", default = "one")] u32,
        ),
    }
    comes_back(Pair(5, 1));
    assert!(travel(&Pair(0, 0)).is_err());
    comes_back(Pair(5, 1));
    comes_back(Message::Two(5, 1));
    assert!(travel(&Message::Two(0, 0)).is_err());
}

#[test]
fn a_type_in_a_method_of_a_trait_is_judged_as_any_other() {
    trait Run {
        fn run();
    }
    struct Here;
    impl Run for Here {
        fn run() {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            #[serde(from = "u32", into = "u32")]
            struct Small(u32);
            impl From<u32> for Small {
                fn from(n: u32) -> Self {
                    Self(n.min(10))
                }
            }
            impl From<Small> for u32 {
                fn from(small: Small) -> Self {
                    small.0
                }
            }
            comes_back(Small(1));
            assert!(travel(&Small(50)).is_err());
            comes_back(vec![Small(1)]);
            assert!(travel(&vec![Small(50)]).is_err());
        }
    }
    Here::run();
}
