// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {StdStorage, stdStorage} from "forge-std/StdStorage.sol";
import {RequestFields, RequestLib} from "../src/libraries/RequestLib.sol";
import {Outcome, Request, Result} from "../src/types/Request.sol";
import {Status, StatusLib} from "../src/types/Status.sol";
import {ProtocolHarness} from "./harness/ProtocolHarness.sol";
import {Fixture, Node} from "./utils/Fixture.sol";
import {Vectors} from "./utils/Vectors.sol";

/// @notice The vectors of what each signer of an answer is paid.
/// @dev Answers of several signers are not offered yet, so a case's answer is put on record by its status word, and
/// the coordinator then pays it as any other.
contract PayoutVectorsTest is Fixture, Vectors {
    using stdStorage for StdStorage;

    ProtocolHarness private harness = new ProtocolHarness();
    /// @dev The owner of each seat.
    address[] private owners;
    uint64 private nonce;

    function test_ClaimsPayTheSharesOfTheirVectors() external {
        eachCase("payout.json", "cases", 80, _checkPay);
        assertGt(owners.length, 100, "some answer has many signers");
    }

    function _checkPay(string memory json, string memory path) private {
        uint256[] memory shares = vm.parseJsonUintArray(json, string.concat(path, ".shares"));
        uint256 quorum = uintAt(json, path, ".quorum");
        assertEq(shares.length, quorum, path);
        _takeSeats(quorum);
        RequestFields memory fields;
        fields.modelId = modelId;
        fields.nonce = nonce++;
        fields.fee = uint96(uintAt(json, path, ".fee"));
        fields.submitFee = uint96(uintAt(json, path, ".submitFee"));
        fields.version = coordinator.parameterVersion();
        fields.quorum = uint8(quorum);
        Result memory result = _recorded(RequestLib.pack(fields), quorum);
        roll(33);
        uint256[] memory before = new uint256[](quorum);
        for (uint256 position; position < quorum; ++position) {
            before[position] = coordinator.balanceOf(ETH, _ownerAt(position, quorum));
        }
        claim(result);
        for (uint256 position; position < quorum; ++position) {
            uint256 paid = coordinator.balanceOf(ETH, _ownerAt(position, quorum)) - before[position];
            assertEq(paid, shares[position], string.concat(path, " at position ", vm.toString(position)));
        }
    }

    /// @dev Sees to it that there are so many seats, each with an owner of its own.
    function _takeSeats(uint256 number) private {
        while (owners.length < number) {
            Node memory node = newNode(vm.toString(owners.length));
            register(node);
            assertEq(join(node), owners.length);
            owners.push(node.owner);
        }
    }

    /// @dev The seats sign in the order from the last to the first: what counts is a signer's position, not its seat.
    function _ownerAt(uint256 position, uint256 quorum) private view returns (address) {
        return owners[quorum - 1 - position];
    }

    /// @dev Records an answer of the present block.
    function _recorded(Request memory r, uint256 quorum) private returns (Result memory result) {
        (result.request, result.outcome, result.outputCommitment) = (r, Outcome.Ok, keccak256("output"));
        result.fulfilledAt = uint64(vm.getBlockNumber());
        for (uint256 seat = quorum; seat > 0; --seat) {
            result.seats = abi.encodePacked(result.seats, uint32(seat - 1));
        }
        Status status = StatusLib.fulfilled(harness.resultHash(result), false);
        stdstore.target(address(coordinator)).sig(coordinator.statusOf.selector).with_key(coordinator.requestIdOf(r))
            .checked_write(Status.unwrap(status));
        assertTrue(coordinator.isResult(result));
    }
}
