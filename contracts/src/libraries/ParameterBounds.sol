// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IGovernance} from "../interfaces/IGovernance.sol";
import {Parameters} from "../types/Parameters.sol";

/// @title The bounds of every parameter
library ParameterBounds {
    /// @notice The longest deadline of a request: the reach of EIP-2935, rounded down.
    uint256 internal constant MAX_DEADLINE = 8000;
    /// @notice How many versions, the present one included, requests that are open or not yet vested can have: changes are
    /// `MIN_PARAMETER_DELAY` apart.
    uint256 internal constant VERSIONS_IN_FLIGHT = (MAX_DEADLINE + MAX_VESTING) / MIN_PARAMETER_DELAY + 2;

    uint256 private constant MAX_VESTING = 50_000;
    uint256 private constant MIN_PARAMETER_DELAY = 7200;
    /// @dev No delay can be set so long that it would hold bonds or parameters for ever.
    uint256 private constant MAX_DELAY = 1_000_000;
    /// @dev 10,000 ETH: no bond can be set that would keep everybody from joining.
    uint256 private constant MAX_SEAT_BOND_GWEI = 1e13;

    /// @notice Reverts with `ParameterOutOfBounds` for the first that is outside.
    function check(Parameters memory p) internal pure {
        check("window", p.window, 1, 100);
        check("activationDelay", p.activationDelay, 8, 50_000);
        check("vesting", p.vesting, 32, MAX_VESTING);
        check("exitDelay", p.exitDelay, MAX_DEADLINE + p.vesting, MAX_DELAY);
        check("parameterDelay", p.parameterDelay, MIN_PARAMETER_DELAY, MAX_DELAY);
        check("maxCallbackGas", p.maxCallbackGas, 0, 10_000_000);
        check("maxQuorum", p.maxQuorum, 1, 16);
        check("seatBondGwei", p.seatBondGwei, 1, MAX_SEAT_BOND_GWEI);
    }

    /// @notice Reverts unless `min ≤ value ≤ max`.
    function check(string memory name, uint256 value, uint256 min, uint256 max) internal pure {
        if (value < min || value > max) revert IGovernance.ParameterOutOfBounds(name, value, min, max);
    }
}
