// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Parameters} from "../types/Parameters.sol";

/// @dev A version's parameters in one word, with the version itself and, in the head's word, the pause.
type PackedParameters is uint256;

using PackedParametersLib for PackedParameters global;

/// @title Parameters in one storage word, so that a request pays for one read
/// @dev From the lowest bit: window 8 · activationDelay 16 · vesting 16 · exitDelay 32 · parameterDelay 32 ·
/// maxCallbackGas 24 · maxQuorum 8 · seatBondGwei 64 · version 16 · paused 1. The `ParameterBounds` make
/// every field fit. Each field has a getter alike but for place and width: a cast is the cheapest mask, and takes its width
/// from no argument.
library PackedParametersLib {
    uint256 private constant PAUSED = 1 << 216;

    function pack(Parameters memory p) internal pure returns (PackedParameters) {
        uint256 word = uint256(p.window) | uint256(p.activationDelay) << 8 | uint256(p.vesting) << 24;
        word |= uint256(p.exitDelay) << 40 | uint256(p.parameterDelay) << 72 | uint256(p.maxCallbackGas) << 104;
        word |= uint256(p.maxQuorum) << 128 | uint256(p.seatBondGwei) << 136;
        return PackedParameters.wrap(word);
    }

    function unpack(PackedParameters p) internal pure returns (Parameters memory) {
        return Parameters({
            window: uint16(window(p)),
            activationDelay: uint32(activationDelay(p)),
            vesting: uint32(vesting(p)),
            exitDelay: uint32(exitDelay(p)),
            parameterDelay: uint32(parameterDelay(p)),
            maxCallbackGas: uint32(maxCallbackGas(p)),
            maxQuorum: uint8(maxQuorum(p)),
            seatBondGwei: uint64(seatBondGwei(p))
        });
    }

    /// @dev Of a word that has no version yet.
    function withVersion(PackedParameters p, uint16 number) internal pure returns (PackedParameters) {
        return PackedParameters.wrap(PackedParameters.unwrap(p) | uint256(number) << 200);
    }

    function withPaused(PackedParameters p, bool on) internal pure returns (PackedParameters) {
        uint256 word = PackedParameters.unwrap(p) & ~PAUSED;
        return PackedParameters.wrap(on ? word | PAUSED : word);
    }

    function window(PackedParameters p) internal pure returns (uint256) {
        return uint8(PackedParameters.unwrap(p));
    }

    function activationDelay(PackedParameters p) internal pure returns (uint256) {
        return uint16(PackedParameters.unwrap(p) >> 8);
    }

    function vesting(PackedParameters p) internal pure returns (uint256) {
        return uint16(PackedParameters.unwrap(p) >> 24);
    }

    function exitDelay(PackedParameters p) internal pure returns (uint256) {
        return uint32(PackedParameters.unwrap(p) >> 40);
    }

    function parameterDelay(PackedParameters p) internal pure returns (uint256) {
        return uint32(PackedParameters.unwrap(p) >> 72);
    }

    function maxCallbackGas(PackedParameters p) internal pure returns (uint256) {
        return uint24(PackedParameters.unwrap(p) >> 104);
    }

    function maxQuorum(PackedParameters p) internal pure returns (uint256) {
        return uint8(PackedParameters.unwrap(p) >> 128);
    }

    function seatBondGwei(PackedParameters p) internal pure returns (uint256) {
        return uint64(PackedParameters.unwrap(p) >> 136);
    }

    function version(PackedParameters p) internal pure returns (uint16) {
        return uint16(PackedParameters.unwrap(p) >> 200);
    }

    function paused(PackedParameters p) internal pure returns (bool) {
        return PackedParameters.unwrap(p) & PAUSED != 0;
    }
}
