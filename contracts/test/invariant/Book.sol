// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {InferenceCoordinator} from "../../src/InferenceCoordinator.sol";
import {RequestFields, RequestLib} from "../../src/libraries/RequestLib.sol";
import {Attestation, Fulfillment, Outcome, Request, Result} from "../../src/types/Request.sol";
import {Fixture, Node} from "../utils/Fixture.sol";
import {SwitchConsumer} from "../utils/Receivers.sol";

enum Stage {
    Open,
    Fulfilled,
    Refunded
}

/// @notice What must be true of one request.
struct Entry {
    Request request;
    Result result;
    Stage stage;
    bool delivered;
    bool paid;
    uint256 escrow;
    // The owner of the seat that answered.
    address payee;
}

/// @title What the actors did, kept apart from the coordinator, and who they are
abstract contract Book is Fixture {
    using RequestLib for Request;

    bytes internal constant OUTPUT = "output";

    Entry[] internal entries;
    /// @dev Seats of both have the same indices, and mostly other owners.
    bytes32[2] internal models;
    /// @dev Everybody who can hold a balance: three owners of nodes, three consumers, two others who pay.
    address[] public accounts;
    address[3] internal owners;
    address[3] internal consumers;
    address[2] internal payers;
    /// @notice How often each action had its effect.
    mapping(string action => uint256) public done;
    /// @dev Who may have less after the present action.
    address internal spender;

    /// @dev An action is about one model, and nobody's balance falls but the spender's.
    modifier guarded(uint256 seed) {
        modelId = models[pick(seed, "model", 0, 3) == 0 ? 1 : 0];
        spender = address(0);
        uint256[] memory before = balances();
        _;
        for (uint256 i = 0; i < accounts.length; ++i) {
            if (accounts[i] != spender) assertGe(balanceOf(accounts[i]), before[i], "another's balance fell");
        }
    }

    constructor(InferenceCoordinator coordinator_, bytes32[2] memory models_, address governor_) {
        (coordinator, models, governor) = (coordinator_, models_, governor_);
        owners = [makeAddr("owner 0"), makeAddr("owner 1"), makeAddr("owner 2")];
        consumers = [address(new SwitchConsumer()), address(new SwitchConsumer()), makeAddr("consumer")];
        payers = [makeAddr("payer 0"), makeAddr("payer 1")];
        for (uint256 i = 0; i < 3; ++i) {
            accounts.push(owners[i]);
            accounts.push(consumers[i]);
            renew(owners[i]);
            vm.deal(owners[i], 1000 ether);
        }
        for (uint256 i = 0; i < 6; ++i) {
            modelId = models[i / 3];
            address owner = owners[(i + i / 3) % 3];
            liveSeat(Node(owner, coordinator.signerOf(owner)));
        }
        accounts.push(payers[0]);
        accounts.push(payers[1]);
    }

    // Choices

    /// @dev A choice of an action, by its name.
    function pick(uint256 seed, string memory choice, uint256 min, uint256 max) internal pure returns (uint256) {
        return min + uint256(keccak256(abi.encode(seed, choice))) % (max - min + 1);
    }

    function chance(uint256 seed, string memory choice) internal pure returns (bool) {
        return pick(seed, choice, 0, 1) == 0;
    }

    // Sums

    function balanceOf(address account) internal view returns (uint256) {
        return coordinator.balanceOf(ETH, account);
    }

    function balances() internal view returns (uint256[] memory list) {
        list = new uint256[](accounts.length);
        for (uint256 i = 0; i < list.length; ++i) {
            list[i] = balanceOf(accounts[i]);
        }
    }

    function ledgerSum() external view returns (uint256 sum) {
        for (uint256 i = 0; i < accounts.length; ++i) {
            sum += balanceOf(accounts[i]);
        }
    }

    /// @notice The escrow of requests that are open, and of those answered and not yet paid for.
    function escrowSums() external view returns (uint256 open, uint256 unpaid) {
        for (uint256 i = 0; i < entries.length; ++i) {
            Entry storage e = entries[i];
            if (e.stage == Stage.Open) open += e.escrow;
            else if (e.stage == Stage.Fulfilled && !e.paid) unpaid += e.escrow;
        }
    }

    function bondSum() external view returns (uint256 sum) {
        for (uint256 m = 0; m < models.length; ++m) {
            for (uint32 i = 0; i < seatCount(models[m]); ++i) {
                (,,, uint256 bond) = coordinator.seatHolder(models[m], i);
                sum += bond;
            }
        }
    }

    /// @notice Seats that are counted as live, and may answer a request of this block.
    function liveEligibleSeats(bytes32 model) external view returns (uint256 count) {
        for (uint32 i = 0; i < seatCount(model); ++i) {
            (address signer, uint48 from, uint48 until) = coordinator.seat(model, i);
            (,, bool live,) = coordinator.seatHolder(model, i);
            uint256 present = vm.getBlockNumber();
            if (live && signer != address(0) && from <= present && present < until) ++count;
        }
    }

    /// @notice Whether the highest index has a bond behind it.
    function isEndHeld(bytes32 model) external view returns (bool) {
        uint32 count = seatCount(model);
        if (count == 0) return true;
        (address owner,,,) = coordinator.seatHolder(model, count - 1);
        return owner != address(0);
    }

    function entryCount() external view returns (uint256) {
        return entries.length;
    }

    /// @notice Fails unless the coordinator knows of a request exactly what happened to it.
    function checkEntry(uint256 i) external view {
        Entry storage e = entries[i];
        uint256 word = wordOf(coordinator.requestIdOf(e.request));
        if (e.stage == Stage.Open) {
            assertEq(word, 1, "open");
        } else if (e.stage == Stage.Refunded) {
            assertEq(word, 16, "refunded");
        } else {
            assertEq(word & 0xff, 2 + (e.delivered ? 4 : 0) + (e.paid ? 8 : 0), "fulfilled");
            assertTrue(coordinator.isResult(e.result), "the result is on record");
        }
    }

    // Requests by state, for actions to choose from

    /// @dev The first index from a random one on that fits, or the length of the list.
    function find(uint256 seed, uint256 length, function(uint256) view returns (bool) fits)
        internal
        view
        returns (uint256)
    {
        for (uint256 i = 0; i < length; ++i) {
            uint256 at_ = addmod(seed, i, length);
            if (fits(at_)) return at_;
        }
        return length;
    }

    function isOpen(uint256 i) internal view returns (bool) {
        return entries[i].stage == Stage.Open;
    }

    function isUnpaid(uint256 i) internal view returns (bool) {
        return entries[i].stage == Stage.Fulfilled && !entries[i].paid;
    }

    function isVested(uint256 i) internal view returns (bool) {
        return isUnpaid(i) && vm.getBlockNumber() > vestingBlock(i);
    }

    function isUndelivered(uint256 i) internal view returns (bool) {
        return entries[i].stage == Stage.Fulfilled && !entries[i].delivered && fields(i).callbackGasLimit != 0;
    }

    function isEnded(uint256 i) internal view returns (bool) {
        return entries[i].stage != Stage.Open;
    }

    function isAnswerable(uint256 i) internal view returns (bool) {
        RequestFields memory f = fields(i);
        uint256 present = vm.getBlockNumber();
        if (!isOpen(i) || present <= f.requestBlock || present > uint256(f.requestBlock) + f.deadlineBlocks) {
            return false;
        }
        for (uint32 s = 0; s < f.seatCount; ++s) {
            if (isEligible(entries[i].request, s)) return true;
        }
        return false;
    }

    function isRefundable(uint256 i) internal view returns (bool) {
        return isOpen(i) && vm.getBlockNumber() > deadline(i);
    }

    function fields(uint256 i) internal view returns (RequestFields memory) {
        Request memory r = entries[i].request;
        return r.unpack();
    }

    function deadline(uint256 i) internal view returns (uint256) {
        RequestFields memory f = fields(i);
        return uint256(f.requestBlock) + f.deadlineBlocks;
    }

    function vestingBlock(uint256 i) internal view returns (uint256) {
        return entries[i].result.fulfilledAt + coordinator.parameters(fields(i).version).vesting;
    }

    /// @dev A valid answer, or for a request that cannot be answered now one that is well formed only.
    function answerTo(uint256 i, Outcome outcome) internal view returns (Fulfillment memory f) {
        bytes memory output = outcome == Outcome.Ok ? OUTPUT : bytes("");
        if (isAnswerable(i)) {
            (, uint32 index, uint32[] memory holes) = drawn(entries[i].request);
            return answerBy(entries[i].request, outcome, output, index, holes);
        }
        f.request = entries[i].request;
        f.outcome = outcome;
        f.output = output;
        f.attestations = new Attestation[](1);
    }

    /// @dev Notes an answer of this block.
    function noteFulfilled(uint256 i, Fulfillment memory f) internal {
        Entry storage e = entries[i];
        RequestFields memory r = fields(i);
        e.stage = Stage.Fulfilled;
        e.result = resultOf(f);
        (e.payee,,,) = coordinator.seatHolder(r.modelId, f.attestations[0].seat);
        e.delivered = r.callbackGasLimit != 0 && !isRefusing(r.consumer);
    }

    // Seats

    function seatCount() internal view returns (uint32) {
        return seatCount(modelId);
    }

    function seatCount(bytes32 model) internal view returns (uint32 count) {
        (,,, count,) = coordinator.model(model);
    }

    function ownerOf(uint256 index) internal view returns (address owner) {
        (owner,,,) = coordinator.seatHolder(modelId, uint32(index));
    }

    function isFree(uint256 index) internal view returns (bool) {
        return ownerOf(index) == address(0);
    }

    function isStaying(uint256 index) internal view returns (bool) {
        (,, uint48 until) = coordinator.seat(modelId, uint32(index));
        return !isFree(index) && until == type(uint48).max;
    }

    function isLeaving(uint256 index) internal view returns (bool) {
        return !isFree(index) && !isStaying(index);
    }

    function isDormant(uint256 index) internal view returns (bool) {
        (address signer,,) = coordinator.seat(modelId, uint32(index));
        (,, bool live,) = coordinator.seatHolder(modelId, uint32(index));
        return isStaying(index) && signer != address(0) && !live;
    }

    function hasOldKey(uint256 index) internal view returns (bool) {
        (address signer,,) = coordinator.seat(modelId, uint32(index));
        address current = coordinator.signerOf(ownerOf(index));
        return isStaying(index) && current != address(0) && signer != current;
    }

    /// @dev Gives an owner a key that was never used.
    function renew(address owner) internal {
        ++done["renew"];
        Node memory node = Node(owner, newKey(string.concat("key ", vm.toString(done["renew"]))));
        register(node);
    }

    function isRefusing(address consumer) internal view returns (bool) {
        return consumer.code.length != 0 && SwitchConsumer(consumer).refusing();
    }
}
