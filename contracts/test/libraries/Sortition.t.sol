// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {Sortition} from "../../src/libraries/Sortition.sol";

/// @dev Seeds are hashes of counters, so every figure here is the same on every run.
contract SortitionTest is Test {
    function test_RanksAreAPermutationForEveryNFrom1To300() external pure {
        for (uint256 n = 1; n <= 300; ++n) {
            _assertPermutation(keccak256(abi.encode("permutation", n)), n);
        }
    }

    function testFuzz_RanksAreAPermutation(bytes32 seed, uint256 n) external pure {
        _assertPermutation(seed, bound(n, 1, 300));
    }

    function test_RanksAreAPermutationOfLargeSets() external pure {
        uint256[6] memory sizes = [uint256(1023), 1024, 1025, 4097, 20_000, 100_000];
        for (uint256 i = 0; i < sizes.length; ++i) {
            _assertPermutation(keccak256(abi.encode("large", i)), sizes[i]);
        }
    }

    function testFuzz_TwoSeatsOfALargeSetNeverShareARank(bytes32 seed, uint256 n, uint256 a, uint256 b) external pure {
        n = bound(n, 2, 100_000);
        a = bound(a, 0, n - 1);
        b = (a + bound(b, 1, n - 1)) % n;
        uint256 rankOfA = Sortition.rank(seed, a, n);
        uint256 rankOfB = Sortition.rank(seed, b, n);
        assertLt(rankOfA, n);
        assertLt(rankOfB, n);
        assertNotEq(rankOfA, rankOfB);
    }

    function testFuzz_TheLargestSetsKeepRanksInRange(bytes32 seed, uint256 n, uint256 seat) external pure {
        n = bound(n, 100_001, type(uint32).max);
        assertLt(Sortition.rank(seed, bound(seat, 0, n - 1), n), n);
    }

    function testFuzz_TheSeedHashesBlockThenRequest(bytes32 blockHash, bytes32 requestId) external pure {
        assertEq(Sortition.seedOf(blockHash, requestId), keccak256(bytes.concat(blockHash, requestId)));
    }

    /// Pearson's χ² of the rank of one seat over seeds, for the first, a middle and the last seat.
    function test_RanksOfOneSeatAreUniformOverSeeds() external pure {
        uint256[8] memory sizes = [uint256(2), 3, 7, 16, 17, 31, 64, 100];
        for (uint256 i = 0; i < sizes.length; ++i) {
            uint256 n = sizes[i];
            _assertUniformSeat(n, 0);
            _assertUniformSeat(n, n / 2);
            _assertUniformSeat(n, n - 1);
        }
    }

    /// The same for the ranks of two seats together: neighbours, and the first with the last.
    function test_RanksOfTwoSeatsAreUniformOverSeeds() external pure {
        uint256[6] memory sizes = [uint256(3), 5, 10, 16, 17, 24];
        for (uint256 i = 0; i < sizes.length; ++i) {
            uint256 n = sizes[i];
            _assertUniformPair(n, 0, 1);
            _assertUniformPair(n, n / 2, n / 2 + 1);
            _assertUniformPair(n, 0, n - 1);
        }
    }

    function _assertPermutation(bytes32 seed, uint256 n) private pure {
        bool[] memory seen = new bool[](n);
        for (uint256 seat = 0; seat < n; ++seat) {
            uint256 rank = Sortition.rank(seed, seat, n);
            require(rank < n && !seen[rank], "not a permutation");
            seen[rank] = true;
        }
    }

    function _assertUniformSeat(uint256 n, uint256 seat) private pure {
        uint256[] memory counts = new uint256[](n);
        for (uint256 i = 0; i < 40 * n; ++i) {
            ++counts[Sortition.rank(keccak256(abi.encode("one", n, i)), seat, n)];
        }
        _assertUniform(counts, 40, n);
    }

    function _assertUniformPair(uint256 n, uint256 a, uint256 b) private pure {
        uint256 cells = n * (n - 1);
        uint256[] memory counts = new uint256[](cells);
        for (uint256 i = 0; i < 20 * cells; ++i) {
            bytes32 seed = keccak256(abi.encode("two", n, i));
            uint256 x = Sortition.rank(seed, a, n);
            uint256 y = Sortition.rank(seed, b, n);
            ++counts[x * (n - 1) + (y < x ? y : y - 1)];
        }
        _assertUniform(counts, 20, cells);
    }

    /// @dev χ² has mean d and variance 2d for d = cells − 1 degrees of freedom. More than five deviations above the mean
    /// is refused: (χ² − d)² > 25 · 2d, a chance below 1 in 1,000 at one degree, and below 1 in 100,000 from 20 on.
    function _assertUniform(uint256[] memory counts, uint256 expected, uint256 cells) private pure {
        uint256 squares;
        for (uint256 i = 0; i < cells; ++i) {
            uint256 off = counts[i] > expected ? counts[i] - expected : expected - counts[i];
            squares += off * off;
        }
        uint256 d = cells - 1;
        uint256 chiSquare = squares / expected;
        if (chiSquare > d) assertLe((chiSquare - d) ** 2, 25 * 2 * d, "not uniform");
    }
}
