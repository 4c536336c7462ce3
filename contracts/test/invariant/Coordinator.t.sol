// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Fixture} from "../utils/Fixture.sol";
import {Handler} from "./Handler.sol";

/// @notice What holds after anything that anybody does, in any order.
contract CoordinatorInvariantTest is Fixture {
    Handler private handler;
    bytes32[2] private models;

    function setUp() public override {
        super.setUp();
        models = [modelId, coordinator.registerModel(card("other"), "")];
        handler = new Handler(coordinator, models, governor);
        targetContract(address(handler));
        targetSelector(FuzzSelector({addr: address(handler), selectors: handler.actions()}));
    }

    /// @dev One test for all: each would run the same actions again.
    function invariant_EveryWeiIsInOnePlaceAndEveryRequestEndsOnce() external view {
        _check();
    }

    /// @notice A long run of the same actions reaches every effect, so that the invariants speak of them all.
    function test_TheActionsReachEveryState() external {
        bytes4[] memory actions = handler.actions();
        uint256 random = uint256(keccak256("actions"));
        for (uint256 i = 0; i < 2000; ++i) {
            random = uint256(keccak256(abi.encode(random)));
            (bool succeeded, bytes memory reason) =
                address(handler).call(abi.encodeWithSelector(actions[random % actions.length], random));
            assertTrue(succeeded, string(reason));
            if (i % 50 == 0) _check();
        }
        _check();
        string[26] memory names = handler.names();
        for (uint256 i = 0; i < names.length; ++i) {
            emit log_named_uint(names[i], handler.done(names[i]));
            assertGe(handler.done(names[i]), 5, names[i]);
        }
    }

    function _check() private view {
        (uint256 open, uint256 unpaid) = handler.escrowSums();
        assertEq(
            address(coordinator).balance,
            open + unpaid + handler.ledgerSum() + handler.bondSum(),
            "every wei is escrow, pay, a balance or a bond"
        );
        for (uint256 m = 0; m < models.length; ++m) {
            (,,,, uint32 live) = coordinator.model(models[m]);
            assertLe(live, handler.liveEligibleSeats(models[m]), "a seat counted as live can answer");
            assertTrue(handler.isEndHeld(models[m]), "no index above the highest seat that is held");
        }
        for (uint256 i = 0; i < handler.entryCount(); ++i) {
            handler.checkEntry(i);
        }
    }
}
