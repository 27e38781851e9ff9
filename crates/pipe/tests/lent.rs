//! Values that are sent as what they lend: a `str` for a `String`, a slice for a `Vec`.

use multiproc_pipe::pipe;
use multiproc_travel::pass;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt::Debug;

fn is_same<T, Q>(value: T)
where
    T: Borrow<Q> + Serialize + DeserializeOwned + Debug + PartialEq,
    Q: Serialize + ?Sized,
{
    // More than once: the first value of a shape is tried out.
    for _ in 0..3 {
        let lent = pass::encode_as::<T, Q>(value.borrow()).unwrap();
        assert_eq!(lent.bytes, pass::encode(&value).unwrap().bytes, "{value:?}");
        assert_eq!(pass::decode::<T>(&lent.bytes, lent.descriptors).unwrap(), value);
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    name: String,
    parts: Vec<u16>,
    limit: Option<i64>,
}

#[test]
fn what_is_lent_has_the_bytes_of_the_value() {
    is_same::<String, str>("hello".into());
    is_same::<String, str>(String::new());
    is_same::<String, String>("hello".into());
    is_same::<Box<str>, str>("hello".into());
    is_same::<Vec<u8>, [u8]>(vec![1, 2, 3]);
    is_same::<Vec<u128>, [u128]>(vec![1, u128::MAX]);
    is_same::<Vec<f64>, [f64]>(vec![0.5, -1.0]);
    is_same::<Vec<isize>, [isize]>(vec![]);
    is_same::<Vec<bool>, [bool]>(vec![true, false]);
    is_same::<Vec<String>, [String]>(vec!["a".into(), "b".into()]);
    is_same::<Vec<Vec<u32>>, [Vec<u32>]>(vec![vec![1], vec![]]);
    is_same::<Box<[u32]>, [u32]>(vec![1, 2].into());
    let job = |limit| Job { name: "n".into(), parts: vec![1, 2], limit };
    is_same::<Vec<Job>, [Job]>(vec![job(None), job(Some(-1))]);
    is_same::<Box<Job>, Job>(Box::new(job(None)));
}

#[test]
fn a_str_and_a_slice_are_sent_as_they_are() {
    let (a, b) = pipe::<String>().unwrap();
    a.send("hello").unwrap();
    a.try_send(&"owned".to_string()).unwrap();
    assert_eq!((b.recv().unwrap(), b.recv().unwrap()), ("hello".into(), "owned".into()));
    let (a, b) = pipe::<Vec<(u32, String)>>().unwrap();
    let pairs = [(1, "one".to_string()), (2, "two".to_string())];
    a.send(&pairs[..1]).unwrap();
    a.send(&pairs[..]).unwrap();
    assert_eq!((b.recv().unwrap(), b.recv().unwrap()), (pairs[..1].to_vec(), pairs.to_vec()));
}

/// A text in another alphabet.
#[derive(Debug, Serialize)]
struct Upper<'a>(&'a str);

/// A value of another shape.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Name {
    text: String,
}

#[test]
fn what_is_encoded_in_another_way_is_refused() {
    assert!(pass::encode_as::<Name, u64>(&7).is_err());
    // A slice is no array, and not of any length.
    assert!(pass::encode_as::<[String; 2], [String]>(&["one".to_string()]).is_err());
    assert!(pass::encode_as::<[String; 2], [String]>(&["one".to_string(), "two".to_string()]).is_err());
    // Types whose messages are bare bytes, and types that look like them.
    assert!(pass::encode_as::<String, _>(&Upper("hello")).is_err());
    assert!(pass::encode_as::<String, [u8]>(b"hello").is_err());
    assert!(pass::encode_as::<Vec<u8>, [i8]>(&[1]).is_err());
    assert!(pass::encode_as::<u32, u64>(&1).is_err());
}

/// Its own code makes it lower case when it arrives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
struct Lower(String);

impl From<String> for Lower {
    fn from(text: String) -> Self {
        Self(text.to_lowercase())
    }
}

impl From<Lower> for String {
    fn from(lower: Lower) -> Self {
        lower.0
    }
}

#[test]
fn a_type_that_changes_some_values_is_asked_about_each() {
    for _ in 0..2 {
        assert!(pass::encode_as::<Lower, str>("lower").is_ok());
        assert!(pass::encode_as::<Lower, str>("Upper").is_err());
    }
}
