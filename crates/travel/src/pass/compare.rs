//! Comparing two encodings where the order of items may be no part of the value: a `HashMap` has another order each time.

use super::format::{self, *};
use super::read::Reader;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// An encoding, and the offsets of the sequences and maps in it that have no order.
type Encoded<'a> = (&'a [u8], &'a [usize]);

/// Whether two encodings are of one value.
pub(super) enum Same {
    Yes,
    /// The same items, some of them in another order.
    ButForOrder,
    No,
}

/// Sequences and maps that were seen in two orders, known by their items.
#[derive(Default)]
pub(super) struct ByChance(HashSet<u64>);

impl ByChance {
    /// Notes the sequences and maps that have another order in one encoding than in the other. Both values were read from the same bytes.
    pub(super) fn learn(&mut self, one: Encoded<'_>, other: Encoded<'_>) {
        let (Some((_, one)), Some((_, other))) = (digest(one, self), digest(other, self)) else { return };
        let differs = |(items, order): &(&Items, &u64)| one.get(*items).is_some_and(|before| before != *order);
        self.0.extend(other.iter().filter(differs).map(|(items, _)| items.anyhow));
    }
}

pub(super) fn encodings(one: Encoded<'_>, other: Encoded<'_>, by_chance: &ByChance) -> Same {
    match (digest(one, by_chance), digest(other, by_chance)) {
        (Some((one, _)), Some((other, _))) if one.exact == other.exact => Same::Yes,
        (Some((one, _)), Some((other, _))) if one.anyhow == other.anyhow => Same::ButForOrder,
        _ => Same::No,
    }
}

/// A value as two hashes.
#[derive(Clone, Copy)]
struct Digest {
    /// The same whatever the order of items.
    anyhow: u64,
    /// The same only in the same order, where the items have one.
    exact: u64,
}

/// Items without their order.
#[derive(PartialEq, Eq, Hash)]
struct Items {
    anyhow: u64,
    exact: u64,
}

type Orders = HashMap<Items, u64>;

fn digest((bytes, unordered): Encoded<'_>, by_chance: &ByChance) -> Option<(Digest, Orders)> {
    let rest = bytes.strip_prefix(&[READABLE]).unwrap_or(bytes);
    let mut digester = Digester { len: bytes.len(), rest, unordered, by_chance, orders: Orders::new() };
    digester.value().map(|digest| (digest, digester.orders))
}

struct Digester<'a> {
    len: usize,
    rest: &'a [u8],
    unordered: &'a [usize],
    by_chance: &'a ByChance,
    orders: Orders,
}

impl Digester<'_> {
    fn value(&mut self) -> Option<Digest> {
        let start = self.rest;
        let kind = *start.first()?;
        let inner = match kind {
            SOME => self.skip(1).and_then(|()| self.value())?,
            SEQ | MAP => {
                let count = self.skip(1).and_then(|()| self.count())?;
                let item = |digester: &mut Self| if kind == MAP { digester.pair() } else { digester.value() };
                let items = (0..count).map(|_| item(self)).collect::<Option<Vec<_>>>()?;
                self.items(start, &items)
            }
            ARRAY => {
                let width = format::width(*start.get(1)?)?;
                let count = self.skip(2).and_then(|()| self.count())?;
                let raw = self.rest.get(..count.checked_mul(width)?)?;
                self.skip(raw.len())?;
                let items: Vec<_> = raw.chunks(width).map(|number| leaf(&(start[1], number))).collect();
                self.items(start, &items)
            }
            TUPLE | STRUCT | NAMED_STRUCT => {
                self.skip(1)?;
                let mut all = leaf(&());
                while *self.rest.first()? != END {
                    let field = if kind == NAMED_STRUCT { self.pair() } else { self.value() };
                    all = both(all, field?);
                }
                self.skip(1)?;
                all
            }
            NAMED_VARIANT => {
                let name = self.skip(3).and_then(|()| self.count())?;
                self.skip(name)?;
                let has_nothing = self.rest.first() == Some(&END);
                let inner = if has_nothing { self.skip(1).map(|()| leaf(&())) } else { self.value() };
                both(leaf(&start.get(..7 + name)?), inner?)
            }
            _ => {
                let mut reader = Reader::<false>::new(start);
                reader.pass_over().ok()?;
                self.rest = reader.bytes;
                leaf(&start.get(..start.len() - self.rest.len()))
            }
        };
        Some(both(leaf(&kind), inner))
    }

    /// A name and its field, or a key and its value.
    fn pair(&mut self) -> Option<Digest> {
        let first = self.value()?;
        Some(both(first, self.value()?))
    }

    /// The items of the sequence or map that starts there.
    fn items(&mut self, start: &[u8], items: &[Digest]) -> Digest {
        let sum =
            |number: fn(&Digest) -> u64| items.iter().fold(items.len() as u64, |sum, item| sum.wrapping_add(hash(&number(item))));
        let (anyhow, exact) = (sum(|item| item.anyhow), sum(|item| item.exact));
        let order = items.iter().fold(0, |order, item| hash(&(order, item.exact)));
        if self.unordered.contains(&(self.len - start.len())) || self.by_chance.0.contains(&anyhow) {
            return Digest { anyhow, exact };
        }
        let before = self.orders.entry(Items { anyhow, exact }).or_default();
        *before = before.wrapping_add(order);
        Digest { anyhow, exact: order }
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    fn count(&mut self) -> Option<usize> {
        let count = u32::from_ne_bytes(*self.rest.first_chunk()?);
        self.skip(4)?;
        Some(count as usize)
    }
}

fn leaf(part: &impl Hash) -> Digest {
    let number = hash(part);
    Digest { anyhow: number, exact: number }
}

fn both(one: Digest, other: Digest) -> Digest {
    Digest { anyhow: hash(&(one.anyhow, other.anyhow)), exact: hash(&(one.exact, other.exact)) }
}

fn hash(part: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    part.hash(&mut hasher);
    hasher.finish()
}
