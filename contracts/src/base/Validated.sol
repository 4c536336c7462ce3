// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Validator} from "../Validator.sol";

/// @title Asks the validator that a deployment was born with
abstract contract Validated {
    address private immutable _validator = address(new Validator());

    /// @dev Forwards this call's own calldata, so that `Validator` has a function of the same signature. Reverts as the
    /// validator does, else hands back the one word that it answers.
    function _validate() internal view returns (bytes32 answer) {
        address validator = _validator;
        assembly ("memory-safe") {
            let at := mload(0x40)
            calldatacopy(at, 0, calldatasize())
            if iszero(staticcall(gas(), validator, at, calldatasize(), 0x00, 0x20)) {
                returndatacopy(at, 0, returndatasize())
                revert(at, returndatasize())
            }
            answer := mload(0x00)
        }
    }
}
