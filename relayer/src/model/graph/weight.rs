//! What a file takes to read, counted before it is read: a message of two bytes becomes one of more than a hundred in memory.

use prost::{
    bytes::Buf,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use super::{
    proto,
    refused::{MAX_MEMORY, Refused},
};

/// What is read into a list takes up to twice its size in memory, for lists double when they are full.
const GROWTH: usize = 2;
/// Bytes that a name takes beside its text, and a number.
const TEXT: u64 = (GROWTH * size_of::<String>()) as u64;
const NUMBER: u64 = (GROWTH * size_of::<i64>()) as u64;
/// Messages within messages; what is deeper is not read.
const MAX_DEPTH: usize = 100;

/// Messages of `proto.rs`.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Import,
    Graph,
    Node,
    Attribute,
    Tensor,
    Entry,
    Sparse,
    Value,
    Type,
    Holder,
    TensorType,
    Shape,
    Dimension,
    Function,
}

impl Kind {
    /// Bytes that a message takes in memory, beside what it holds.
    const fn size(self) -> u64 {
        let size = match self {
            Self::Model => size_of::<proto::Model>(),
            Self::Import => size_of::<proto::OperatorSet>(),
            Self::Graph => size_of::<proto::Graph>(),
            Self::Node => size_of::<proto::Node>(),
            Self::Attribute => size_of::<proto::Attribute>(),
            Self::Tensor => size_of::<proto::Tensor>(),
            Self::Entry => size_of::<proto::Entry>(),
            Self::Sparse => size_of::<proto::SparseTensor>(),
            Self::Value => size_of::<proto::ValueInfo>(),
            Self::Type => size_of::<proto::Type>(),
            Self::Holder => size_of::<proto::Holder>(),
            Self::TensorType => size_of::<proto::TensorType>(),
            Self::Shape => size_of::<proto::Shape>(),
            Self::Dimension => size_of::<proto::Dimension>(),
            Self::Function => size_of::<proto::Function>(),
        };
        (GROWTH * size) as u64
    }
}

/// What of a message is read.
enum Part {
    Message(Kind),
    Text,
    Numbers,
}

/// What a field of a message is; `None` for one that is skipped.
fn part(kind: Kind, field: u32) -> Option<Part> {
    use Kind::{
        Attribute, Dimension, Entry, Function, Graph, Holder, Import, Model, Node, Shape, Sparse, Tensor, TensorType,
        Type, Value,
    };
    use Part::{Message, Numbers, Text};
    Some(match (kind, field) {
        (Model, 7) => Message(Graph),
        (Model, 8) => Message(Import),
        (Model, 25) => Message(Function),
        (Graph, 1) | (Function, 7) => Message(Node),
        (Graph, 5) | (Attribute, 5 | 10) | (Sparse, 1 | 2) => Message(Tensor),
        (Graph, 11..=13) => Message(Value),
        (Graph, 15) | (Attribute, 22 | 23) => Message(Sparse),
        (Node, 5) | (Function, 11) => Message(Attribute),
        (Attribute, 6 | 11) => Message(Graph),
        (Tensor, 13) => Message(Entry),
        (Value, 2) | (Holder, 1) => Message(Type),
        (Type, 4 | 9) => Message(Holder),
        (Type, 1) => Message(TensorType),
        (TensorType, 2) => Message(Shape),
        (Shape, 1) => Message(Dimension),
        (Attribute, 8) | (Tensor, 1) => Numbers,
        (Import | Value | Attribute, 1) | (Graph, 2) | (Node, 1 | 2 | 4 | 7 | 8) | (Attribute, 4) => Text,
        (Tensor, 8) | (Entry, 1 | 2) | (Dimension, 2) | (Function, 1 | 10 | 13) => Text,
        _ => return None,
    })
}

/// Refuses a file that takes more memory to read than any model does. What is wrong with it otherwise is told by who reads it.
///
/// # Errors
/// `Refused::TooManyParts`.
pub(super) fn check(file: &[u8]) -> Result<(), Refused> {
    let mut left = MAX_MEMORY;
    weigh(file, Kind::Model, 0, &mut left)
}

fn weigh(message: &[u8], kind: Kind, depth: usize, left: &mut u64) -> Result<(), Refused> {
    let mut rest = message;
    while rest.has_remaining() {
        let Ok((field, wire)) = decode_key(&mut rest) else { break };
        let part = part(kind, field);
        if wire != WireType::LengthDelimited {
            if matches!(part, Some(Part::Numbers)) {
                take(left, NUMBER)?;
            }
            if skip_field(wire, field, &mut rest, DecodeContext::default()).is_err() {
                break;
            }
            continue;
        }
        let length = decode_varint(&mut rest).ok().and_then(|length| usize::try_from(length).ok());
        let Some((content, behind)) = length.and_then(|length| rest.split_at_checked(length)) else { break };
        rest = behind;
        match part {
            Some(Part::Message(inner)) => {
                take(left, inner.size())?;
                if depth < MAX_DEPTH {
                    weigh(content, inner, depth + 1, left)?;
                }
            }
            Some(Part::Text) => take(left, TEXT.saturating_add(content.len() as u64))?,
            // A number has one byte at least.
            Some(Part::Numbers) => take(left, NUMBER.saturating_mul(content.len() as u64))?,
            None => {}
        }
    }
    Ok(())
}

