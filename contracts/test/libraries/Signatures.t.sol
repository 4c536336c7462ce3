// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {Signatures} from "../../src/libraries/Signatures.sol";

contract SignaturesTest is Test {
    bytes32 private constant DIGEST = keccak256("digest");
    /// @dev The x of the curve's generator: with any s it is a signature by somebody.
    bytes32 private constant R = 0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798;

    function test_HalfTheOrderIsTheLargestS() external view {
        _assertAccepted(bytes32(Signatures.HALF_ORDER), true);
        _assertAccepted(bytes32(Signatures.HALF_ORDER + 1), false);
    }

    function test_ZeroIsNoS() external view {
        _assertAccepted(0, false);
    }

    function testFuzz_BothFormsRecoverTheSigner(uint256 key, bytes32 digest) external view {
        key = boundPrivateKey(key);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        assertEq(this.recoverLong(digest, abi.encodePacked(r, s, v)), vm.addr(key));
        assertEq(Signatures.recover(digest, r, _compact(s, v)), vm.addr(key));
    }

    function _assertAccepted(bytes32 s, bool accepted) private view {
        for (uint8 v = 27; v <= 28; ++v) {
            assertEq(Signatures.recover(DIGEST, R, _compact(s, v)) != address(0), accepted);
            assertEq(this.recoverLong(DIGEST, abi.encodePacked(R, s, v)) != address(0), accepted);
        }
    }

    function recoverLong(bytes32 digest, bytes calldata signature) external pure returns (address) {
        return Signatures.recover(digest, signature);
    }

    function _compact(bytes32 s, uint8 v) private pure returns (bytes32) {
        return bytes32(uint256(s) | uint256(v - 27) << 255);
    }
}
