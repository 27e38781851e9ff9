//! Types of the language and its library.

use crate::{comes_back, is_refused, travel};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::{NonZeroU8, Wrapping};
use std::ops::{Bound, Range};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, SystemTime};

#[test]
fn numbers_come_back() {
    macro_rules! extremes {
        ($($type:ty)*) => {
            $(for number in [<$type>::MIN, 0 as $type, <$type>::MAX] {
                comes_back(number);
                comes_back(vec![number; 3]);
                comes_back((number, Some(number), vec![number; 3], [number; 9]));
            })*
        };
    }
    extremes!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);
    comes_back((true, false, 'x', '\u{10ffff}'));
    comes_back(NonZeroU8::new(3).unwrap());
    comes_back(vec![Wrapping(3i8), Wrapping(-1)]);
}

#[test]
fn every_bit_of_a_float_comes_back() {
    for bits in [0, 1, 0x7ff8_0000_dead_beef, 0xfff0_0000_0000_0001, f64::NEG_INFINITY.to_bits(), (-0.0f64).to_bits()] {
        let float = f64::from_bits(bits);
        assert_eq!(travel(&float).unwrap().to_bits(), bits);
        assert_eq!(travel(&Some(float)).unwrap().unwrap().to_bits(), bits);
        assert_eq!(travel(&vec![float; 2]).unwrap()[1].to_bits(), bits);
        assert_eq!(travel(&[float; 9]).unwrap()[8].to_bits(), bits);
        assert_eq!(travel(&BTreeMap::from([(1, float)])).unwrap()[&1].to_bits(), bits);
    }
    for bits in [0x7fc0_beef, 0xff80_0001u32] {
        assert_eq!(travel(&(f32::from_bits(bits), 1)).unwrap().0.to_bits(), bits);
    }
}

#[test]
fn a_number_fits_into_a_slot() {
    for number in [0, 1, u64::MAX] {
        let mut bytes = Vec::new();
        multiproc_travel::pass::encode_plain(&number, &mut bytes).unwrap();
        assert_eq!(bytes.len(), 8);
    }
}

#[test]
fn options_keep_their_layers() {
    for value in [None, Some(None), Some(Some(1u8))] {
        comes_back(value);
    }
    comes_back::<Option<()>>(None);
    comes_back(Some(()));
    comes_back(vec![None, Some(Some(())), Some(None)]);
    comes_back::<Result<u8, String>>(Err("no".into()));
}

#[test]
fn texts_and_bytes_come_back() {
    comes_back(String::new());
    comes_back("ü\0\u{fffd}".repeat(100_000));
    comes_back(("a".to_string(), Box::<str>::from("b"), std::borrow::Cow::<'static, str>::Borrowed("c")));
    comes_back(std::ffi::CString::new("c").unwrap());
    comes_back(vec![0u8; 100_000]);
    comes_back((serde_bytes::ByteBuf::from(vec![1, 2]), Box::<[u8]>::from([1, 2])));
}

#[test]
fn collections_come_back() {
    comes_back::<HashMap<u8, String>>(HashMap::from_iter((0..100u8).map(|i| (i, i.to_string()))));
    comes_back(BTreeMap::from([(vec![1u8], ()), (vec![], ())]));
    comes_back(BTreeMap::from([((1, "x".to_string()), Some(2)), ((2, String::new()), None)]));
    comes_back(BTreeMap::from([(Some('x'), 1), (None, 2)]));
    comes_back(HashSet::<u32>::from_iter(0..100));
    comes_back(HashSet::<String>::from_iter((0..100).map(|i| i.to_string())));
    comes_back((BTreeSet::from([1, 2]), VecDeque::from([1, 2]), LinkedList::from(["a".to_string()])));
    comes_back(BTreeMap::<u8, HashMap<String, HashSet<u64>>>::from([(
        1,
        HashMap::from([("a".into(), HashSet::from([1, 2, 3]))]),
    )]));
    comes_back(travel(&BinaryHeap::from([1, 2, 3])).unwrap().into_sorted_vec());
    comes_back((Vec::<()>::new(), vec![(); 1000], [[1u8; 3]; 4], [0u16; 32]));
    comes_back(Vec::<Vec<Option<String>>>::from([vec![None, Some("s".into())], vec![]]));
}

#[test]
fn a_sequence_of_unknown_length_comes_back() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Evens(Vec<u32>);
    impl Serialize for Evens {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.iter().filter(|n| **n != 1))
        }
    }
    comes_back(Evens(vec![2, 4, 6]));
    /// Claims another number of items and fields than it has.
    #[derive(Debug, PartialEq, Deserialize)]
    struct Liar(Vec<u16>, BTreeMap<u8, u8>);
    impl Serialize for Liar {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::{SerializeMap, SerializeSeq, SerializeTupleStruct};
            struct Items<'a>(&'a Liar);
            impl Serialize for Items<'_> {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let mut seq = serializer.serialize_seq(Some(1 << 40))?;
                    self.0.0.iter().try_for_each(|item| seq.serialize_element(item))?;
                    seq.end()
                }
            }
            struct Entries<'a>(&'a Liar);
            impl Serialize for Entries<'_> {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let mut map = serializer.serialize_map(Some(0))?;
                    self.0.1.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                    map.end()
                }
            }
            let mut fields = serializer.serialize_tuple_struct("Liar", 17)?;
            fields.serialize_field(&Items(self))?;
            fields.serialize_field(&Entries(self))?;
            fields.end()
        }
    }
    comes_back(Liar(vec![1, 2, 3], BTreeMap::from([(1, 2), (3, 4)])));
    /// Numbers of one width, then something else.
    #[derive(Debug, PartialEq)]
    struct Mixed(u8, u8, u16, String);
    impl Serialize for Mixed {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeTuple;
            let mut tuple = serializer.serialize_tuple(6)?;
            tuple.serialize_element(&self.0)?;
            tuple.serialize_element(&self.1)?;
            tuple.serialize_element(&self.2)?;
            tuple.serialize_element(&self.3)?;
            tuple.end()
        }
    }
    impl<'de> Deserialize<'de> for Mixed {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            <(u8, u8, u16, String)>::deserialize(deserializer).map(|(a, b, c, d)| Self(a, b, c, d))
        }
    }
    comes_back(Mixed(1, 2, 3, "4".into()));
}

