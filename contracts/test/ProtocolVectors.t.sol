// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {InferenceCoordinator} from "../src/InferenceCoordinator.sol";
import {RequestFields, RequestLib} from "../src/libraries/RequestLib.sol";
import {StatementLib} from "../src/libraries/StatementLib.sol";
import {Attestation, InputKind, Level, Outcome, Request, Result} from "../src/types/Request.sol";
import {ProtocolHarness} from "./harness/ProtocolHarness.sol";
import {Fixture} from "./utils/Fixture.sol";
import {Vectors} from "./utils/Vectors.sol";

/// @notice The vectors of request ids, statements and ranks.
contract ProtocolVectorsTest is Fixture, Vectors {
    ProtocolHarness private harness = new ProtocolHarness();
    /// @dev The most seats of a draw.
    uint256 private largest;

    function test_RequestsPackAndHashAsTheirVectors() external {
        eachCase("requests.json", "cases", 20, _checkRequest);
    }

    function _checkRequest(string memory json, string memory path) private {
        string memory name = textAt(json, path, ".name");
        RequestFields memory fields = _fields(json, string.concat(path, ".fields"));
        bytes32[] memory words = vm.parseJsonBytes32Array(json, string.concat(path, ".words"));
        assertEq(words.length, 6, name);

        Request memory r = RequestLib.pack(fields);
        assertEq(abi.encode(r), abi.encodePacked(words), name);
        assertEq(abi.encode(RequestLib.unpack(r)), abi.encode(fields), name);
        _coordinatorOf(json, path);
        assertEq(coordinator.requestIdOf(r), wordAt(json, path, ".id"), name);
    }

    function test_StatementsHashAsTheirVectors() external {
        eachCase("statements.json", "cases", 20, _checkStatement);
    }

    function _checkStatement(string memory json, string memory path) private {
        _coordinatorOf(json, path);
        bytes32 digest = coordinator.digestOf(
            wordAt(json, path, ".requestId"),
            wordAt(json, path, ".blockHash"),
            wordAt(json, path, ".inputHash"),
            Outcome(uintAt(json, path, ".outcome")),
            wordAt(json, path, ".outputCommitment"),
            uint32(uintAt(json, path, ".seat"))
        );
        assertEq(digest, wordAt(json, path, ".digest"), textAt(json, path, ".name"));
    }

    function test_ResultsHashAsTheirVectors() external {
        eachCase("results.json", "cases", 12, _checkResult);
    }

    function _checkResult(string memory json, string memory path) private {
        string memory name = textAt(json, path, ".name");
        Result memory result;
        result.outcome = Outcome(uintAt(json, path, ".outcome"));
        result.outputCommitment = wordAt(json, path, ".outputCommitment");
        result.seats = bytesAt(json, path, ".seats");
        result.fulfilledAt = uint64(uintAt(json, path, ".fulfilledAt"));
        uint256 hash = harness.resultHash(result) & type(uint248).max;
        assertEq(bytes32(hash), wordAt(json, path, ".hash"), name);

        // What the coordinator announces and records of such an answer, of any number of signers.
        Attestation[] memory signers = new Attestation[](result.seats.length / 4);
        for (uint256 k; k < signers.length; ++k) {
            signers[k].seat = uint32(bytes4(bytes32(_slice(result.seats, 4 * k))));
        }
        vm.roll(result.fulfilledAt);
        vm.recordLogs();
        bytes memory output = bytesAt(json, path, ".output");
        assertEq(harness.announce(output, result.outcome, signers) & type(uint248).max, hash, name);
        assertEq(vm.getRecordedLogs()[0].data, abi.encode(bytesAt(json, path, ".answer")), name);
    }

    function test_SignersProofsHashAsTheirVectors() external {
        eachCase("statements.json", "signers", 5, _checkProof);
    }

    function _checkProof(string memory json, string memory path) private {
        _coordinatorOf(json, path);
        bytes32 separator = domain();
        assertEq(separator, wordAt(json, path, ".separator"));
        address owner = vm.parseJsonAddress(json, string.concat(path, ".owner"));
        bytes32 digest = wordAt(json, path, ".digest");
        assertEq(StatementLib.signerDigest(separator, owner), digest);

        // The coordinator takes a proof over exactly this digest.
        address signer = newKey(path);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keyOf[signer], digest);
        vm.prank(owner);
        coordinator.registerNode(signer, abi.encodePacked(r, s, v), "");
        assertEq(coordinator.signerOf(owner), signer);
    }

    function test_AllRanksOfSmallModelsAreThoseOfTheirVectors() external {
        eachCase("ranks.json", "permutations", 22, _checkPermutation);
    }

    function _checkPermutation(string memory json, string memory path) private view {
        (bytes32 blockHash, bytes32 requestId, uint32 n) = _draw(json, path);
        uint256[] memory ranks = vm.parseJsonUintArray(json, string.concat(path, ".ranks"));
        assertEq(ranks.length, n);
        for (uint32 seat; seat < n; ++seat) {
            assertEq(coordinator.rankOf(requestId, blockHash, seat, n), ranks[seat], path);
        }
    }

    function test_RanksOfLargeModelsAreThoseOfTheirVectors() external {
        eachCase("ranks.json", "pairs", 20, _checkRanks);
        assertEq(largest, type(uint32).max);
    }

    function _checkRanks(string memory json, string memory path) private {
        (bytes32 blockHash, bytes32 requestId, uint32 n) = _draw(json, path);
        uint256[] memory seats = vm.parseJsonUintArray(json, string.concat(path, ".seats"));
        uint256[] memory ranks = vm.parseJsonUintArray(json, string.concat(path, ".ranks"));
        assertEq(ranks.length, seats.length);
        for (uint256 k; k < seats.length; ++k) {
            assertEq(coordinator.rankOf(requestId, blockHash, uint32(seats[k]), n), ranks[k], path);
        }
        if (n > largest) largest = n;
    }

    function _draw(string memory json, string memory path)
        private
        pure
        returns (bytes32 blockHash, bytes32 requestId, uint32 n)
    {
        blockHash = wordAt(json, path, ".blockHash");
        requestId = wordAt(json, path, ".requestId");
        n = uint32(uintAt(json, path, ".n"));
    }

    /// @dev Puts a coordinator at the case's address, on its chain.
    function _coordinatorOf(string memory json, string memory path) private {
        address where = vm.parseJsonAddress(json, string.concat(path, ".coordinator"));
        vm.chainId(uintAt(json, path, ".chainId"));
        deployCodeTo(bytecode(), abi.encode(governor, parameters()), where);
        coordinator = InferenceCoordinator(where);
    }

    /// @dev A line a field: neither JSON nor Solidity can name a field by a value.
    function _fields(string memory json, string memory path) private pure returns (RequestFields memory f) {
        f.modelId = wordAt(json, path, ".modelId");
        f.inputHash = wordAt(json, path, ".inputHash");
        f.consumer = vm.parseJsonAddress(json, string.concat(path, ".consumer"));
        f.nonce = uint64(uintAt(json, path, ".nonce"));
        f.seatCount = uint32(uintAt(json, path, ".seatCount"));
        f.refundTo = vm.parseJsonAddress(json, string.concat(path, ".refundTo"));
        f.fee = uint96(uintAt(json, path, ".fee"));
        f.token = vm.parseJsonAddress(json, string.concat(path, ".token"));
        f.submitFee = uint96(uintAt(json, path, ".submitFee"));
        f.valueAtRisk = uint96(uintAt(json, path, ".valueAtRisk"));
        f.requestBlock = uint40(uintAt(json, path, ".requestBlock"));
        f.callbackGasLimit = uint32(uintAt(json, path, ".callbackGasLimit"));
        f.outputMask = uint16(uintAt(json, path, ".outputMask"));
        f.version = uint16(uintAt(json, path, ".version"));
        f.deadlineBlocks = uint16(uintAt(json, path, ".deadlineBlocks"));
        f.inputKind = InputKind(uintAt(json, path, ".inputKind"));
        f.outputWidth = uint8(uintAt(json, path, ".outputWidth"));
        f.outputDecimals = uint8(uintAt(json, path, ".outputDecimals"));
        f.quorum = uint8(uintAt(json, path, ".quorum"));
        f.level = Level(uintAt(json, path, ".level"));
    }

    /// @dev The word that begins at a byte, of which only the first four are looked at.
    function _slice(bytes memory data, uint256 from) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 0x20), from))
        }
    }
}
