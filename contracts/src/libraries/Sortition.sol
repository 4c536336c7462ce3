// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Ranks as a keyed permutation of the seats
/// @notice The exact algorithm, with its reasons, is in `docs/protocol.md`.
library Sortition {
    uint256 private constant ROUNDS = 12;
    uint256 private constant SHUFFLED = 16;

    /// @notice What keys the permutation of one request: known only once the request's block is sealed.
    function seedOf(bytes32 blockHash, bytes32 requestId) internal pure returns (bytes32 seed) {
        assembly ("memory-safe") {
            mstore(0x00, blockHash)
            mstore(0x20, requestId)
            seed := keccak256(0x00, 0x40)
        }
    }

    /// @notice The rank of a seat among `n` seats. Needs `seat < n`, and `n ≤ 2^32` for the Feistel halves to fit.
    function rank(bytes32 seed, uint256 seat, uint256 n) internal pure returns (uint256) {
        return n > SHUFFLED ? _feistel(seed, seat, n) : _shuffle(uint256(seed), seat, n);
    }

    /// @dev A Fisher–Yates shuffle, followed for one element only; swap i draws from its own 16 bits of the seed.
    function _shuffle(uint256 seed, uint256 x, uint256 n) private pure returns (uint256) {
        unchecked {
            for (uint256 i = n; i-- > 1;) {
                uint256 j = (seed >> 16 * (i - 1) & 0xffff) % (i + 1);
                if (x == i) x = j;
                else if (x == j) x = i;
            }
        }
        return x;
    }

    /// @dev A Feistel network over `a × b ≥ n`. Walking its cycle until it is below n again keeps it a permutation.
    function _feistel(bytes32 seed, uint256 x, uint256 n) private pure returns (uint256) {
        unchecked {
            // The least power of two whose square is at least n.
            uint256 a = 1;
            while (a * a < n) a <<= 1;
            uint256 b = (n + a - 1) / a;
            do {
                uint256 l = x / b;
                uint256 r = x % b;
                for (uint256 round = 0; round < ROUNDS; round += 2) {
                    l = (l + _prf(seed, round, r)) % a;
                    r = (r + _prf(seed, round + 1, l)) % b;
                }
                x = l * b + r;
            } while (x >= n);
        }
        return x;
    }

    /// @dev The low 64 bits of keccak256(seed ‖ uint256(round << 32 | v)), hashed in the scratch space.
    function _prf(bytes32 seed, uint256 round, uint256 v) private pure returns (uint256 f) {
        assembly ("memory-safe") {
            mstore(0x00, seed)
            mstore(0x20, or(shl(32, round), v))
            f := and(keccak256(0x00, 0x40), 0xffffffffffffffff)
        }
    }
}
