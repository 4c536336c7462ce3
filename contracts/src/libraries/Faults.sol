// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @dev An error as a value, with up to two arguments: what a call would revert with, for a batch that goes on without
/// the item. No selector means no fault.
struct Fault {
    bytes4 selector;
    uint256 arguments;
    uint256 a;
    uint256 b;
}

/// @title Sets and raises faults
/// @dev The setters return false, so that a check can `return fault.set(…)`.
library Faults {
    function set(Fault memory fault, bytes4 selector) internal pure returns (bool) {
        fault.selector = selector;
        return false;
    }

    function set(Fault memory fault, bytes4 selector, uint256 a) internal pure returns (bool) {
        (fault.selector, fault.arguments, fault.a) = (selector, 1, a);
        return false;
    }

    function set(Fault memory fault, bytes4 selector, uint256 a, uint256 b) internal pure returns (bool) {
        (fault.selector, fault.arguments, fault.a, fault.b) = (selector, 2, a, b);
        return false;
    }

    /// @notice Reverts with the error that the fault stands for.
    function raise(Fault memory fault) internal pure {
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore(at, mload(fault))
            mstore(add(at, 0x04), mload(add(fault, 0x40)))
            mstore(add(at, 0x24), mload(add(fault, 0x60)))
            revert(at, add(0x04, shl(5, mload(add(fault, 0x20)))))
        }
    }
}
