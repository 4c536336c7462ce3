// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title A set of free seat indices, one bit each
/// @notice Loops read one word for 256 indices, and there are no more indices than seats were held at one time, each with
/// a bond.
library FreeSeats {
    /// @notice Adds an index.
    function add(mapping(uint256 word => uint256) storage words, uint256 index) internal {
        words[index >> 8] |= 1 << (index & 0xff);
    }

    /// @notice Takes the lowest free index below `count` out of the set.
    function takeLowest(mapping(uint256 word => uint256) storage words, uint256 count)
        internal
        returns (bool any, uint32 index)
    {
        for (uint256 word = 0; word << 8 < count; ++word) {
            uint256 bits = words[word];
            if (bits == 0) continue;
            unchecked {
                words[word] = bits & (bits - 1);
                return (true, uint32(word << 8 | _log2(bits & (0 - bits))));
            }
        }
    }

    /// @notice Takes the free indices right below `count` out of the set, down to one that is held.
    /// @return kept What is left of `count`: one above the highest index that is held.
    function trim(mapping(uint256 word => uint256) storage words, uint256 count) internal returns (uint32 kept) {
        unchecked {
            while (count != 0) {
                uint256 word = (count - 1) >> 8;
                uint256 bits = words[word];
                // The bits of the indices below `count`, 1 to 256 of them.
                uint256 below = type(uint256).max >> (0xff - ((count - 1) & 0xff));
                uint256 held = ~bits & below;
                if (held == 0) {
                    // Not zero: every index of the word below `count` is in it.
                    delete words[word];
                    count = word << 8;
                    continue;
                }
                uint256 highest = _log2(held);
                uint256 left = bits & (type(uint256).max >> (0xff - highest));
                if (left != bits) words[word] = left;
                return uint32((word << 8) + highest + 1);
            }
        }
    }

    /// @dev The place of the highest bit; `x` is not zero.
    function _log2(uint256 x) private pure returns (uint256 place) {
        unchecked {
            for (uint256 step = 128; step != 0; step >>= 1) {
                if (x >> step != 0) {
                    x >>= step;
                    place += step;
                }
            }
        }
    }
}
