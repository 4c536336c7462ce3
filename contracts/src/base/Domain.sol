// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {StatementLib} from "../libraries/StatementLib.sol";

/// @title The EIP-712 domain of this contract
abstract contract Domain {
    uint256 private immutable _chainId = block.chainid;
    bytes32 private immutable _separator = StatementLib.domainSeparator(block.chainid, address(this));

    /// @dev Computed anew after a fork that changed the chain's id, so that signatures do not carry over.
    function _domainSeparator() internal view returns (bytes32) {
        return block.chainid == _chainId ? _separator : StatementLib.domainSeparator(block.chainid, address(this));
    }
}
