// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {InferenceConsumer} from "../InferenceConsumer.sol";
import {IInferenceCoordinator} from "../interfaces/IInferenceCoordinator.sol";
import {Tensor} from "../libraries/Tensor.sol";
import {DType} from "../types/DType.sol";
import {Outcome} from "../types/Request.sol";

/// @title Draw a digit, mint it
/// @notice A handwritten digit of 8 × 8 pixels becomes a token once the model recognizes the digit it was declared to be.
/// An image is minted once. The token is as small as can be; an ERC-721 of your choice goes in its place.
/// @dev Warning: whoever sees a drawing in the mempool can claim it first. Where drawings are worth that, let artists commit to
/// `keccak256(artist, image)` some blocks before they show the image.
/// @dev Warning: an artist may claim an image again until a node sees in it what the artist wants. Each claim costs its fee.
contract DigitMint is InferenceConsumer {
    struct Drawing {
        address artist;
        uint8 digit;
        uint256 tokenId;
    }

    /// @notice Probability from which the model counts as sure, of 1,000,000.
    int256 public constant CONFIDENCE = 800_000;
    uint256 public constant PIXELS = 64;
    uint8 public constant MAX_INK = 16;

    bytes32 public immutable digitsModel;

    /// @notice Drawings that wait for an answer.
    mapping(bytes32 requestId => Drawing) public drawings;
    mapping(uint256 tokenId => address) public ownerOf;
    mapping(uint256 tokenId => uint8) public digitOf;
    mapping(address owner => uint256) public balanceOf;

    event Claimed(bytes32 indexed requestId, address indexed artist, uint256 indexed tokenId, uint8 digit);
    /// @notice No token was minted: the model failed, saw another digit or was not sure, or the image is minted already.
    event Rejected(bytes32 indexed requestId, Outcome outcome);
    event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);

    error NotADigit(uint256 digit);
    error WrongImageSize(uint256 pixels, uint256 needed);
    error TooMuchInk(uint256 pixel, uint256 ink, uint256 max);
    error AlreadyMinted(uint256 tokenId);
    error NotTokenOwner(address caller);
    error ZeroAddress();
    error NotWaiting(bytes32 requestId);

    constructor(IInferenceCoordinator coordinator_, bytes32 digitsModel_) InferenceConsumer(coordinator_) {
        digitsModel = digitsModel_;
    }

    /// @notice Submits a drawing; the ETH attached is the fee of the model's nodes.
    /// @param digit The digit that it shows, 0 to 9.
    /// @param image 64 bytes, one a pixel, row by row: 0 is paper, 16 is ink.
    function claim(uint8 digit, bytes calldata image) external payable returns (bytes32 requestId) {
        if (digit > 9) revert NotADigit(digit);
        if (image.length != PIXELS) revert WrongImageSize(image.length, PIXELS);
        for (uint256 i; i < PIXELS; ++i) {
            uint8 ink = uint8(image[i]);
            if (ink > MAX_INK) revert TooMuchInk(i, ink, MAX_INK);
        }
        uint256 tokenId = uint256(keccak256(image));
        if (ownerOf[tokenId] != address(0)) revert AlreadyMinted(tokenId);

        requestId = _request(digitsModel, Tensor.raw(DType.U8, 0, Tensor.dims(1, 1, 8, 8), image));
        drawings[requestId] = Drawing(msg.sender, digit, tokenId);
        emit Claimed(requestId, msg.sender, tokenId, digit);
    }

    function transfer(address to, uint256 tokenId) external {
        if (ownerOf[tokenId] != msg.sender) revert NotTokenOwner(msg.sender);
        if (to == address(0)) revert ZeroAddress();
        ownerOf[tokenId] = to;
        --balanceOf[msg.sender];
        ++balanceOf[to];
        emit Transfer(msg.sender, to, tokenId);
    }

    /// @dev A claim is forgotten before anything else happens, so an answer counts once.
    function _onInference(bytes32 requestId, Outcome outcome, bytes calldata output) internal override {
        Drawing memory drawing = drawings[requestId];
        if (drawing.artist == address(0)) revert NotWaiting(requestId);
        uint256 tokenId = drawing.tokenId;
        delete drawings[requestId];

        bool recognized = outcome == Outcome.Ok && Tensor.argmax(output) == drawing.digit
            && Tensor.intAt(output, drawing.digit) >= CONFIDENCE;
        // Two may have claimed one image at the same time: the first answer mints it.
        if (!recognized || ownerOf[tokenId] != address(0)) {
            emit Rejected(requestId, outcome);
            return;
        }
        ownerOf[tokenId] = drawing.artist;
        digitOf[tokenId] = drawing.digit;
        ++balanceOf[drawing.artist];
        emit Transfer(address(0), drawing.artist, tokenId);
    }
}
