// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Rules} from "./Rules.sol";

/// @title Consults the rules that a deployment was born with
abstract contract Ruled {
    address private immutable _rules = address(new Rules());

    /// @dev Forwards this call's own calldata, so that `Rules` has a function of the same signature. Reverts as the
    /// rules do, else hands back the one word that they answer.
    function _consult() internal view returns (bytes32 answer) {
        address rules = _rules;
        assembly ("memory-safe") {
            let at := mload(0x40)
            calldatacopy(at, 0, calldatasize())
            if iszero(staticcall(gas(), rules, at, calldatasize(), 0x00, 0x20)) {
                returndatacopy(at, 0, returndatasize())
                revert(at, returndatasize())
            }
            answer := mload(0x00)
        }
    }
}
