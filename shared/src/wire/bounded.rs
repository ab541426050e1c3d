//! Lists that are bounded while they are read: a few bytes of a message must not become many of memory.

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A list of at most `MAX` items.
pub(super) fn at_most<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    at_most_of(deserializer, MAX, |_| 1)
}

/// The same, where the list may be absent.
pub(super) fn some_at_most<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    at_most::<D, T, MAX>(deserializer).map(Some)
}

/// A list whose items weigh at most `max` together.
pub(super) fn at_most_of<'de, D, T>(
    deserializer: D,
    max: usize,
    weight: impl Fn(&T) -> usize,
) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(List { max, weight, items: PhantomData })
}

struct List<T, W: Fn(&T) -> usize> {
    max: usize,
    weight: W,
    items: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, W: Fn(&T) -> usize> Visitor<'de> for List<T, W> {
    type Value = Vec<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a list of at most {} items", self.max)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut sequence: S) -> Result<Vec<T>, S::Error> {
        let (mut items, mut weight) = (Vec::new(), 0);
        while let Some(item) = sequence.next_element()? {
            weight += (self.weight)(&item);
            if weight > self.max {
                return Err(S::Error::custom(format!("a list has more than {} items", self.max)));
            }
            items.push(item);
        }
        Ok(items)
    }
}