#[test]
fn wrappers_come_back() {
    comes_back((Box::new(1), Rc::new(2), Arc::<str>::from("a"), Arc::<[u8]>::from([1])).0);
    comes_back((Cell::new(1), RefCell::new("r".to_string()), PhantomData::<u8>));
    let (mutex, lock) = travel(&(Mutex::new(1u8), RwLock::new(2u8))).unwrap();
    assert_eq!((mutex.into_inner().unwrap(), lock.into_inner().unwrap()), (1, 2));
    comes_back((Range { start: 1, end: 2 }, Bound::Included(3), std::cmp::Reverse(1)));
    is_refused(borrowed(), "already mutably borrowed");
}

/// A cell that is borrowed mutably.
fn borrowed() -> RefCell<u8> {
    let cell = RefCell::new(1);
    std::mem::forget(cell.borrow_mut());
    cell
}

#[test]
fn what_serde_leaves_out_of_a_value_of_the_library_is_refused() {
    let address = |flow, scope| SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, flow, scope);
    comes_back(address(0, 0));
    comes_back(vec![SocketAddr::V6(address(0, 0))]);
    for lossy in [address(1, 0), address(0, 1)] {
        is_refused(lossy, "scope");
        is_refused((1, Some(SocketAddr::V6(lossy))), "scope");
        is_refused(vec![lossy], "scope");
        is_refused(vec![Arc::new(lossy)], "scope");
        is_refused((Box::new(lossy), Rc::new(SocketAddr::V6(lossy))), "scope");
    }
    comes_back(1..=3u32);
    comes_back((vec![1..=3u8], Box::new('a'..='z')));
    let mut range = 1..=3u32;
    range.by_ref().for_each(drop);
    is_refused(range.clone(), "come to it");
    is_refused(vec![Some(range)], "come to it");
    // A range that is empty from the start.
    #[expect(clippy::reversed_empty_ranges)]
    comes_back(3..=1i64);
}

#[test]
fn weak_references_come_back_only_if_they_lead_nowhere() {
    let rc = Rc::new(1u8);
    assert!(travel(&std::rc::Weak::<u8>::new()).unwrap().upgrade().is_none());
    is_refused(Rc::downgrade(&rc), "another value");
    let arc = Arc::new(1u8);
    is_refused((1, Arc::downgrade(&arc)), "another value");
}

#[test]
fn a_poisoned_lock_is_refused() {
    let lock = Arc::new(Mutex::new(1u8));
    let poison = Arc::clone(&lock);
    std::thread::spawn(move || {
        let _guard = poison.lock();
        std::panic::resume_unwind(Box::new(()));
    })
    .join()
    .unwrap_err();
    is_refused(lock, "poison");
}

#[test]
fn more_of_the_library_comes_back() {
    comes_back((std::num::Saturating(3u8), (1.., ..2u8), Bound::<u8>::Unbounded, Bound::Excluded("a".to_string())));
    let number = travel(&std::sync::atomic::AtomicU64::new(7)).unwrap();
    assert_eq!(number.into_inner(), 7);
    comes_back((std::ffi::CString::new("c").unwrap().into_boxed_c_str(), PathBuf::from("p").into_boxed_path()));
    comes_back((Ipv6Addr::LOCALHOST, "1.2.3.4:5".parse::<std::net::SocketAddrV4>().unwrap()));
    comes_back((NonZeroU8::MAX, std::num::NonZeroI128::MIN, SystemTime::UNIX_EPOCH, Duration::ZERO));
    comes_back(Some(Rc::<[Option<String>]>::from([None, Some("s".to_string())])));
}

#[test]
fn times_addresses_and_paths_come_back_or_are_refused() {
    comes_back(Duration::new(u64::MAX, 999_999_999));
    comes_back((Duration::from_nanos(1), Some(SystemTime::now())));
    is_refused(SystemTime::UNIX_EPOCH - Duration::from_secs(1), "SystemTime must be later than UNIX_EPOCH");
    for address in ["127.0.0.1", "::1"] {
        comes_back(address.parse::<IpAddr>().unwrap());
        comes_back(vec![SocketAddr::new(address.parse().unwrap(), 80)]);
    }
    comes_back(PathBuf::from("/tmp/ü"));
    is_refused(PathBuf::from(std::ffi::OsString::from_vec(vec![255])), "path contains invalid UTF-8");
    comes_back(std::ffi::OsString::from_vec(vec![255]));
}