fn take(left: &mut u64, bytes: u64) -> Result<(), Refused> {
    *left = left.checked_sub(bytes).ok_or(Refused::TooManyParts)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::model::graph::{
        decode,
        proto::{Attribute, Graph, Model, Node},
    };

    /// A field of a message, length-delimited, so many times.
    fn field(number: u8, content: &[u8], times: usize) -> Vec<u8> {
        let mut one = vec![number << 3 | 2];
        prost::encoding::encode_varint(content.len() as u64, &mut one);
        one.extend(content);
        one.repeat(times)
    }

    /// Such a file of fourteen megabytes would be more than a gigabyte in memory.
    #[test]
    fn a_file_of_many_empty_parts_is_refused_before_it_is_read() {
        let many = usize::try_from(MAX_MEMORY / Kind::Node.size()).unwrap() + 1;
        assert_eq!(decode(&field(7, &field(1, &[], many), 1)), Err(Refused::TooManyParts));
        assert_eq!(check(&field(7, &field(1, &[], 1_000_000), 1)), Ok(()));
    }

    #[test]
    fn parts_are_counted_wherever_they_are() {
        let refused = |graph: &[u8]| weigh(&field(7, graph, 1), Kind::Model, 0, &mut 100_000).is_err();
        for (number, kind) in [
            (1, Kind::Node),
            (5, Kind::Tensor),
            (11, Kind::Value),
            (12, Kind::Value),
            (13, Kind::Value),
            (15, Kind::Sparse),
        ] {
            let fit = usize::try_from((100_000 - Kind::Graph.size()) / kind.size()).unwrap();
            assert!(!refused(&field(number, &[], fit)), "{number}");
            assert!(refused(&field(number, &[], fit + 1)), "{number}");
        }
        // Names of a node, and nodes in a graph of an attribute.
        assert!(refused(&field(1, &field(1, &[], 5_000), 1)));
        assert!(refused(&field(1, &field(5, &field(6, &field(1, &[], 1_000), 1), 1), 1)));
        assert!(!refused(&field(1, &field(5, &field(6, &field(1, &[], 100), 1), 1), 1)));
    }

    /// Of empty ones a message of two bytes is as large as its struct in memory, and the list that holds it has room for more.
    #[test]
    fn a_part_weighs_what_it_takes_in_a_list_that_has_just_doubled() {
        let count = 1_025;
        let file = field(7, &field(1, &field(5, &[], count), 1), 1);
        let mut left = MAX_MEMORY;
        weigh(&file, Kind::Model, 0, &mut left).unwrap();
        let read = decode(&file).unwrap();
        let attributes = &read.graph.as_ref().unwrap().node[0].attribute;
        assert_eq!(attributes.len(), count);
        let held = attributes.capacity() * size_of::<Attribute>();
        assert!(MAX_MEMORY - left >= held as u64, "{} of {held}", MAX_MEMORY - left);
    }

    #[test]
    fn weights_and_numbers_weigh_what_they_take() {
        let numbers = Attribute { ints: vec![1; 1_000], ..Attribute::default() };
        let graph = Graph { node: vec![Node { attribute: vec![numbers], ..Node::default() }], ..Graph::default() };
        let file = Model { graph: Some(graph), ..Model::default() }.encode_to_vec();
        let mut left = 100_000;
        assert_eq!(weigh(&file, Kind::Model, 0, &mut left), Ok(()));
        // A number of one byte for each of the list's.
        let parts = [Kind::Graph, Kind::Node, Kind::Attribute].map(Kind::size).iter().sum::<u64>();
        assert_eq!(left, 100_000 - parts - 1_000 * NUMBER);
        // Weights are skipped, however many bytes they have.
        let raw = field(7, &field(5, &field(9, &[0; 100_000], 1), 1), 1);
        let mut left = 10_000;
        assert_eq!(weigh(&raw, Kind::Model, 0, &mut left), Ok(()));
        assert_eq!(left, 10_000 - Kind::Graph.size() - Kind::Tensor.size());
    }

    #[test]
    fn what_is_no_message_is_left_to_who_reads_it() {
        for bytes in [&b"no model"[..], &[0xff; 20], &[0x3a, 0x7f], &[]] {
            assert_eq!(check(bytes), Ok(()), "{bytes:?}");
        }
    }
}
