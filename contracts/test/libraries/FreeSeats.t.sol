// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {FreeSeats} from "../../src/libraries/FreeSeats.sol";

contract FreeSeatsTest is Test {
    using FreeSeats for mapping(uint256 word => uint256);

    mapping(uint256 word => uint256) private words;
    /// @dev The same set, told apart one by one.
    mapping(uint256 index => bool) private isFree;
    uint256 private freeCount;

    /// forge-config: default.fuzz.runs = 5
    /// @dev Any seats come and go, over the ends of words: what is given out is the lowest free index, and the count
    /// always ends at an index that is held.
    function testFuzz_TheLowestIsTakenAndTheEndIsHeld(uint256 seed) external {
        uint256 count = 0;
        for (uint256 index = 0; index < 600; ++index) {
            count = _join(count);
        }
        for (uint256 step = 0; step < 8; ++step) {
            seed = uint256(keccak256(abi.encode(seed)));
            // Runs of joins and of releases, so that whole words become free.
            uint256 run = seed % 500;
            for (uint256 i = 0; i < run; ++i) {
                count = seed >> 128 & 1 == 0 ? _join(count) : _release(count, uint256(keccak256(abi.encode(seed, i))));
            }
        }
    }

    function test_EveryIndexOfTwoWordsIsFoundAsTheOnlyOne() external {
        for (uint256 index = 0; index < 512; ++index) {
            words.add(index);
            (bool any,) = words.takeLowest(index & ~uint256(0xff));
            assertFalse(any, "in a word that is not looked at");
            uint32 found;
            (any, found) = words.takeLowest(index + 1);
            assertTrue(any);
            assertEq(found, index);
            (any,) = words.takeLowest(512);
            assertFalse(any, "it is taken");
        }
    }

    function test_TheCountEndsAboveEveryHeldIndex() external {
        for (uint256 held = 0; held < 300; held += 7) {
            for (uint256 index = 0; index < 300; ++index) {
                if (index != held) words.add(index);
            }
            assertEq(words.trim(300), held + 1);
            // What was trimmed is no longer free, what is below the held one is.
            for (uint256 index = 0; index < held; ++index) {
                (, uint32 lowest) = words.takeLowest(300);
                assertEq(lowest, index);
            }
            (bool any,) = words.takeLowest(512);
            assertFalse(any);
        }
        for (uint256 index = 0; index < 300; ++index) {
            words.add(index);
        }
        assertEq(words.trim(300), 0);
        assertEq(words.trim(0), 0);
    }

    function test_TheFirstIndexOfAWordIsTrimmedToo() external {
        for (uint256 index = 0; index <= 512; index += 256) {
            words.add(index);
            assertEq(words.trim(index + 1), index);
            (bool any,) = words.takeLowest(index + 1);
            assertFalse(any);
        }
    }

    function _join(uint256 count) private returns (uint256) {
        (bool any, uint32 index) = words.takeLowest(count);
        assertEq(any, freeCount != 0);
        if (!any) return count + 1;
        assertTrue(isFree[index]);
        for (uint256 lower = 0; lower < index; ++lower) {
            assertFalse(isFree[lower]);
        }
        _set(index, false);
        return count;
    }

    function _release(uint256 count, uint256 random) private returns (uint256) {
        if (count == 0) return 0;
        uint256 index = random % count;
        if (isFree[index]) return count;
        if (index + 1 != count) {
            words.add(index);
            _set(index, true);
            return count;
        }
        uint256 kept = index;
        while (kept != 0 && isFree[kept - 1]) _set(--kept, false);
        assertEq(words.trim(index), kept);
        return kept;
    }

    function _set(uint256 index, bool free) private {
        isFree[index] = free;
        if (free) ++freeCount;
        else --freeCount;
    }
}
