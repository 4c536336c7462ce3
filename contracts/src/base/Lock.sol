// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IErrors} from "../types/Errors.sol";

/// @title One transient lock over everything that changes state, but `request` and `deposit`
/// @notice A consumer that is being called back may ask again or top up its balance, and do nothing else here.
/// @dev A whole word: a smaller type would be read before each write, to keep its neighbours.
abstract contract Lock is IErrors {
    uint256 private transient _holder;

    /// @dev For calls that hand control to others.
    modifier locked() {
        _requireUnlocked();
        _holder = 1;
        _;
        _holder = 0;
    }

    /// @dev For calls that hand control to nobody: they cannot be entered twice, only from a call that holds the lock.
    modifier unlocked() {
        _requireUnlocked();
        _;
    }

    function _requireUnlocked() private view {
        if (_holder != 0) revert Locked();
    }
}
