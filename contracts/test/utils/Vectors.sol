// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";

/// @title Reads the vectors of `tests/vectors`, to which the relayer is held as well
abstract contract Vectors is Test {
    /// @notice Checks each case of a list, of which there are so many at the least.
    function eachCase(
        string memory file,
        string memory list,
        uint256 least,
        function(string memory, string memory) internal check
    ) internal {
        string memory json = vm.readFile(string.concat("../tests/vectors/", file));
        uint256 i;
        for (; vm.keyExistsJson(json, _case(list, i)); ++i) {
            check(json, _case(list, i));
        }
        assertGe(i, least, string.concat(file, " has fewer cases than it had"));
    }

    function textAt(string memory json, string memory path, string memory field) internal pure returns (string memory) {
        return vm.parseJsonString(json, string.concat(path, field));
    }

    function uintAt(string memory json, string memory path, string memory field) internal pure returns (uint256) {
        return vm.parseJsonUint(json, string.concat(path, field));
    }

    function wordAt(string memory json, string memory path, string memory field) internal pure returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(path, field));
    }

    function bytesAt(string memory json, string memory path, string memory field) internal pure returns (bytes memory) {
        return vm.parseJsonBytes(json, string.concat(path, field));
    }

    function _case(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "]");
    }
}
