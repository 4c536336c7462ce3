// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {InferenceCoordinator} from "../src/InferenceCoordinator.sol";
import {RequestFields, RequestLib} from "../src/libraries/RequestLib.sol";
import {StatementLib} from "../src/libraries/StatementLib.sol";
import {Attestation, InputKind, Level, Outcome, Request, Result} from "../src/types/Request.sol";
import {ProtocolHarness} from "./harness/ProtocolHarness.sol";
import {Fixture} from "./utils/Fixture.sol";

/// @notice The vectors of request ids, statements and ranks that the relayer is held to as well.
contract ProtocolVectorsTest is Fixture {
    function test_RequestsPackAndHashAsTheirVectors() external {
        string memory json = vm.readFile("../tests/vectors/requests.json");
        uint256 i;
        for (; vm.keyExistsJson(json, _case("cases", i)); ++i) {
            string memory path = _case("cases", i);
            string memory name = vm.parseJsonString(json, string.concat(path, ".name"));
            RequestFields memory fields = _fields(json, string.concat(path, ".fields"));
            bytes32[] memory words = vm.parseJsonBytes32Array(json, string.concat(path, ".words"));
            assertEq(words.length, 6, name);

            Request memory r = RequestLib.pack(fields);
            assertEq(abi.encode(r), abi.encodePacked(words), name);
            assertEq(abi.encode(RequestLib.unpack(r)), abi.encode(fields), name);
            _coordinatorOf(json, path);
            assertEq(coordinator.requestIdOf(r), vm.parseJsonBytes32(json, string.concat(path, ".id")), name);
        }
        assertGe(i, 20);
    }

    function test_StatementsHashAsTheirVectors() external {
        string memory json = vm.readFile("../tests/vectors/statements.json");
        uint256 i;
        for (; vm.keyExistsJson(json, _case("cases", i)); ++i) {
            string memory path = _case("cases", i);
            _coordinatorOf(json, path);
            bytes32 digest = coordinator.digestOf(
                vm.parseJsonBytes32(json, string.concat(path, ".requestId")),
                vm.parseJsonBytes32(json, string.concat(path, ".blockHash")),
                vm.parseJsonBytes32(json, string.concat(path, ".inputHash")),
                Outcome(vm.parseJsonUint(json, string.concat(path, ".outcome"))),
                vm.parseJsonBytes32(json, string.concat(path, ".outputCommitment")),
                uint32(vm.parseJsonUint(json, string.concat(path, ".seat")))
            );
            assertEq(
                digest,
                vm.parseJsonBytes32(json, string.concat(path, ".digest")),
                vm.parseJsonString(json, string.concat(path, ".name"))
            );
        }
        assertGe(i, 20);
    }

    function test_ResultsHashAsTheirVectors() external {
        ProtocolHarness harness = new ProtocolHarness();
        string memory json = vm.readFile("../tests/vectors/results.json");
        uint256 i;
        for (; vm.keyExistsJson(json, _case("cases", i)); ++i) {
            string memory path = _case("cases", i);
            string memory name = vm.parseJsonString(json, string.concat(path, ".name"));
            Result memory result;
            result.outcome = Outcome(_uint(json, path, ".outcome"));
            result.outputCommitment = vm.parseJsonBytes32(json, string.concat(path, ".outputCommitment"));
            result.seats = vm.parseJsonBytes(json, string.concat(path, ".seats"));
            result.fulfilledAt = uint64(_uint(json, path, ".fulfilledAt"));
            uint256 hash = harness.resultHash(result) & type(uint248).max;
            assertEq(bytes32(hash), vm.parseJsonBytes32(json, string.concat(path, ".hash")), name);

            // What the coordinator announces and records of such an answer, of any number of signers.
            bytes memory output = vm.parseJsonBytes(json, string.concat(path, ".output"));
            Attestation[] memory signers = new Attestation[](result.seats.length / 4);
            for (uint256 k; k < signers.length; ++k) {
                signers[k].seat = uint32(bytes4(bytes32(_slice(result.seats, 4 * k))));
            }
            vm.roll(result.fulfilledAt);
            vm.recordLogs();
            assertEq(harness.announce(output, result.outcome, signers) & type(uint248).max, hash, name);
            bytes memory answer = vm.parseJsonBytes(json, string.concat(path, ".answer"));
            assertEq(vm.getRecordedLogs()[0].data, abi.encode(answer), name);
        }
        assertGe(i, 12);
    }

    function test_SignersProofsHashAsTheirVectors() external {
        string memory json = vm.readFile("../tests/vectors/statements.json");
        uint256 i;
        for (; vm.keyExistsJson(json, _case("signers", i)); ++i) {
            string memory path = _case("signers", i);
            _coordinatorOf(json, path);
            bytes32 separator = domain();
            assertEq(separator, vm.parseJsonBytes32(json, string.concat(path, ".separator")));
            address owner = vm.parseJsonAddress(json, string.concat(path, ".owner"));
            bytes32 digest = vm.parseJsonBytes32(json, string.concat(path, ".digest"));
            assertEq(StatementLib.signerDigest(separator, owner), digest);

            // The coordinator takes a proof over exactly this digest.
            address signer = newKey(path);
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(keyOf[signer], digest);
            vm.prank(owner);
            coordinator.registerNode(signer, abi.encodePacked(r, s, v), "");
            assertEq(coordinator.signerOf(owner), signer);
        }
        assertGe(i, 5);
    }

    function test_AllRanksOfSmallModelsAreThoseOfTheirVectors() external view {
        string memory json = vm.readFile("../tests/vectors/ranks.json");
        uint256 i;
        for (; vm.keyExistsJson(json, _case("permutations", i)); ++i) {
            string memory path = _case("permutations", i);
            (bytes32 blockHash, bytes32 requestId, uint32 n) = _draw(json, path);
            uint256[] memory ranks = vm.parseJsonUintArray(json, string.concat(path, ".ranks"));
            assertEq(ranks.length, n);
            for (uint32 seat; seat < n; ++seat) {
                assertEq(coordinator.rankOf(requestId, blockHash, seat, n), ranks[seat], path);
            }
        }
        assertGe(i, 22);
    }

    function test_RanksOfLargeModelsAreThoseOfTheirVectors() external view {
        string memory json = vm.readFile("../tests/vectors/ranks.json");
        uint256 i;
        uint256 largest;
        for (; vm.keyExistsJson(json, _case("pairs", i)); ++i) {
            string memory path = _case("pairs", i);
            (bytes32 blockHash, bytes32 requestId, uint32 n) = _draw(json, path);
            uint256[] memory seats = vm.parseJsonUintArray(json, string.concat(path, ".seats"));
            uint256[] memory ranks = vm.parseJsonUintArray(json, string.concat(path, ".ranks"));
            assertEq(ranks.length, seats.length);
            for (uint256 k; k < seats.length; ++k) {
                assertEq(coordinator.rankOf(requestId, blockHash, uint32(seats[k]), n), ranks[k], path);
            }
            if (n > largest) largest = n;
        }
        assertGe(i, 20);
        assertEq(largest, type(uint32).max);
    }

    function _draw(string memory json, string memory path)
        private
        pure
        returns (bytes32 blockHash, bytes32 requestId, uint32 n)
    {
        blockHash = vm.parseJsonBytes32(json, string.concat(path, ".blockHash"));
        requestId = vm.parseJsonBytes32(json, string.concat(path, ".requestId"));
        n = uint32(vm.parseJsonUint(json, string.concat(path, ".n")));
    }

    /// @dev Puts a coordinator at the case's address, on its chain.
    function _coordinatorOf(string memory json, string memory path) private {
        address where = vm.parseJsonAddress(json, string.concat(path, ".coordinator"));
        vm.chainId(vm.parseJsonUint(json, string.concat(path, ".chainId")));
        deployCodeTo(bytecode(), abi.encode(governor, parameters()), where);
        coordinator = InferenceCoordinator(where);
    }

    function _fields(string memory json, string memory path) private pure returns (RequestFields memory f) {
        f.modelId = vm.parseJsonBytes32(json, string.concat(path, ".modelId"));
        f.inputHash = vm.parseJsonBytes32(json, string.concat(path, ".inputHash"));
        f.consumer = vm.parseJsonAddress(json, string.concat(path, ".consumer"));
        f.nonce = uint64(_uint(json, path, ".nonce"));
        f.seatCount = uint32(_uint(json, path, ".seatCount"));
        f.refundTo = vm.parseJsonAddress(json, string.concat(path, ".refundTo"));
        f.fee = uint96(_uint(json, path, ".fee"));
        f.token = vm.parseJsonAddress(json, string.concat(path, ".token"));
        f.submitFee = uint96(_uint(json, path, ".submitFee"));
        f.valueAtRisk = uint96(_uint(json, path, ".valueAtRisk"));
        f.requestBlock = uint40(_uint(json, path, ".requestBlock"));
        f.callbackGasLimit = uint32(_uint(json, path, ".callbackGasLimit"));
        f.outputMask = uint16(_uint(json, path, ".outputMask"));
        f.version = uint16(_uint(json, path, ".version"));
        f.deadlineBlocks = uint16(_uint(json, path, ".deadlineBlocks"));
        f.inputKind = InputKind(_uint(json, path, ".inputKind"));
        f.outputWidth = uint8(_uint(json, path, ".outputWidth"));
        f.outputDecimals = uint8(_uint(json, path, ".outputDecimals"));
        f.quorum = uint8(_uint(json, path, ".quorum"));
        f.level = Level(_uint(json, path, ".level"));
    }

    function _uint(string memory json, string memory path, string memory field) private pure returns (uint256) {
        return vm.parseJsonUint(json, string.concat(path, field));
    }

    /// @dev The word that begins at a byte, of which only the first four are looked at.
    function _slice(bytes memory data, uint256 from) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 0x20), from))
        }
    }

    function _case(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "]");
    }
}
