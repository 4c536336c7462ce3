//! Protobuf messages as fields in the file's order, so that what a rewrite does not name is copied byte by byte.
//!
//! Decoding into types and encoding again would lose fields that the types do not have.

use super::GuardError;

/// A field of a message.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    /// The whole field, number included.
    pub(super) raw: &'a [u8],
    value: Value<'a>,
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed(&'a [u8]),
}

impl<'a> Field<'a> {
    /// Bytes of a message, string or packed list.
    pub(super) fn bytes(&self) -> Result<&'a [u8], GuardError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(malformed("a number stands where a message or text belongs")),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, GuardError> {
        str::from_utf8(self.bytes()?).map_err(|_| malformed("a name is not UTF-8"))
    }

    pub(super) fn int(&self) -> Result<i64, GuardError> {
        match self.value {
            Value::Varint(value) => Ok(value as i64),
            _ => Err(malformed("a message or text stands where a number belongs")),
        }
    }
}

pub(super) fn malformed(what: &str) -> GuardError {
    GuardError::Malformed(what.to_owned())
}

/// Fields of a message.
pub(super) fn fields(message: &[u8]) -> Result<Vec<Field<'_>>, GuardError> {
    let mut fields = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let key = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut rest)?),
            1 => skip(&mut rest, 8).map(Value::Fixed)?,
            2 => {
                let length = varint(&mut rest)?;
                Value::Bytes(skip(&mut rest, length)?)
            }
            5 => skip(&mut rest, 4).map(Value::Fixed)?,
            _ => return Err(malformed("a field is of a kind that ONNX does not use")),
        };
        let number = u32::try_from(key >> 3).ok().filter(|number| *number != 0);
        let number = number.ok_or_else(|| malformed("a field has no valid number"))?;
        fields.push(Field { number, raw: &start[..start.len() - rest.len()], value });
    }
    Ok(fields)
}

/// The message in all fields of a number, merged as protobuf merges them; `None` without such a field.
pub(super) fn merged(fields: &[Field<'_>], number: u32) -> Result<Option<Vec<u8>>, GuardError> {
    let mut all: Option<Vec<u8>> = None;
    for field in fields.iter().filter(|field| field.number == number) {
        all.get_or_insert_default().extend(field.bytes()?);
    }
    Ok(all)
}

/// The last field of a number, which is the one that counts.
pub(super) fn last<'a>(fields: &[Field<'a>], number: u32) -> Option<Field<'a>> {
    fields.iter().rev().find(|field| field.number == number).copied()
}

/// Numbers of a repeated field, packed or not.
pub(super) fn ints(fields: &[Field<'_>], number: u32) -> Result<Vec<i64>, GuardError> {
    let mut ints = Vec::new();
    for field in fields.iter().filter(|field| field.number == number) {
        match field.value {
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    ints.push(varint(&mut packed)? as i64);
                }
            }
            _ => ints.push(field.int()?),
        }
    }
    Ok(ints)
}

/// Bytes of a repeated field of floats that have `size` bytes, packed or not.
pub(super) fn floats(fields: &[Field<'_>], number: u32, size: usize) -> Result<Vec<u8>, GuardError> {
    let mut floats = Vec::new();
    for field in fields.iter().filter(|field| field.number == number) {
        match field.value {
            Value::Bytes(bytes) if bytes.len() % size == 0 => floats.extend(bytes),
            Value::Fixed(bytes) if bytes.len() == size => floats.extend(bytes),
            _ => return Err(malformed("a list of floats has other bytes")),
        }
    }
    Ok(floats)
}

fn varint(rest: &mut &[u8]) -> Result<u64, GuardError> {
    let mut value = 0;
    for place in 0..10 {
        let Some((byte, after)) = rest.split_first() else { break };
        *rest = after;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed("a number does not end"))
}

fn skip<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], GuardError> {
    let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
    let (skipped, after) = rest.split_at(length.ok_or_else(|| malformed("the file ends within a field"))?);
    *rest = after;
    Ok(skipped)
}

/// Appends a field of bytes: a message, text or packed list.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// Appends a field with a number.
pub(super) fn put_int(out: &mut Vec<u8>, number: u32, value: i64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value as u64);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_written_are_read() {
        let mut message = Vec::new();
        put_int(&mut message, 3, -1);
        put_bytes(&mut message, 300, b"text");
        message.extend([0x0d, 1, 2, 3, 4, 0x09, 1, 2, 3, 4, 5, 6, 7, 8]);
        let read = fields(&message).unwrap();
        assert_eq!(read.iter().map(|field| field.number).collect::<Vec<_>>(), [3, 300, 1, 1]);
        assert_eq!(read.iter().flat_map(|field| field.raw).copied().collect::<Vec<_>>(), message);
        assert_eq!((read[0].int().unwrap(), read[1].text().unwrap()), (-1, "text"));
        assert!(read[0].bytes().is_err() && read[1].int().is_err() && read[2].int().is_err());
    }

    #[test]
    fn repeated_numbers_are_read_packed_or_not_and_messages_merge() {
        let mut message = Vec::new();
        put_int(&mut message, 1, 5);
        put_bytes(&mut message, 1, &[6, 0x80, 1]);
        assert_eq!(ints(&fields(&message).unwrap(), 1).unwrap(), [5, 6, 128]);
        let mut twice = Vec::new();
        put_bytes(&mut twice, 7, b"ab");
        put_bytes(&mut twice, 7, b"c");
        assert_eq!(merged(&fields(&twice).unwrap(), 7).unwrap().unwrap(), b"abc");
        assert_eq!(merged(&fields(&twice).unwrap(), 8).unwrap(), None);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [&[0x0a][..], &[0x0a, 5, 1], &[0x0b], &[0x02, 0], &[0x08; 1], &[0xff; 12], &[0x0d, 1]] {
            assert!(fields(bytes).is_err(), "{bytes:?}");
        }
    }
}
