// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Well-formed UTF-8, after table 3-7 of the Unicode Standard
/// @notice No overlong forms, no surrogates, nothing above U+10FFFF.
library TensorUtf8 {
    /// @dev Where the bytes are is told by `inMemory`: in memory, else in calldata.
    function isValid(uint256 pointer, uint256 end, bool inMemory) internal pure returns (bool) {
        unchecked {
            while (pointer < end) {
                uint256 word;
                assembly ("memory-safe") {
                    switch inMemory
                    case 0 { word := calldataload(pointer) }
                    default { word := mload(pointer) }
                }
                // 32 ASCII bytes at a time.
                if (word & 0x8080808080808080808080808080808080808080808080808080808080808080 == 0) {
                    pointer += 32;
                    continue;
                }
                uint256 lead = word >> 248;
                if (lead < 0x80) {
                    ++pointer;
                    continue;
                }
                uint256 length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
                if (lead < 0xc2 || lead > 0xf4 || end - pointer < length) return false;

                uint256 second = (word >> 240) & 0xff;
                if (second < (lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80)) return false;
                if (second > (lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf)) return false;
                if (length > 2 && (word >> 232) & 0xc0 != 0x80) return false;
                if (length > 3 && (word >> 224) & 0xc0 != 0x80) return false;
                pointer += length;
            }
            return true;
        }
    }
}
