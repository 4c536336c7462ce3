// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Signature recovery with one accepted form per signature
library Signatures {
    /// @dev Half the order of secp256k1. A signature with a higher s has a twin below, so only the lower is accepted.
    uint256 internal constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice Who signed a digest, from the compact form of EIP-2098 (`vs` is s, with the parity of y in its top bit).
    /// @return signer Zero if the signature is malleable or no signature at all.
    function recover(bytes32 digest, bytes32 r, bytes32 vs) internal pure returns (address signer) {
        uint256 s = uint256(vs) & type(uint256).max >> 1;
        if (s > HALF_ORDER) return address(0);
        return ecrecover(digest, uint8((uint256(vs) >> 255) + 27), r, bytes32(s));
    }

    /// @notice The same from 65 bytes r‖s‖v, v being 27 or 28.
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address signer) {
        if (signature.length != 65) return address(0);
        uint256 s = uint256(bytes32(signature[32:64]));
        if (s > HALF_ORDER) return address(0);
        return ecrecover(digest, uint8(signature[64]), bytes32(signature[:32]), bytes32(s));
    }
}
