// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice The one word that the chain keeps of a request: flags in the lowest byte, and above them the low 248 bits of
/// the hash of its result (`ResultLib`).
///
/// | flag | | set |
/// |---:|---|---|
/// | 1 | open | by `request`; alone |
/// | 2 | fulfilled | by `fulfill`, with the hash; in place of open |
/// | 4 | delivered | when the consumer took the answer |
/// | 8 | paid | by `claim` |
/// | 16 | refunded | by `refund`; alone, in place of open |
///
/// @dev Zero: the request was never made. The word is never zeroed again, so an id is used once.
type Status is uint256;

using StatusLib for Status global;
using {same as ==, differs as !=} for Status global;

function same(Status a, Status b) pure returns (bool) {
    return Status.unwrap(a) == Status.unwrap(b);
}

function differs(Status a, Status b) pure returns (bool) {
    return Status.unwrap(a) != Status.unwrap(b);
}

/// @title Reads and moves a request's status
library StatusLib {
    Status internal constant NONE = Status.wrap(0);
    Status internal constant OPEN = Status.wrap(1);
    Status internal constant REFUNDED = Status.wrap(16);

    uint256 private constant FULFILLED = 2;
    uint256 private constant DELIVERED = 4;
    uint256 private constant PAID = 8;
    uint256 private constant FLAGS = 0xff;

    /// @notice The word of an answer: its result's hash, whose highest byte goes, and whether it is being delivered.
    function fulfilled(uint256 resultHash, bool delivered) internal pure returns (Status) {
        return Status.wrap(resultHash << 8 | (delivered ? FULFILLED | DELIVERED : FULFILLED));
    }

    /// @notice Whether the word records this result.
    function records(Status s, uint256 resultHash) internal pure returns (bool) {
        uint256 word = Status.unwrap(s);
        return word & FULFILLED != 0 && word >> 8 == resultHash & type(uint248).max;
    }

    function isDelivered(Status s) internal pure returns (bool) {
        return Status.unwrap(s) & DELIVERED != 0;
    }

    function isPaid(Status s) internal pure returns (bool) {
        return Status.unwrap(s) & PAID != 0;
    }

    /// @notice The same answer, delivered or not.
    function withDelivered(Status s, bool delivered) internal pure returns (Status) {
        uint256 word = Status.unwrap(s) & ~DELIVERED;
        return Status.wrap(delivered ? word | DELIVERED : word);
    }

    /// @notice The same answer, paid.
    function withPaid(Status s) internal pure returns (Status) {
        return Status.wrap(Status.unwrap(s) | PAID);
    }

    /// @notice The flags alone.
    function flags(Status s) internal pure returns (uint256) {
        return Status.unwrap(s) & FLAGS;
    }
}
