// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IInferenceCoordinator} from "./interfaces/IInferenceCoordinator.sol";

/// @title One transient lock over everything that changes state, but `request` and `deposit`
/// @notice A consumer that is being called back may ask again or top up its balance, and do nothing else here.
abstract contract Lock {
    bool private transient _locked;

    modifier locked() {
        _take();
        _;
        _locked = false;
    }

    function _take() private {
        if (_locked) revert IInferenceCoordinator.Locked();
        _locked = true;
    }
}
