//! The readers of values: what a key may hold, in which unit it is written, and what it becomes. Ranges are closed.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, time::Duration};

use alloy::primitives::Address;
use serde::de::{DeserializeOwned, IntoDeserializer, value::Error as VariantError};
use toml::Value;

use super::{key::Reader, value::Kind};
use crate::text;

/// More ether than there is.
const MAX_ETHER: f64 = 1e9;

/// Fees above this are a slip of the unit: gwei, not wei.
const MAX_GWEI: f64 = 1e6;

/// The upper end of a range of whole numbers that has none.
pub(super) const UNBOUNDED: i64 = i64::MAX;

/// Text as it is.
pub(super) fn text() -> Reader<String> {
    Reader::of(Kind::Text, |value| value.as_str().map(str::to_owned))
}

/// True or false.
pub(super) fn boolean() -> Reader<bool> {
    Reader::of(Kind::Boolean, Value::as_bool)
}

/// Any number of texts.
pub(super) fn texts() -> Reader<Vec<String>> {
    Reader::of(Kind::Texts, |value| value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect())
}

/// Any number of whole numbers from 0, such as those of devices.
pub(super) fn indices() -> Reader<Vec<u32>> {
    let integers: Reader<Vec<i64>> =
        Reader::of(Kind::Integers, |value| value.as_array()?.iter().map(Value::as_integer).collect());
    integers.then(|items| {
        let index = |item: &i64| u32::try_from(*item).map_err(|_| out_of_range(item, &bounds(&(0..=u32::MAX), "")));
        items.iter().map(index).collect()
    })
}

/// A list with at least one item; `remedy` says what to write into it.
pub(super) fn not_empty<T: 'static>(list: Reader<Vec<T>>, remedy: &'static str) -> Reader<Vec<T>> {
    list.then(move |items| if items.is_empty() { Err(format!("it is empty; {remedy}")) } else { Ok(items) })
}

/// A whole number in a range.
pub(super) fn whole<T: TryFrom<i64> + 'static>(range: RangeInclusive<i64>, unit: &str) -> Reader<T> {
    let bounds = match *range.end() {
        UNBOUNDED => format!("{} or more", range.start()),
        _ => bounds(&range, unit),
    };
    let integer = Reader::of(Kind::Integer, Value::as_integer);
    let integer = if *range.end() == UNBOUNDED { integer } else { integer.within(bounds.clone()) };
    integer.then(move |value| {
        let inside = range.contains(&value).then_some(value);
        inside.and_then(|value| T::try_from(value).ok()).ok_or_else(|| out_of_range(&value, &bounds))
    })
}

/// An amount of memory, written in MiB, in bytes.
pub(super) fn mebibytes() -> Reader<u64> {
    whole::<u64>(1..=1 << 30, "MiB").then(|value| Ok(value << 20))
}

/// A number in a range.
pub(super) fn decimal(range: RangeInclusive<f64>, unit: &str) -> Reader<f64> {
    let bounds = bounds(&range, unit);
    let number = Reader::of(Kind::Number, |value| value.as_float().or_else(|| Some(value.as_integer()? as f64)));
    // NaN is in no range.
    number.within(bounds.clone()).then(move |value| match range.contains(&value) {
        true => Ok(value),
        false => Err(out_of_range(&value, &bounds)),
    })
}

/// A time, written in seconds.
pub(super) fn seconds(range: RangeInclusive<f64>) -> Reader<Duration> {
    decimal(range, "seconds").then(|value| Ok(Duration::from_secs_f64(value)))
}

/// A price of gas, written in gwei, in wei.
pub(super) fn gwei() -> Reader<u128> {
    decimal(0.0..=MAX_GWEI, "gwei").then(|value| Ok((value * 1e9).round() as u128))
}

/// An amount, written in ETH, in wei.
pub(super) fn ether() -> Reader<u128> {
    decimal(0.0..=MAX_ETHER, "ETH").then(|value| Ok((value * 1e18).round() as u128))
}

/// A fee, written in wei as text, below 2^96.
pub(super) fn wei() -> Reader<u128> {
    text().then(|text| {
        let fee = text.replace('_', "").parse::<u128>().ok().filter(|fee| *fee < 1 << 96);
        fee.ok_or_else(|| {
            format!("`{}` is no fee; write wei as a whole number in quotes, such as \"1000000000\"", text::shown(&text))
        })
    })
}

/// An address other than zero.
pub(super) fn address() -> Reader<Address> {
    text().then(|text| match text::address(&text)? {
        Address::ZERO => Err("it is the zero address, which nobody has; write the right one".into()),
        address => Ok(address),
    })
}

/// A path, relative to the folder of the file.
pub(super) fn path() -> Reader<PathBuf> {
    text().then_at(|text, raw| Ok(raw.base.join(text)))
}

/// Any number of paths, relative to the folder of the file.
pub(super) fn paths() -> Reader<Vec<PathBuf>> {
    texts().then_at(|texts, raw| Ok(texts.iter().map(|text| raw.base.join(text)).collect()))
}

/// A variant of an enum by the name that serde knows it by.
pub(super) fn variant<T: DeserializeOwned + 'static>() -> Reader<T> {
    text().then(|text| T::deserialize(text.into_deserializer()).map_err(|error: VariantError| error.to_string()))
}

fn bounds<T: Display>(range: &RangeInclusive<T>, unit: &str) -> String {
    let space = if unit.is_empty() { "" } else { " " };
    format!("{} to {}{space}{unit}", range.start(), range.end())
}

fn out_of_range(value: &impl Display, bounds: &str) -> String {
    format!("{value} is out of range; write {bounds}")
}
