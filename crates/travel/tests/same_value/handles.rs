//! Values that hold descriptors.

use multiproc_travel::pass::{self, Descriptor};
use serde::{Deserialize, Deserializer, Serialize};
use std::os::fd::{AsFd, OwnedFd};

fn null() -> Descriptor {
    OwnedFd::from(std::fs::File::open("/dev/null").unwrap()).into()
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Order {
    Open { descriptor: Descriptor, mode: Mode },
    Close,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Mode {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read: Option<bool>,
    write: Option<serde_json::Value>,
}

#[test]
fn a_value_with_handles_comes_back_whatever_its_form() {
    let before = open_descriptors();
    let order = Order::Open { descriptor: null(), mode: Mode { read: None, write: Some(serde_json::json!([1])) } };
    let parcel = pass::encode(&(order, 7, null())).unwrap();
    assert_eq!(parcel.descriptors.len(), 2);
    let (order, seven, other): (Order, u8, Descriptor) = pass::decode(&parcel.bytes, parcel.descriptors).unwrap();
    let Order::Open { descriptor, mode } = order else { panic!("another one") };
    assert_eq!((mode, seven), (Mode { read: None, write: Some(serde_json::json!([1])) }, 7));
    drop((descriptor.as_fd().try_clone_to_owned().unwrap(), descriptor, other));
    assert!(matches!(pass::decode(&pass::encode(&Order::Close).unwrap().bytes, vec![]).unwrap(), Order::Close));
    assert!(open_descriptors() <= before + 8, "descriptors were left open");
}

#[test]
fn a_value_without_handles_goes_the_same_way_as_through_a_queue() {
    for mode in [Mode { read: None, write: None }, Mode { read: Some(true), write: Some(serde_json::json!({"a": 1})) }] {
        let mut plain = Vec::new();
        pass::encode_plain(&mode, &mut plain).unwrap();
        let parcel = pass::encode(&mode).unwrap();
        assert_eq!((&parcel.bytes, parcel.descriptors.len()), (&plain, 0));
        assert_eq!(pass::decode::<Mode>(&plain, Vec::new()).unwrap(), mode);
    }
    assert_eq!(pass::encode(&7u64).unwrap().bytes, 7u64.to_ne_bytes());
}

#[test]
fn a_handle_where_none_can_travel_is_refused_in_its_words() {
    let error = pass::encode_plain(&(1, null()), &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("travels as an argument of a new process or through a connection"), "{error}");
}

/// The put gives out a blank descriptor. Nobody sees what a type does with it, and its failure proves nothing.
#[test]
fn no_handle_is_read_at_the_put() {
    #[derive(Serialize)]
    struct Watched(Descriptor);
    impl<'de> Deserialize<'de> for Watched {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Descriptor::deserialize(deserializer).map(|_| panic!("a handle was used up"))
        }
    }
    assert_eq!(pass::encode(&(1, Watched(null()))).unwrap().descriptors.len(), 1);
}

fn three() -> Option<u32> {
    Some(3)
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Config {
    #[serde(default = "three", skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
}

#[test]
fn what_comes_before_and_after_a_handle_is_compared() {
    let config = |limit| Config { limit };
    let parcel = pass::encode(&(config(Some(1)), null(), config(Some(2)))).unwrap();
    let (one, _, two): (Config, Descriptor, Config) = pass::decode(&parcel.bytes, parcel.descriptors).unwrap();
    assert_eq!((one, two), (config(Some(1)), config(Some(2))));
    let refused = [
        pass::encode(&(config(None), null())),
        pass::encode(&(null(), config(None))),
        pass::encode(&(null(), vec![Some((null(), config(None)))])),
    ];
    for error in refused.map(Result::unwrap_err) {
        assert!(error.to_string().contains("another value"), "{error}");
    }
}

#[test]
fn what_fails_after_a_handle_is_refused() {
    let error = pass::encode(&(null(), OneWay(1))).unwrap_err();
    assert!(error.to_string().contains("one way only"), "{error}");
    let map = std::collections::HashMap::<u8, Descriptor>::from_iter((0..20).map(|n| (n, null())));
    let parcel = pass::encode(&map).unwrap();
    assert_eq!(pass::decode::<std::collections::HashMap<u8, Descriptor>>(&parcel.bytes, parcel.descriptors).unwrap().len(), 20);
    // Addresses that lose a part, also where the form for people would keep it.
    let address = std::net::SocketAddrV6::new(std::net::Ipv6Addr::LOCALHOST, 80, 7, 1);
    assert!(pass::encode(&(null(), std::net::SocketAddr::V6(address))).is_err());
}

#[derive(Serialize)]
struct OneWay(u8);

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("one way only"))
    }
}

#[test]
fn what_comes_before_a_handle_is_tried_out() {
    let error = pass::encode(&(OneWay(1), null())).unwrap_err();
    assert!(error.to_string().contains("one way only"), "{error}");
}
