// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {InferenceCoordinator} from "../../src/InferenceCoordinator.sol";
import {IGovernance} from "../../src/interfaces/IGovernance.sol";
import {SeatRef} from "../../src/interfaces/INodeRegistry.sol";
import {Parameters} from "../../src/types/Parameters.sol";
import {Node} from "../utils/Fixture.sol";
import {Book} from "./Book.sol";

/// @title What owners of nodes and the governor do
/// @dev What ends a seat is done in few of its calls, or most requests would find nobody to answer them.
abstract contract SeatActions is Book {
    uint32 private constant MAX_SEATS = 8;

    uint256 private constant APPLY_WINDOW = 50_400;

    /// @dev 0 if nothing is scheduled.
    uint256 private effectiveBlock;
    uint256 private scheduledExitDelay;
    mapping(bytes32 model => mapping(uint256 index => uint256)) private releaseBlocks;

    constructor(InferenceCoordinator coordinator_, bytes32[2] memory models_, address governor_)
        Book(coordinator_, models_, governor_)
    {}

    // Seats

    function joinOne(uint256 seed) external guarded(seed) {
        if (coordinator.paused()) return;
        address owner = owners[pick(seed, "owner", 0, 2)];
        if (coordinator.signerOf(owner) == address(0)) renew(owner);
        uint256 free = find(0, seatCount(), isFree);
        if (free == seatCount() && free >= MAX_SEATS) return;
        vm.deal(owner, 1000 ether);
        Node memory node = Node(owner, coordinator.signerOf(owner));
        uint32 count = seatCount();
        uint32 index = join(node, modelId, ANY_INDEX);
        assertEq(index, free, "the lowest free index, a new one only if none is free");
        ++done[index == count ? "join" : "join again"];
    }

    function activateOne(uint256 seed) external guarded(seed) {
        uint256 index = find(seed, seatCount(), isDormant);
        if (index == seatCount()) return;
        (, uint48 from,) = coordinator.seat(modelId, uint32(index));
        if (vm.getBlockNumber() < from) vm.roll(from);
        coordinator.activateSeat(modelId, uint32(index));
        ++done["activate"];
    }

    function departOne(uint256 seed) external guarded(seed) {
        if (pick(seed, "really", 0, 3) != 0) return;
        uint256 index = find(_start(seed), seatCount(), isStaying);
        if (index == seatCount()) return;
        depart(Node(ownerOf(index), address(0)), uint32(index));
        releaseBlocks[modelId][index] = vm.getBlockNumber() + 1 + _longestExitDelay();
        ++done["depart"];
    }

    function releaseOne(uint256 seed) external guarded(seed) {
        uint256 index = find(_start(seed), seatCount(), isLeaving);
        if (index == seatCount()) return;
        if (vm.getBlockNumber() < releaseBlocks[modelId][index]) {
            if (pick(seed, "wait", 0, 5) != 0) return;
            vm.roll(releaseBlocks[modelId][index]);
        }
        address owner = ownerOf(index);
        (,,, uint256 bond) = coordinator.seatHolder(modelId, uint32(index));
        uint256 before = balanceOf(owner);
        uint32 count = seatCount();
        coordinator.releaseSeat(modelId, uint32(index));
        assertEq(balanceOf(owner), before + bond, "the bond is credited");
        if (seatCount() != count) ++done["trim"];
        ++done["release"];
    }

    /// @notice Revokes a node's key, for all its seats that have it.
    function revokeAll(uint256 seed) external guarded(seed) {
        if (pick(seed, "really", 0, 3) != 0) return;
        address owner = owners[pick(seed, "owner", 0, 2)];
        bool byKey = chance(seed, "by key");
        address signer = coordinator.signerOf(owner);
        if (signer == address(0)) return;
        SeatRef[] memory seats = new SeatRef[](seatCount(models[0]) + seatCount(models[1]));
        uint256 count;
        for (uint256 m = 0; m < models.length; ++m) {
            for (uint32 index = 0; index < seatCount(models[m]); ++index) {
                (address key,,) = coordinator.seat(models[m], index);
                if (key == signer) seats[count++] = SeatRef(models[m], index);
            }
        }
        assembly ("memory-safe") {
            mstore(seats, count)
        }
        vm.prank(byKey ? signer : owner);
        coordinator.revokeSigner(owner, seats);
        ++done[byKey ? "revoke by key" : "revoke by owner"];
    }

    function rekeyOne(uint256 seed) external guarded(seed) {
        if (pick(seed, "renew", 0, 3) == 0) renew(owners[pick(seed, "owner", 0, 2)]);
        uint256 index = find(seed, seatCount(), hasOldKey);
        if (index == seatCount()) return;
        vm.prank(ownerOf(index));
        coordinator.rekeySeat(modelId, uint32(index));
        ++done["rekey"];
    }

    // Governance

    function schedule(uint256 seed) external guarded(seed) {
        Parameters memory p = parameters();
        p.window = uint16(pick(seed, "window", 1, 10));
        p.activationDelay = uint32(pick(seed, "activationDelay", 8, 20));
        p.vesting = uint32(pick(seed, "vesting", 32, 200));
        p.exitDelay = uint32(pick(seed, "exitDelay", 8000 + p.vesting, 9000));
        p.parameterDelay = uint32(pick(seed, "parameterDelay", 7200, 7300));
        p.seatBondGwei = uint64(pick(seed, "seatBondGwei", 1, 1e10));
        effectiveBlock = vm.getBlockNumber() + coordinator.parameters(coordinator.parameterVersion()).parameterDelay;
        scheduledExitDelay = p.exitDelay;
        vm.prank(governor);
        coordinator.scheduleParameters(p);
    }

    function applyScheduled(uint256 seed) external guarded(seed) {
        if (effectiveBlock == 0) return;
        if (vm.getBlockNumber() < effectiveBlock) {
            if (pick(seed, "wait", 0, 5) != 0) return;
            vm.roll(effectiveBlock);
        }
        uint256 last = effectiveBlock + APPLY_WINDOW;
        effectiveBlock = 0;
        if (vm.getBlockNumber() > last) {
            vm.expectRevert(abi.encodeWithSelector(IGovernance.ScheduleExpired.selector, vm.getBlockNumber(), last));
            coordinator.applyParameters();
            return;
        }
        coordinator.applyParameters();
        ++done["apply"];
    }

    /// @notice Withdraws what is scheduled, now and then.
    function cancel(uint256 seed) external guarded(seed) {
        if (effectiveBlock == 0 || pick(seed, "really", 0, 3) != 0) return;
        vm.prank(governor);
        coordinator.cancelParameters();
        effectiveBlock = 0;
        ++done["cancel"];
    }

    function pause(uint256 seed) external guarded(seed) {
        vm.prank(governor);
        coordinator.setPaused(pick(seed, "on", 0, 7) == 0);
    }

    /// @dev Where a search for a seat starts: often at the highest, so that indices are given up.
    function _start(uint256 seed) private view returns (uint256) {
        return chance(seed, "highest") && seatCount() != 0 ? seatCount() - 1 : seed;
    }

    /// @dev Of all versions, and of one that is due: no seat waits longer.
    function _longestExitDelay() private view returns (uint256 longest) {
        uint256 present = vm.getBlockNumber();
        bool due = effectiveBlock != 0 && effectiveBlock <= present && present <= effectiveBlock + APPLY_WINDOW;
        if (due) longest = scheduledExitDelay;
        for (uint16 version = 1; version <= coordinator.parameterVersion(); ++version) {
            uint256 delay = coordinator.parameters(version).exitDelay;
            if (delay > longest) longest = delay;
        }
    }
}
