// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {ExactCall} from "../../src/libraries/ExactCall.sol";

contract ExactCallTest is Test {
    /// @dev EIP-150: a call gets at most what is there but for a 64th.
    function testFuzz_WhatIsNeededCoversTheGasOfTheCallAndHardlyMore(uint32 gasLimit) external pure {
        uint256 there = ExactCall.needed(gasLimit) - ExactCall.OVERHEAD;
        assertGe(there - there / 64, gasLimit);
        if (there <= 3) return;
        uint256 less = there - 3;
        assertLt(less - less / 64, gasLimit, "three gas less would not do");
    }
}
