// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {DType} from "../types/DType.sol";

/// @title What is wrong with packed tensors, or with how they are read or built
library TensorError {
    // The bytes are no packed tensors.

    /// @notice The bytes end before the tensors do.
    error Truncated();
    /// @notice The tensors end before the bytes do.
    error TrailingBytes(uint256 surplus);
    error TooManyTensors(uint256 count, uint256 max);
    /// @notice No dtype has this code, or it is reserved.
    error UnknownType(uint256 code);
    /// @notice At most 36 for integers, 0 for everything else.
    error DecimalsOutOfRange(uint256 decimals, uint256 max);
    error RankTooLarge(uint256 rank, uint256 max);
    /// @notice A bool is 0 or 1.
    error InvalidBool();
    error InvalidUtf8();

    // The reader asks for what is not there.

    error NoSuchTensor(uint256 tensor, uint256 count);
    error NoSuchElement(uint256 index, uint256 length);
    /// @notice The call does not read or build elements of this type.
    error WrongType(DType dtype);
    /// @notice There is no largest of no elements.
    error NoElements();
    /// @notice The element is NaN, or an infinity where a number is needed.
    error NotFinite(uint256 bits);
    /// @notice The element times 1e18 does not fit an int256.
    error WadOverflow(uint256 bits);

    // The builder is given what does not fit.

    /// @notice The dims ask for another number of elements, or of bytes of elements.
    error SizeMismatch(uint256 given, uint256 needed);
    error DimensionTooLarge(uint256 max);
    /// @notice A value does not fit the dtype.
    error OutOfRange(DType dtype);
}
